"""`womm shell`: one fresh worker, one job in it, with this terminal or these pipes as its own."""

import asyncio
import errno
import os
import queue
import select
import signal
import struct
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

from womm import words
from womm.cluster.base import Cluster, TaskSpec
from womm.coordinator.clusters import Origin, make_cluster
from womm.coordinator.dispatch import Dispatcher
from womm.coordinator.job import STDERR, STDOUT, Outcome
from womm.coordinator.runtime import runtime_folder
from womm.coordinator.shares import TaskShare, Voice, ask_terminal, make_share
from womm.coordinator.task import first_of, new_task_id, say_what_is_missing, started_event, unless
from womm.errors import ClusterError
from womm.journal.events import ShareTraffic, ShareUnsent, TaskCleaned, TaskEnded
from womm.journal.store import Journal, TaskStore
from womm.link.frames import RunRequest
from womm.settings import KUBERNETES, Settings

FAILURE = 254
READ_BYTES = 65536
QUEUE_BYTES = 1 << 20
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}


@dataclass(frozen=True, slots=True)
class ShellTask:
    """What `womm shell` was asked for. No `command`: an interactive shell."""

    settings: Settings
    perl: str
    shell: str
    folder: Path
    argv: tuple[str, ...]
    command: tuple[str, ...]


def run(task: ShellTask) -> int:
    """Return the exit status of the shell or command; 128 + n when signal n ended it."""
    terminal = os.isatty(0) and os.isatty(1)
    return asyncio.run(_run(task, terminal))


async def _run(task: ShellTask, terminal: bool) -> int:
    settings, task_id = task.settings, new_task_id()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        interrupted: asyncio.Future[int] = loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, _set_once, interrupted, int(number))
            stack.callback(loop.remove_signal_handler, number)
        runtime = stack.enter_context(runtime_folder(task_id, os.environ))

        def traffic(*count_bytes: int) -> None:
            journal.append(ShareTraffic(time.time(), *count_bytes))

        share_lost: asyncio.Future[str] = loop.create_future()

        def lost(reason: str) -> None:
            _say(f"{reason}: what was written last may be lost")
            if not share_lost.done():
                share_lost.set_result(reason)

        def disk_lost() -> bool:
            return dispatcher.disk_lost()

        def unsent(event: ShareUnsent) -> None:
            journal.append(event)

        voice = Voice(_say, lost, disk_lost, ask_terminal(), traffic, unsent)
        share = await make_share(settings, task.folder, task_id, voice)
        if share is not None:
            stack.push_async_callback(_close_share, share)
        origin = Origin("shell", task.argv)
        cluster = await make_cluster(settings, runtime, task.perl, origin)
        stack.push_async_callback(cluster.stop)
        journal = stack.enter_context(TaskStore.default().create(task_id, on_failure=_say))
        journal.begin(
            started_event(
                task_id,
                origin,
                task.folder,
                settings,
                cluster,
                pods=1,
                procs_per_pod=1,
                local_procs=0,
                runtime=runtime,
            )
        )
        stack.push_async_callback(_clean_cluster, cluster, share, journal, task_id)
        dispatcher = Dispatcher(
            task_id,
            cluster,
            journal,
            _say,
            spool_folder=journal.path.parent,
            stdin_memory_bytes=settings.stdin_memory_bytes,
            stdin_cap_bytes=settings.stdin_memory_bytes,
            capture_bytes=0,
            mem=settings.kube_mem if cluster.name == KUBERNETES else "",
        )
        stack.push_async_callback(dispatcher.close)
        ready = asyncio.Event()
        dispatcher.on_change = lambda: ready.set() if dispatcher.pool.slots else None
        if share is not None:
            dispatcher.share, dispatcher.fill = share.jobs, share.fill
        spec = _spec(task, task_id, share)
        await unless(asyncio.shield(interrupted), cluster.start(spec, dispatcher))
        if share is not None and not interrupted.done():
            await unless(asyncio.shield(interrupted), share.begin(cluster))
        waits = True
        while waits and not ready.is_set() and not interrupted.done():
            await first_of(
                settings.ready_timeout_s,
                ready.wait(),
                asyncio.shield(interrupted),
                say_what_is_missing(dispatcher, _say),
            )
            waits = dispatcher.filling > 0
        if not ready.is_set():
            if interrupted.done():
                return 128 + interrupted.result()
            raise ClusterError(f"no worker is ready: {dispatcher.waiting_for()}", cluster.advice())
        sink = _Sink(dispatcher)
        stack.callback(sink.close)
        if terminal:
            stack.enter_context(_raw_terminal())
        sink.job = dispatcher.submit(_request(task, terminal), sink, repeatable=False)
        # Whatever it does from now on, it would wait for the folder.
        share_lost.add_done_callback(lambda found: dispatcher.fail(sink.job, found.result()))
        _Reader(loop, dispatcher, sink).start()
        if terminal:
            loop.add_signal_handler(signal.SIGWINCH, lambda: dispatcher.resize(sink.job, *_size()))
            stack.callback(loop.remove_signal_handler, signal.SIGWINCH)
        status = await _outcome(dispatcher, sink, interrupted)
        journal.append(TaskEnded(time.time(), status, dispatcher.done, dispatcher.failed))
        return status


async def _clean_cluster(cluster: Cluster, share: TaskShare | None, journal: Journal, task_id: str) -> None:
    try:
        try:
            await cluster.stop()
        finally:
            if share is not None:
                share.report()
    except ClusterError as exc:
        _say(f"{exc.message}; what is left: womm finish {task_id}")
    else:
        journal.append(TaskCleaned(time.time()))


async def _outcome(dispatcher: Dispatcher, sink: "_Sink", interrupted: asyncio.Future[int]) -> int:
    """Wait for the end. A signal to womm itself goes to the job once; what outlives it is killed."""
    done = asyncio.ensure_future(asyncio.shield(sink.outcome))
    await first_of(None, asyncio.shield(interrupted), keep=done)
    if not done.done():
        dispatcher.signal(sink.job, interrupted.result())
        await asyncio.wait({done}, timeout=5.0)
        if not done.done():
            dispatcher.cancel(sink.job)
            return 128 + interrupted.result()
    outcome = done.result()
    await asyncio.to_thread(sink.drain)
    if outcome.reason or sink.refused == FAILURE:
        return FAILURE
    return 128 + outcome.signal if outcome.signal else outcome.exit or sink.refused or 0


async def _close_share(share: TaskShare) -> None:
    await share.close()
    if share.failed:
        _say(f"the share: {share.failed}")
    elif share.words:
        _say(share.words)


def _spec(task: ShellTask, task_id: str, share: TaskShare | None) -> TaskSpec:
    settings = task.settings
    return TaskSpec(
        task=task_id,
        folder=task.folder,
        pods=1,
        slots=1,
        cpu=settings.kube_cpu,
        mem=settings.kube_mem,
        shell=task.shell,
        orphan_timeout_s=settings.orphan_timeout_s,
        share=share.spec if share is not None else None,
    )


def _request(task: ShellTask, terminal: bool) -> RunRequest:
    """One word is a line for the shell, as with ssh; several are a command, as with kubectl exec."""
    given = [os.fsencode(word) for word in task.command]
    return RunRequest(
        given[0] if len(given) == 1 else None,
        argv=given if len(given) > 1 else (),
        stdin=True,
        terminal=_size() if terminal else None,
    )


class _Sink:
    """Writes the job's output to this process's stdout and stderr, in a thread: they may block."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.job = 0
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.room = threading.Event()
        self.room.set()
        self.refused: int | None = None
        """The exit status when the output could not be written."""
        self._dispatcher = dispatcher
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._thread = threading.Thread(target=self._write_loop, name="womm-shell-output", daemon=True)
        self._thread.start()

    def write(self, stream: int, data: bytes | memoryview) -> bool:
        self._waiting_bytes += len(data)
        self._queue.put((stream, bytes(data)))
        return self._waiting_bytes < QUEUE_BYTES

    def can_take_back(self, stream: int) -> bool:
        return False

    def take_back(self, stream: int) -> None:
        raise AssertionError("what a terminal has shown stays")

    def file(self, stream: int) -> None:
        return None

    def read_back(self, stream: int, size_bytes: int) -> bytes:
        return b""

    def resume_input(self) -> None:
        self.room.set()

    def ended(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def drain(self) -> None:
        """Wait until everything is written."""
        self._queue.put(None)
        self._thread.join()

    def close(self) -> None:
        self._queue.put(None)

    def _write_loop(self) -> None:
        while (item := self._queue.get()) is not None:
            stream, data = item
            view = memoryview(data)
            while view and self.refused is None:
                fd = {STDOUT: 1, STDERR: 2}[stream]
                try:
                    view = view[os.write(fd, view) :]
                except BlockingIOError:  # another program has made the terminal or pipe non-blocking
                    select.select([], [fd], [])
                except BrokenPipeError:
                    self._refuse(128 + signal.SIGPIPE)
                except OSError as exc:
                    self._refuse(FAILURE)
                    _say(f"cannot write to {_NAMES[stream]}: {exc.strerror}: the command is ended")
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._written, len(data))

    def _refuse(self, status: int) -> None:
        """The job hears of it as of a closed pipe; what else it prints is dropped."""
        self.refused = status
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._dispatcher.signal, self.job, int(signal.SIGPIPE))

    def _written(self, size: int) -> None:
        before, self._waiting_bytes = self._waiting_bytes, self._waiting_bytes - size
        if before >= QUEUE_BYTES > self._waiting_bytes:
            self._dispatcher.consumed(self.job)


class _Reader(threading.Thread):
    """Passes this process's stdin to the job. A thread: a file cannot be waited for otherwise."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dispatcher: Dispatcher, sink: _Sink) -> None:
        super().__init__(name="womm-shell-input", daemon=True)
        self._loop = loop
        self._dispatcher = dispatcher
        self._sink = sink

    def run(self) -> None:
        try:
            while True:
                self._sink.room.wait()
                try:
                    data = os.read(0, READ_BYTES)
                except BlockingIOError:  # another program has made the terminal or pipe non-blocking
                    select.select([0], [], [])
                    continue
                except OSError as exc:
                    if exc.errno != errno.EIO:  # a terminal that is gone
                        _say(f"cannot read from stdin: {exc.strerror}: the command gets no input")
                    data = b""
                if not data:
                    self._loop.call_soon_threadsafe(self._dispatcher.feed_end, self._sink.job)
                    return
                self._sink.room.clear()
                self._loop.call_soon_threadsafe(self._feed, data)
        except RuntimeError:  # the loop has been closed: the shell has ended
            return

    def _feed(self, data: bytes) -> None:
        if self._dispatcher.feed(self._sink.job, data):
            self._sink.room.set()


@contextmanager
def _raw_terminal() -> Iterator[None]:
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _size() -> tuple[int, int]:
    """Rows and columns of this terminal."""
    rows, columns, _, _ = struct.unpack("HHHH", ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    return rows or 24, columns or 80


def _set_once(future: asyncio.Future[int], value: int) -> None:
    if not future.done():
        future.set_result(value)


def _say(text: str) -> None:
    end = "\r\n" if sys.stderr.isatty() else "\n"
    with suppress(OSError):
        os.write(2, f"{words.line(f'womm: {text}')}{end}".encode())
