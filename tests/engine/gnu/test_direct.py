"""The socket on which GNU parallel hands jobs over, real: whole jobs, pieces, signals, garbage."""

import asyncio
import os
import resource
import signal
import socket
import struct
from contextlib import asynccontextmanager

import pytest

from tests.dispatch.running import task
from womm.engine.gnu.arrivals import Arrivals
from womm.engine.gnu.direct import MAX_FRAME, DirectOptions, DirectServer
from womm.journal.events import JobEnded, JobLost, JobStarted
from womm.process import file_limit

HELLO = struct.pack("!IB", 1, 0)


def frame(kind, body):
    return struct.pack("!IB", len(body) + 1, kind) + body


def job(number, command, *env, files=2, nice=0):
    return frame(1, b"\0".join([b"%d\0%d\0%d\0%d" % (number, files, nice, number), command, *env]))


class Client:
    """Direct.pm written out: raw frames, with files."""

    def __init__(self, theirs, folder):
        theirs.setblocking(False)
        self.socket = theirs
        self.folder = folder
        self.times = []

    def outputs(self, number):
        names = [self.folder / f"{number}.{stream}" for stream in ("out", "err")]
        return [os.open(name, os.O_RDWR | os.O_CREAT, 0o600) for name in names]

    def hand_over(self, number, command, *env, stdin=None, outputs=None, nice=0):
        files = [*(outputs or self.outputs(number)), *([] if stdin is None else [stdin])]
        self.send(job(number, command, *env, files=len(files), nice=nice), files)
        for fd in files:
            os.close(fd)

    def send(self, data, files=()):
        socket.send_fds(self.socket, [data], files)

    async def ended(self):
        data = await asyncio.get_running_loop().sock_recv(self.socket, 24)
        if not data:
            return None
        number, status, *self.times = struct.unpack("!IIdd", data)
        return number, status

    def output(self, number):
        return tuple((self.folder / f"{number}.{stream}").read_bytes() for stream in ("out", "err"))


@pytest.fixture
def serve(womm_home, tmp_path):
    """An async context manager, which gives (task, server, client)."""

    @asynccontextmanager
    async def opened(*, live=False, **options):
        async with task(womm_home.runtime, tmp_path, **options) as running:
            said = running.said.append
            server = DirectServer(running.dispatcher, DirectOptions(live=live), Arrivals(said), say=said)
            client = Client(server.open(), tmp_path)
            await running.ready()
            try:
                async with asyncio.timeout(60):
                    yield running, server, client
            finally:
                server.close()
                client.socket.close()

    return opened


async def test_job_gives_output_and_status_as_waitpid_has_them(serve):
    async with serve() as (running, server, client):
        client.send(HELLO)
        client.hand_over(5_000_000, b"echo out; echo err >&2; exit 3", b"+A=b")
        assert await client.ended() == (5_000_000, 3 << 8)
        assert client.output(5_000_000) == (b"out\n", b"err\n")
        (begun,) = running.events(JobStarted)
        assert client.times[0] == begun.time < client.times[1]
        client.hand_over(5_000_001, b"kill -9 $$")
        assert await client.ended() == (5_000_001, 9)
        assert server.greeted
        assert (server.jobs, server.arrivals.count) == ({}, 2)
        started = running.events(JobStarted)
        assert [event.seq for event in started] == [5_000_000, 5_000_001]


async def test_environment_and_nice_are_the_jobs(serve):
    async with serve() as (_, _, client):
        client.hand_over(7, b'echo "$A ${HOME-none} $(nice)"', b"+A=x=y z", b"-HOME", nice=3)
        assert await client.ended() == (7, 0)
        assert client.output(7)[0] == b"x=y z none 3\n"


async def test_frames_byte_by_byte_and_many_at_once_are_the_same_jobs(serve):
    async with serve() as (_, _, client):
        first = job(1, b"echo first")
        client.send(first[:1], client.outputs(1))
        for byte in first[1:]:
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        for number in range(2, 30):
            client.hand_over(number, b"echo %d" % number)
        ended = {(await client.ended())[0] for _ in range(29)}
        assert ended == set(range(1, 30))
        assert [client.output(number)[0] for number in range(2, 30)] == [b"%d\n" % n for n in range(2, 30)]


async def test_output_goes_behind_what_the_file_holds_and_a_lost_attempt_is_taken_back(serve):
    async with serve() as (running, _, client):
        out, err = client.outputs(1)
        os.write(out, b"line of -v\n")
        kill = b'[ "$WOMM_ATTEMPT" = 2 ] || { sleep 0.2; kill -9 $PPID; sleep 9; }'
        client.hand_over(1, b"echo begun; " + kill, outputs=(out, err))
        assert await client.ended() == (1, 0)
        assert client.output(1)[0] == b"line of -v\nbegun\n"
        assert len(running.events(JobLost)) == 1


async def test_stdin_is_read_as_the_job_wants_it(serve):
    async with serve() as (_, _, client):
        reader, writer = os.pipe()
        client.hand_over(1, b"wc -c", stdin=reader)
        data = b"x" * 3_000_000
        await asyncio.to_thread(_write, writer, data)
        assert await client.ended() == (1, 0)
        assert client.output(1)[0].strip() == b"3000000"


def _write(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.close(fd)


async def test_stdin_that_the_job_does_not_read_is_closed_at_its_end(serve):
    async with serve() as (_, _, client):
        reader, writer = os.pipe()
        client.hand_over(1, b"exit 4", stdin=reader)
        assert await client.ended() == (1, 4 << 8)
        with pytest.raises(BrokenPipeError):
            os.write(writer, b"x")
        os.close(writer)


async def test_live_output_through_a_pipe_comes_before_the_end(serve):
    async with serve(live=True) as (_, _, client):
        reader, writer = os.pipe()
        client.hand_over(1, b"head -c 3000000 /dev/zero; echo end", outputs=(writer, os.dup(writer)))
        ended = asyncio.ensure_future(client.ended())
        found = b""
        while chunk := await asyncio.to_thread(os.read, reader, 65536):
            assert not ended.done() or len(found) > 2_900_000
            found += chunk
        assert await ended == (1, 0)
        assert found == bytes(3_000_000) + b"end\n"
        os.close(reader)


async def test_job_whose_reader_is_gone_ends_by_sigpipe(serve):
    async with serve(live=True) as (running, _, client):
        reader, writer = os.pipe()
        os.close(reader)
        client.hand_over(1, b"echo x; sleep 1000", outputs=(writer, os.dup(writer)))
        assert await client.ended() == (1, signal.SIGPIPE)
        await running.until(lambda: running.events(JobEnded), "its process's end")


@pytest.mark.parametrize("where", ["/dev/full", "a file that is open for reading"])
async def test_job_whose_output_cannot_be_written_fails_also_in_the_journal(serve, tmp_path, where):
    full = where == "/dev/full"
    if not full:
        (tmp_path / "out").touch()
    path, flags = (where, os.O_WRONLY) if full else (tmp_path / "out", os.O_RDONLY)
    async with serve(live=True) as (running, _server, client):
        client.hand_over(1, b"echo lost", outputs=[os.open(path, flags) for _ in range(2)])
        assert await client.ended() == (1, 255 << 8)
        assert [event.exit for event in running.events(JobEnded)] == [255]
        assert any("its output cannot be written" in line for line in running.said)


async def test_signals_reach_the_job_and_a_kill_is_answered_at_once(serve):
    async with serve() as (running, _, client):
        client.hand_over(1, b"trap 'echo got; exit 5' USR1; touch on; while :; do sleep 0.01; done")
        await running.until((client.folder / "on").exists, "the job")
        client.send(frame(2, struct.pack("!BII", signal.SIGUSR1, 1, 99)))
        assert await client.ended() == (1, 5 << 8)
        client.hand_over(2, b"sleep 1000")
        client.send(frame(2, struct.pack("!BI", signal.SIGKILL, 2)))
        assert await client.ended() == (2, signal.SIGKILL)
        assert client.times == [0, 0]


async def test_jobs_of_a_gnu_parallel_that_is_gone_are_ended(serve):
    async with serve() as (running, server, client):
        client.hand_over(1, b"sleep 1000")
        await running.until(lambda: running.events(JobStarted), "the job")
        client.socket.close()
        await running.until(lambda: running.events(JobEnded), "its end")
        assert server.jobs == {}


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack("!I", 0),
        struct.pack("!I", MAX_FRAME + 1),
        frame(9, b"x"),
        frame(1, b"1\0002\0000\0001\0true"),
        frame(1, b"x"),
        frame(2, b"\x0f\0\0"),
    ],
)
async def test_garbage_ends_the_connection(serve, garbage):
    async with serve() as (_, _, client):
        client.send(HELLO + garbage)
        assert await client.ended() is None


async def test_what_gnu_parallel_lacks_is_kept(serve):
    async with serve() as (running, server, client):
        client.send(frame(0, b"main::usleep"))
        await running.until(lambda: server.lacks, "the frame")
        assert (server.lacks, server.greeted) == ("main::usleep", False)


async def test_too_many_files_let_jobs_wait_and_are_said_once(serve):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serve(pods=3) as (running, _, client):
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 60, hard))
        try:
            assert file_limit() == lowest + 60
            for number in range(20):
                client.hand_over(number, b"echo %d" % number)
                await asyncio.sleep(0.001)
            ended = {(await client.ended())[0] for _ in range(20)}
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert ended == set(range(20))
        assert len([text for text in running.said if "ulimit -n" in text]) <= 1
