"""A real agent, a real Link, and between them a wire that a test can cut, stop and slow down.

The agent runs with the modules of Debian's perl-base only, where Debian keeps them apart.
"""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.loop import until
from womm import worker
from womm.link.client import Dial, Link
from womm.link.frames import (
    STDIN_CHUNK,
    WINDOW,
    EndRecord,
    FrameType,
    RunRequest,
    decode_credit,
    decode_ended,
    encode,
    encode_credit,
    encode_run,
)

PERL = shutil.which("perl") or "perl"
PERL_BASE = r"-Mstrict;BEGIN { my @base = grep m{/perl-base\z}, @INC; @INC = @base if @base }"
DEADLINE_S = 150.0
SESSION_ID = bytes(range(1, 17))
KEEP_BYTES = 1 << 20


def unique_sleep(number: int) -> str:
    """Return 1000-odd seconds that no other test run on this machine sleeps for; see `sleepers`."""
    return f"1000.{os.getpid()}{number}"


@contextmanager
def agent(
    folder: Path, *options: str, env: dict[str, str] | None = None, system: str = ""
) -> Iterator["Agent"]:
    """Start an agent in `folder`, which must have a short path. system: instead of perl's $^O."""
    socket = folder / "agent"
    perl = [PERL, PERL_BASE, *([f"-Mstrict;BEGIN {{ $^O = q({system}) }}"] if system else [])]
    process = subprocess.Popen(
        [*perl, str(worker.AGENT), "--socket", str(socket), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "WOMM_ATTEMPT": "1", **(env or {})},
        start_new_session=True,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line == "womm agent: listening\n", process.stderr and process.stderr.read()
            yield Agent(process, socket)
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(10)
            finally:
                process.kill()


class Agent:
    def __init__(self, process: "subprocess.Popen[str]", socket: Path) -> None:
        self.process = process
        self.socket = socket

    @property
    def pid(self) -> int:
        return self.process.pid

    def memory_kib(self) -> int:
        """Return VmRSS of the agent."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("the agent has ended")

    def cpu_ticks(self) -> int:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


def dial(path: Path) -> Dial:
    async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
        return await asyncio.get_running_loop().create_unix_connection(factory, str(path))

    return connect


class Recorder:
    """The LinkHandler of the tests: what came, by job; gives credit back unless told not to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.started: dict[int, list[int]] = {}
        self.ends: dict[int, list[EndRecord]] = {}
        self.kept: dict[tuple[int, int], bytearray] = {}
        self.sizes: dict[tuple[int, int], int] = {}
        self.hashes: dict[tuple[int, int], Any] = {}
        self.stdin_credit: dict[int, int] = {}
        self.held: set[int] = set()
        """Jobs whose consumer has stopped reading."""
        self.owed: dict[tuple[int, int], int] = {}
        self.pongs = 0
        self.ready = b""
        self._bell = asyncio.Event()

    # ---- LinkHandler

    def link_up(self, link: Link) -> None:
        self._note("up")

    def link_cut(self, link: Link, reason: str) -> None:
        self._note("cut")

    def link_lost(self, link: Link, reason: str) -> None:
        self._note(f"lost: {reason}")

    def link_frame(self, link: Link, kind: int, job: int, payload: memoryview | bytes) -> None:
        if kind in (FrameType.OUT, FrameType.ERR):
            stream = 1 if kind == FrameType.OUT else 2
            key = (job, stream)
            kept = self.kept.setdefault(key, bytearray())
            if len(kept) < KEEP_BYTES:
                kept += payload
            self.sizes[key] = self.sizes.get(key, 0) + len(payload)
            self.hashes.setdefault(key, hashlib.sha256()).update(payload)
            self.owed[key] = self.owed.get(key, 0) + len(payload)
            if job not in self.held:
                self.release(link, job)
        elif kind == FrameType.ENDED:
            self.ends.setdefault(job, []).append(decode_ended(payload))
        elif kind == FrameType.STARTED:
            self.started.setdefault(job, []).append(int.from_bytes(payload))
        elif kind == FrameType.CREDIT:
            stream, size = decode_credit(payload)
            assert stream == 0
            self.stdin_credit[job] = self.stdin_credit.get(job, WINDOW) + size
        elif kind == FrameType.PONG:
            self.pongs += 1
        elif kind == FrameType.READY:
            assert not self.ready
            self.ready = bytes(payload)
        else:
            raise AssertionError(f"an agent does not send frames of type {kind}")
        self._bell.set()

    # ---- for tests

    def release(self, link: Link, job: int) -> None:
        """Give back the credit that is owed for a job."""
        for stream in (1, 2):
            owed = self.owed.get((job, stream), 0)
            if owed:
                self.owed[job, stream] = 0
                link.send(encode_credit(job, stream, owed))

    def out(self, job: int, stream: int = 1) -> bytes:
        return bytes(self.kept.get((job, stream), b""))

    async def until(self, done: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until `done()`; it is asked after every call of the link."""
        await until(done, what, deadline_s, bell=self._bell, seen=lambda: self)

    async def end(self, job: int, *, in_files: bool = False) -> EndRecord:
        """Wait for the one end record of a job; `in_files`: it counts more than what was sent."""
        await self.until(lambda: job in self.ends, f"the end of job {job}")
        (record,) = self.ends[job]
        if in_files:
            return record
        assert record.out_bytes == self.sizes.get((job, 1), 0)
        assert record.err_bytes == self.sizes.get((job, 2), 0)
        return record

    async def pid(self, job: int) -> int:
        await self.until(lambda: job in self.started, f"the start of job {job}")
        (pid,) = self.started[job]
        return pid

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._bell.set()

    def __repr__(self) -> str:
        tail = [*self.calls[-5:]]
        return f"<Recorder {len(self.calls)} calls {tail}, {len(self.ends)} ended, sizes {self.sizes}>"


class Linked:
    """A Link with its Recorder, and what tests do with it."""

    def __init__(self, link: Link, seen: Recorder) -> None:
        self.link = link
        self.seen = seen
        self.last = 0

    def start(self, command: str | bytes | None, **fields: Any) -> int:
        self.last += 1
        line = command.encode() if isinstance(command, str) else command
        self.link.send(encode_run(self.last, RunRequest(line, **fields)))
        return self.last

    async def run(self, command: str | bytes | None, **fields: Any) -> EndRecord:
        """Start a job and wait for its end."""
        in_files = not fields.keys().isdisjoint({"stdout", "stderr"})
        return await self.seen.end(self.start(command, **fields), in_files=in_files)

    async def feed(self, job: int, chunks: Iterable[bytes]) -> None:
        """Send stdin as far as credit goes, then its end."""
        seen = self.seen
        seen.stdin_credit.setdefault(job, WINDOW)
        for whole in chunks:
            chunk = whole
            while chunk:
                await seen.until(
                    lambda: seen.stdin_credit[job] > 0 or job in seen.ends, f"credit for job {job}"
                )
                if job in seen.ends:
                    return
                piece = chunk[: min(STDIN_CHUNK, seen.stdin_credit[job])]
                chunk = chunk[len(piece) :]
                seen.stdin_credit[job] -= len(piece)
                self.link.send(encode(FrameType.STDIN_DATA, job, piece))
        self.link.send(encode(FrameType.STDIN_END, job))


class linked:
    """`async with linked(path) as to:` a link to the agent at `path` that is up."""

    def __init__(self, path: Path, *, session_id: bytes = SESSION_ID, give_up_after_s: float = 60.0) -> None:
        self._path, self._id, self._give_up_after_s = path, session_id, give_up_after_s

    async def __aenter__(self) -> Linked:
        seen = Recorder()
        self._link = Link("agent", dial(self._path), self._id, seen, give_up_after_s=self._give_up_after_s)
        self._link.start()
        try:
            await seen.until(lambda: seen.calls, "the link to come up or to be lost")
        except BaseException:
            await self._link.close()
            raise
        return Linked(self._link, seen)

    async def __aexit__(self, *_: object) -> None:
        await self._link.close()


TO_AGENT, TO_LINK = 0, 1
Cut = tuple[int, int]
"""A direction and the number of bytes that pass in it before the connection is cut."""


class Wire:
    """A proxy in front of an agent's socket. `cuts`: one for each connection, in order; then none."""

    def __init__(self, path: Path, agent: Path, cuts: Iterable[Cut] = ()) -> None:
        self.path = path
        self.connections = 0
        self.passed = [0, 0]
        self.delay_s = 0.0
        self.frozen = asyncio.Event()
        self._agent = agent
        self._cuts = iter(cuts)
        self._open = asyncio.Event()
        self._open.set()
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_unix_server(self._accept, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection on both sides; bytes on their way are lost."""
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()
        self._pairs.clear()

    def cut_half(self, *, agent_side: bool) -> None:
        """Reset one side only: the other one believes that the connection stands."""
        for to_link, to_agent in self._pairs:
            (to_agent if agent_side else to_link).transport.abort()

    def freeze(self) -> None:
        """Let no byte pass; connections stay."""
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        direction, size = next(self._cuts, (TO_AGENT, -1))
        try:
            agent_reader, agent_writer = await asyncio.open_unix_connection(str(self._agent))
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, agent_writer)
        self._pairs.append(pair)
        limits = [-1, -1]
        limits[direction] = size
        pumps = [
            asyncio.ensure_future(self._pump(reader, agent_writer, TO_AGENT, limits[TO_AGENT])),
            asyncio.ensure_future(self._pump(agent_reader, writer, TO_LINK, limits[TO_LINK])),
        ]
        try:
            # Python 3.11 takes the cancelled task of a connection for an error.
            with suppress(asyncio.CancelledError):
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if pair in self._pairs:
                self._pairs.remove(pair)
                for end in pair:
                    end.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: int, limit: int
    ) -> None:
        """Pass bytes on until an end or the limit (-1: none)."""
        with suppress(OSError):
            while limit != 0 and (data := await reader.read(65536 if limit < 0 else limit)):
                await self._open.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                self.passed[direction] += len(data)
                limit -= len(data) if limit > 0 else 0
                await writer.drain()


def sleepers(marker: str) -> Sequence[int]:
    """Return the pids of processes, zombies left out, with `marker` as one of their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if marker.encode() in words:
                    found.append(int(entry.name))
    return found
