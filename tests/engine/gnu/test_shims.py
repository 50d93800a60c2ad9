"""The shims' socket, real: whole jobs, garbage, half requests; and the shim itself."""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from tests.dispatch.running import TASK, task
from tests.link.wires import PERL
from womm.engine.gnu.arrivals import Arrivals
from womm.engine.gnu.shim_folder import install_shim, shim_variable
from womm.engine.gnu.shims import MAX_REQUEST, ShimOptions, ShimServer
from womm.journal.events import JobEnded, JobStarted


def request(command=b"echo hi", *fields):
    body = b"\0".join([b"c=" + command, b"o=", b"r=", *fields])
    return struct.pack("!I", len(body)) + body


def frame(kind, payload=b""):
    return struct.pack("!BI", kind, len(payload)) + payload


class Client:
    """A shim written out: raw bytes both ways."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, data):
        self.writer.write(data)

    async def frames(self):
        """Every frame until the other side hangs up or says the exit status."""
        found: list[tuple[int, bytes]] = []
        try:
            while not found or found[-1][0] != 4:
                kind, size = struct.unpack("!BI", await self.reader.readexactly(5))
                found.append((kind, await self.reader.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        return found

    async def hung_up(self):
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True


@asynccontextmanager
async def served(runtime, tmp_path, *, live=False, engine_env=None, **options):
    async with task(runtime, tmp_path, **options) as running:
        shims = ShimOptions(engine_env or {}, live=live)
        server = ShimServer(running.dispatcher, shims, Arrivals(running.said.append), say=running.said.append)
        server.start(runtime / "shims")
        await running.ready()
        clients = []

        async def connect():
            client = Client(*await asyncio.open_unix_connection(str(runtime / "shims")))
            clients.append(client)
            return client

        try:
            yield running, server, connect
        finally:
            for client in clients:
                client.writer.transport.abort()
            server.close()


@pytest.fixture
def serve(womm_home, tmp_path):
    """An async context manager, which gives (task, server, connect)."""

    @asynccontextmanager
    async def opened(**options):
        async with served(womm_home.runtime, tmp_path, **options) as parts:
            yield parts

    return opened


async def test_job_gives_output_and_status(serve):
    async with serve() as (running, _, connect):
        shim = await connect()
        shim.send(request(b"echo out; echo err >&2; exit 3", b"e=PARALLEL_SEQ=17"))
        frames = await shim.frames()
        assert frames[-1] == (4, bytes([3, 0]))
        assert b"".join(text for kind, text in frames if kind == 1) == b"out\n"
        assert b"".join(text for kind, text in frames if kind == 2) == b"err\n"
        (started,) = running.events(JobStarted)
        (ended,) = running.events(JobEnded)
        assert (started.seq, started.command) == (17, "echo out; echo err >&2; exit 3")
        assert (ended.exit, ended.signal, ended.out_bytes, ended.err_bytes) == (3, 0, 4, 4)


async def test_request_byte_by_byte_is_one_job(serve):
    async with serve() as (_, _, connect):
        shim = await connect()
        for byte in request(b"cat", b"i=1") + frame(1, b"abc") + frame(1, b"def") + frame(2):
            shim.send(bytes([byte]))
            await shim.writer.drain()
            await asyncio.sleep(0)
        assert await shim.frames() == [(1, b"abcdef"), (4, b"\0\0")]


async def test_environment_beyond_the_engines_goes_to_the_job(serve):
    async with serve(engine_env={b"KNOWN": b"1", b"CHANGED": b"1"}) as (_, _, connect):
        shim = await connect()
        shim.send(
            request(
                b'echo "${KNOWN-unset} $CHANGED $NEW"',
                b"e=KNOWN=1",
                b"e=CHANGED=2",
                b"e=NEW=a=b\nc",
            )
        )
        assert (await shim.frames())[0] == (1, b"unset 2 a=b\nc\n")


async def test_job_of_a_login_runs_in_its_pod_with_no_environment_of_the_engine(serve):
    async with serve(pods=3) as (running, server, connect):
        await running.until(lambda: running.dispatcher.pool.slots == 3, "all workers")
        server.set_logins({"pod-x": running.dispatcher.pool.workers[1]})
        for _ in range(3):
            shim = await connect()
            shim.send(request(b'echo "$WOMM_POD ${X-unset}"', b"l=pod-x", b"e=X=1"))
            assert (await shim.frames())[0] == (1, f"{running.dispatcher.pool.workers[1]} unset\n".encode())


async def test_signal_reaches_the_job_and_its_end_the_shim(serve):
    async with serve() as (_, _, connect):
        shim = await connect()
        shim.send(request(b"echo ready; sleep 1000"))
        assert await shim.reader.readexactly(11) == frame(1, b"ready\n")
        shim.send(frame(3, bytes([15])))
        assert await shim.frames() == [(4, bytes([0, 15]))]


async def test_signal_for_a_job_that_waits_ends_it_unrun(serve):
    async with serve(pods=1) as (running, _, connect):
        first, second = await connect(), await connect()
        first.send(request(b"while [ ! -e go ]; do sleep 0.02; done"))
        await running.until(lambda: running.dispatcher.pool.running, "the first job")
        second.send(request(b"touch ran"))
        await running.until(lambda: running.dispatcher.pool.queued, "the second job")
        second.send(frame(3, bytes([15])))
        assert await second.frames() == [(4, bytes([0, 15]))]
        (running.store.root.parent / "go").touch()
        await first.frames()
        assert not (running.store.root.parent / "ran").exists()


async def test_shim_that_goes_away_takes_its_job_along(serve):
    async with serve() as (running, _, connect):
        shim = await connect()
        shim.send(request(b"echo $$; sleep 1000"))
        await shim.reader.readexactly(5)
        pid = int(await shim.reader.readline())
        shim.writer.transport.abort()
        fd = os.pidfd_open(pid)
        try:
            await running.until(lambda: _ended(fd), "the job's end")
        finally:
            os.close(fd)
        await running.until(lambda: not running.dispatcher.pool.running, "its slot")
        assert running.dispatcher.pool.queued == 0


def _ended(fd):
    import select

    return bool(select.select([fd], [], [], 0)[0])


async def test_shim_that_does_not_read_holds_its_job_up_and_no_other(serve):
    async with serve(live=True) as (running, server, connect):
        slow = await connect()
        slow.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.reader._transport.pause_reading()
        slow.send(request(b"head -c 20000000 /dev/zero; touch done"))
        await running.until(lambda: any(c._full for c in server.connections), "the full buffer")
        other = await connect()
        other.send(request(b"echo others go on"))
        assert (await other.frames())[0] == (1, b"others go on\n")
        (connection,) = server.connections - {c for c in server.connections if not c._full}
        assert len(connection._output) < 3 << 20
        assert not (running.store.root.parent / "done").exists()
        slow.reader._transport.resume_reading()
        frames = await slow.frames()
        assert sum(len(text) for kind, text in frames if kind == 1) == 20_000_000
        assert frames[-1] == (4, b"\0\0")


async def test_stdin_larger_than_all_buffers_arrives_whole(serve):
    async with serve() as (_, _, connect):
        shim = await connect()
        shim.send(request(b"wc -c", b"i=1"))
        for _ in range(160):
            shim.send(frame(1, bytes(65536)))
            await shim.writer.drain()
        shim.send(frame(2))
        assert (await shim.frames())[0] == (1, b"%d\n" % (160 * 65536))


async def test_stdin_past_the_cap_waits_for_its_consumer(serve):
    async with serve(cap_bytes=1 << 18) as (running, server, connect):
        shim = await connect()
        shim.send(request(b"while [ ! -e go ]; do sleep 0.02; done; wc -c", b"i=1"))

        async def feed():
            for _ in range(160):
                shim.send(frame(1, bytes(65536)))
                await shim.writer.drain()
            shim.send(frame(2))

        feeding = asyncio.ensure_future(feed())
        await running.until(lambda: any(not c._reading for c in server.connections), "the pause")
        assert not feeding.done()
        (running.store.root.parent / "go").touch()
        assert (await shim.frames())[0] == (1, b"%d\n" % (160 * 65536))
        await feeding


# ---- half requests, garbage


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 12])
async def test_half_a_request_is_no_job(serve, size):
    async with serve() as (running, server, connect):
        shim = await connect()
        shim.send(request()[:size])
        await shim.writer.drain()
        await running.until(lambda: server.connections, "the connection")
        shim.writer.close()
        await running.until(lambda: not server.connections, "its end")
        other = await connect()
        other.send(request())
        assert (await other.frames())[-1] == (4, b"\0\0")
        assert len(running.events(JobStarted)) == 1


async def test_request_too_large_is_dropped(serve):
    async with serve() as (running, _, connect):
        shim = await connect()
        shim.send(struct.pack("!I", MAX_REQUEST + 1))
        assert await shim.hung_up()
        assert running.events(JobStarted) == []


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack("!I", 0),
        pytest.param(request(b"echo x", b"n=high")),
        pytest.param(request(b"echo x", b"l=\xff\xfe")),
        request(b"echo x", b"\xff", b"", b"e", b"q=1", b"e==", b"e=PARALLEL_SEQ=\xc2\xb2"),
    ],
    ids=["empty", "niceness", "login", "fields"],
)
async def test_garbage_in_a_request_hurts_nobody_else(serve, garbage):
    async with serve() as (_, _, connect):
        shim = await connect()
        shim.send(garbage)
        await asyncio.wait_for(shim.frames(), 5)
        other = await connect()
        other.send(request(b"exit 5"))
        assert (await other.frames())[-1] == (4, bytes([5, 0]))


@pytest.mark.parametrize(
    "garbage",
    [frame(9), frame(0, b"x"), pytest.param(frame(3)), b"\xff" * 5, frame(1, b"not asked for") + frame(2)],
    ids=["type 9", "type 0", "no signal", "half a frame", "stdin"],
)
async def test_garbage_after_a_request_hurts_nobody_else(serve, garbage):
    async with serve() as (running, _, connect):
        shim = await connect()
        shim.send(request(b"sleep 0.2; echo x") + garbage)
        await asyncio.wait_for(shim.frames(), 5)
        other = await connect()
        other.send(request(b"exit 5"))
        assert (await other.frames())[-1] == (4, bytes([5, 0]))
        await running.until(lambda: not running.dispatcher.pool.running, "no job")


# ---- the shim itself


@pytest.fixture
def shim(womm_home):
    """Starts the real shim, as GNU parallel does."""
    path = install_shim(womm_home.runtime / "bin", womm_home.runtime / "shims", PERL, "sh")
    started = []

    def start(command, *, fed=False, **pipes):
        process = subprocess.Popen(
            [str(path), "-c", command],
            env={
                **os.environ,
                "WOMM_SHIM": shim_variable(womm_home.runtime / "shims", "/bin/sh", stdin=fed),
            },
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


async def test_shim_relays_output_and_status(serve, shim):
    async with serve():
        for command, status, out in (
            ("echo out; exit 7", 7, b"out\n"),
            ("seq 100000", 0, None),
            ("kill -9 $$", -9, b""),
            ("kill -15 $$", -15, b""),
            ("ulimit -c 0; kill -11 $$", -11, b""),
            ("exit 255", 255, b""),
        ):
            process = shim(command)
            found, _ = await asyncio.to_thread(process.communicate)
            assert process.returncode == status, command
            assert found == (out if out is not None else b"".join(b"%d\n" % n for n in range(1, 100001)))


async def test_shim_with_stdin(serve, shim):
    async with serve():
        process = shim("wc -c", fed=True, stdin=subprocess.PIPE)
        out, _ = await asyncio.to_thread(process.communicate, bytes(3_000_000))
        assert (out, process.returncode) == (b"3000000\n", 0)


async def test_shim_takes_back_what_a_lost_worker_printed(serve, shim, tmp_path):
    """stdout and stderr are files, as GNU parallel's are; what was in them before stays."""

    async with serve(pods=1) as (running, _, _):
        with open(tmp_path / "out", "wb") as out:
            out.write(b"before\n")
            out.flush()
            process = shim("echo attempt $WOMM_ATTEMPT; [ $WOMM_ATTEMPT = 2 ] || sleep 1000", stdout=out)
            await running.until(lambda: b"1" in (tmp_path / "out").read_bytes(), "the first attempt")
            (pod,) = running.cluster._pods.values()
            os.kill(pod.life.pod.pid, signal.SIGKILL)
            assert await asyncio.to_thread(process.wait) == 0
        assert (tmp_path / "out").read_bytes() == b"before\nattempt 2\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are no paths here")
@pytest.mark.parametrize("mode", ["wb", "w+b"])
async def test_job_on_this_machine_writes_into_the_shims_files_and_the_beginning_is_kept(
    serve, shim, tmp_path, mode
):
    """Nothing of it passes through here; `wb` as GNU parallel opens files of --results."""
    kept_bytes = 100

    async with serve(capture_bytes=kept_bytes) as (running, _, _):
        with open(tmp_path / "out", mode) as out, open(tmp_path / "err", mode) as err:
            process = shim("readlink /proc/$$/fd/1; seq 1000; echo err >&2; exit 2", stdout=out, stderr=err)
            assert await asyncio.to_thread(process.wait) == 2
        text = f"{tmp_path}/out\n".encode() + b"".join(b"%d\n" % n for n in range(1, 1001))
        assert (tmp_path / "out").read_bytes() == text
        assert (tmp_path / "err").read_bytes() == b"err\n"
        (ended,) = running.events(JobEnded)
        assert (ended.out_bytes, ended.err_bytes, ended.reason) == (len(text), 4, "")
        assert ended.out is not None and ended.err is not None
        with running.store.resolve(TASK).output() as kept:
            assert (kept.get(ended.out), ended.out.cut) == (text[:kept_bytes], True)
            assert (kept.get(ended.err), ended.err.cut) == (b"err\n", False)


async def test_output_that_does_not_stand_at_its_files_end_is_written_where_it_stands(serve, shim, tmp_path):
    async with serve():
        (tmp_path / "out").write_bytes(b"0123456789")
        with open(tmp_path / "out", "r+b") as out, open(tmp_path / "err", "wb") as err:
            out.seek(4)
            process = shim("printf abc", stdout=out, stderr=err)
            assert await asyncio.to_thread(process.wait) == 0
        assert (tmp_path / "out").read_bytes() == b"0123abc789"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_shim_passes_signals_on(serve, shim, number):
    async with serve():
        process = shim("echo ready; sleep 1000")
        await asyncio.to_thread(process.stdout.readline)
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait) == -number


def test_shim_without_a_coordinator_fails(shim, womm_home):
    process = shim("echo x")
    assert process.wait(30) == 255


async def test_shim_whose_coordinator_goes_fails(serve, shim):
    holder = []

    async with serve() as (_, server, _):
        process = shim("echo ready; sleep 1000")
        await asyncio.to_thread(process.stdout.readline)
        holder.append(process)
        server.close()
        assert await asyncio.to_thread(process.wait) == 255


def test_shim_called_by_gnu_parallels_helpers_is_the_shell(womm_home):
    """Not the leader of its process group: what --compress and --limit start."""
    path = install_shim(womm_home.runtime / "bin", womm_home.runtime / "shims", PERL, "sh")
    done = subprocess.run(
        [str(path), "-c", "echo here; exit 4"],
        env={**os.environ, "WOMM_SHIM": shim_variable(womm_home.runtime / "shims", "/bin/sh", stdin=False)},
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout, done.returncode) == (b"here\n", 4)
