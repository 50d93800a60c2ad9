"""`womm shell`: one fresh worker, one job in it, with this terminal or these pipes as its own."""

import asyncio
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from womm import programs, signals, words
from womm.cluster.base import Cluster, TaskSpec
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.dispatch.job import STDERR, STDOUT, Outcome
from womm.errors import ClusterError
from womm.journal.events import ShareKept, ShareTraffic, ShareUnsent, TaskCleaned, TaskEnded
from womm.journal.store import Journal, TaskStore
from womm.link.frames import RunRequest
from womm.process import raise_file_limit
from womm.settings import KUBERNETES, Settings
from womm.share.base import ShareEvents, TaskShare
from womm.task import terminal as terminals
from womm.task.clusters import Origin, make_cluster
from womm.task.parallel import new_task_id, say_what_is_missing, started_event, where
from womm.task.runtime import runtime_folder
from womm.task.shares import make_share, shared_folder
from womm.task.terminal import ask_terminal
from womm.waiting import first_of, unless

FAILURE = 254
_TO_THE_JOB = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""Signals that are the job's alone: what it makes of them is its own affair."""
QUEUE_BYTES = 1 << 20
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}
TELL_CLEANING_S = 0.5
CLEANING = "the shell has ended: cleaning up (what you type now is for your own shell)"


@dataclass(frozen=True, slots=True)
class ShellTask:
    """What `womm shell` was asked for. No `command`: an interactive shell."""

    settings: Settings
    perl: str
    shell: str
    folder: Path
    argv: tuple[str, ...]
    command: tuple[str, ...]
    quiet: bool = False


def run(task: ShellTask) -> int:
    """Return the exit status of the shell or command; 128 + n when signal n ended it."""
    raise_file_limit()
    terminal = os.isatty(0) and os.isatty(1)
    return asyncio.run(_run(task, terminal))


async def _run(task: ShellTask, terminal: bool) -> int:
    settings, task_id = task.settings, new_task_id()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        tell_cleaning = stack.enter_context(_cleaning_told(terminal and not task.quiet))
        interrupted: asyncio.Future[int] = loop.create_future()
        to_the_job = _handle_signals(stack, interrupted)
        runtime = stack.enter_context(
            runtime_folder(task_id, os.environ, shared_folder(settings, task.folder))
        )

        def traffic(*count_bytes: int) -> None:
            journal.append(ShareTraffic(time.time(), *count_bytes))

        share_lost: asyncio.Future[str] = loop.create_future()

        def lost(reason: str) -> None:
            _say(f"{reason}: what was written last may be lost")
            if not share_lost.done():
                share_lost.set_result(reason)

        def disk_lost() -> bool:
            return dispatcher.disk_lost()

        def unsent(event: ShareUnsent | ShareKept) -> None:
            journal.append(event)

        voice = ShareEvents(_say, lost, disk_lost, ask_terminal(), traffic, unsent)
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
            cluster,
            journal,
            _say,
            DispatchOptions(
                spool_folder=journal.path.parent,
                stdin_memory_bytes=settings.stdin_memory_bytes,
                stdin_cap_bytes=settings.stdin_memory_bytes,
                capture_bytes=0,
                mem=settings.kube_mem if cluster.name == KUBERNETES else "",
            ),
            share=share.jobs if share is not None else None,
            prepare_pod=share.prepare_pod if share is not None else None,
        )
        stack.push_async_callback(dispatcher.close)
        ready = asyncio.Event()
        dispatcher.follow(lambda: ready.set() if dispatcher.pool.slots else None)
        spec = _spec(task, task_id, share)
        await unless(asyncio.shield(interrupted), cluster.start(spec, dispatcher.workers))
        if not interrupted.done():
            _say_where(task, task_id, cluster, terminal)
        if share is not None and cluster.share_host is not None and not interrupted.done():
            await unless(asyncio.shield(interrupted), share.begin(cluster.share_host))
        await _wait_for_worker(settings.ready_timeout_s, dispatcher, ready, interrupted)
        if not ready.is_set():
            if interrupted.done():
                return 128 + interrupted.result()
            raise ClusterError(f"no worker is ready: {dispatcher.workers.waiting_for()}", cluster.advice())
        sink = _Sink(dispatcher)
        stack.callback(sink.close)
        if terminal:
            stack.enter_context(terminals.raw())
        sink.job = dispatcher.submit(_request(task, terminal), sink, no_retry=True)
        to_the_job.append(lambda number: dispatcher.signal(sink.job, number))
        # Whatever it does from now on, it would wait for the folder.
        share_lost.add_done_callback(lambda found: dispatcher.fail(sink.job, found.result()))
        _start_input(loop, dispatcher, sink)
        if terminal:
            loop.add_signal_handler(signal.SIGWINCH, lambda: dispatcher.resize(sink.job, *terminals.size()))
            stack.callback(loop.remove_signal_handler, signal.SIGWINCH)
        status = await _outcome(dispatcher, sink, interrupted)
        tell_cleaning()
        journal.append(TaskEnded(time.time(), status, dispatcher.done, dispatcher.failed))
        return status


async def _wait_for_worker(
    timeout_s: float, dispatcher: Dispatcher, ready: asyncio.Event, interrupted: "asyncio.Future[int]"
) -> None:
    """Wait until there is one, a signal comes, or none comes for so long; meanwhile say why there is none."""
    waits = True
    while waits and not ready.is_set() and not interrupted.done():
        await first_of(
            timeout_s,
            ready.wait(),
            asyncio.shield(interrupted),
            say_what_is_missing(dispatcher.workers, _say),
        )
        waits = dispatcher.workers.preparing > 0


def _say_where(task: ShellTask, task_id: str, cluster: Cluster, terminal: bool) -> None:
    """To people. To scripts only that it is this machine, where no project has chosen that."""
    settings = task.settings
    unasked = settings.cluster != KUBERNETES and settings.project is None
    if (terminal or unasked) and not task.quiet:
        _say(f"task {task_id} created: {where(cluster, 1, settings)}")


@contextmanager
def _cleaning_told(people: bool) -> Iterator[Callable[[], None]]:
    """Give what is called when the shell has ended: if womm is not done soon, it says what it does."""
    timers: list[asyncio.TimerHandle] = []

    def begin() -> None:
        if people:
            timers.append(asyncio.get_running_loop().call_later(TELL_CLEANING_S, _say, CLEANING))

    try:
        yield begin
    finally:
        for timer in timers:
            timer.cancel()


def _start_input(loop: asyncio.AbstractEventLoop, dispatcher: Dispatcher, sink: "_Sink") -> None:
    """Pass this process's stdin to the job while it runs, and nothing beyond its end."""

    def feed(data: bytes) -> None:
        if not data:
            dispatcher.feed_end(sink.job)
        elif dispatcher.feed(sink.job, data):
            sink.room.set()

    def read(data: bytes) -> None:
        loop.call_soon_threadsafe(feed, data)

    def refused(exc: OSError) -> None:
        _say(f"cannot read from stdin: {exc.strerror}: the command gets no input")

    reader = terminals.Input(read, refused, sink.room)
    sink.outcome.add_done_callback(lambda _: reader.stop())
    reader.start()


def _handle_signals(stack: AsyncExitStack, interrupted: asyncio.Future[int]) -> list[Callable[[int], None]]:
    """Signals that end womm set `interrupted`; the job's own go to all that is put into the list."""
    loop = asyncio.get_running_loop()
    to_the_job: list[Callable[[int], None]] = []
    for number in signals.ending(*_TO_THE_JOB):
        loop.add_signal_handler(number, _set_once, interrupted, number)
        stack.callback(loop.remove_signal_handler, number)

    def pass_on(number: int) -> None:
        for send in to_the_job:
            send(number)

    for number in _TO_THE_JOB:
        if not signals.is_ignored(number):
            loop.add_signal_handler(number, pass_on, int(number))
            stack.callback(loop.remove_signal_handler, number)
    return to_the_job


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
    line = given[0] if len(given) == 1 else None
    argv = given if len(given) > 1 else []
    if not terminal:
        return RunRequest(line, argv=argv, stdin=True)
    settings, shell = task.settings, os.fsencode(task.shell)
    chosen = bool(settings.shell)
    if settings.cluster == KUBERNETES:
        run = argv or ([shell, b"-c", line] if line is not None else [shell] if chosen else [])
        line, argv = None, terminals.start_words(os.environ, run)
    elif not given and not chosen and Path(task.shell).name == "sh" and (bash := programs.which("bash")):
        argv = [os.fsencode(bash)]
    return RunRequest(
        line, argv=argv, env=terminals.passed(os.environ), stdin=True, terminal=terminals.size()
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


def _set_once(future: asyncio.Future[int], value: int) -> None:
    if not future.done():
        future.set_result(value)


def _say(text: str) -> None:
    end = "\r\n" if sys.stderr.isatty() else "\n"
    with suppress(OSError):
        os.write(2, f"{words.line(f'womm: {text}')}{end}".encode())
