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
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from womm import programs, signals, words
from womm import terminal as terminals
from womm.dispatch.dispatcher import Dispatcher
from womm.dispatch.job import STDERR, STDOUT, Outcome
from womm.errors import FAILURE_STATUS, ClusterError
from womm.journal.events import TaskEnded
from womm.link.frames import RunRequest
from womm.process import raise_file_limit
from womm.settings import KUBERNETES, Settings
from womm.task.clusters import Origin
from womm.task.readiness import say_what_is_missing, where
from womm.task.session import JobOptions, OpenTask, TaskEvents, TaskRequest, open_task
from womm.waiting import first_of

_TO_THE_JOB = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""Signals that womm passes to the job; they mean nothing to womm itself."""
QUEUE_BYTES = 1 << 20
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}
TELL_CLEANING_S = 0.5
CLEANING = "the shell has ended: cleaning up (what you type now is for your own shell)"


@dataclass(frozen=True, slots=True)
class ShellTask:
    """One call of `womm shell`. No `command`: an interactive shell."""

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
    return await _Run(task, terminal).run()


class _Run:
    """One shell while it runs. terminal: stdin and stdout are one; else they are pipes or files."""

    def __init__(self, task: ShellTask, terminal: bool) -> None:
        self._task = task
        self._terminal = terminal
        self._loop = asyncio.get_running_loop()
        self._interrupted = asyncio.Event()
        self._signal = 0
        """The first signal that ends womm."""
        self._share_lost: asyncio.Future[str] = self._loop.create_future()
        self._opened: OpenTask | None = None
        self._job = 0
        """The dispatcher's number of the one job; 0 until it is submitted."""

    async def run(self) -> int:
        task, terminal = self._task, self._terminal
        async with AsyncExitStack() as stack:
            tell_cleaning = stack.enter_context(_cleaning_told(terminal and not task.quiet))
            self._handle_signals(stack)  # first, so that nothing made here outlives a signal
            stack.callback(self._say_share)
            opened = await stack.enter_async_context(self._open())
            self._opened, dispatcher, ready = opened, opened.dispatcher, asyncio.Event()
            dispatcher.follow(lambda: ready.set() if dispatcher.pool.slots else None)
            await opened.start_cluster(self._interrupted)
            if not self._interrupted.is_set():
                self._say_where(opened)
            await opened.start_share(self._interrupted)
            await self._wait_for_worker(dispatcher, ready)
            if not ready.is_set():
                if self._interrupted.is_set():
                    return 128 + self._signal
                raise ClusterError(
                    f"no worker is ready: {dispatcher.workers.waiting_for()}", opened.cluster.advice()
                )
            status = await self._run_job(dispatcher, stack)
            tell_cleaning()
            opened.journal.append(TaskEnded(time.time(), status, dispatcher.done, dispatcher.failed))
            return status

    def _open(self) -> AbstractAsyncContextManager[OpenTask]:
        task, settings = self._task, self._task.settings
        request = TaskRequest(
            origin=Origin("shell", task.argv),
            settings=settings,
            folder=task.folder,
            perl=task.perl,
            shell=task.shell,
        )

        def left_behind(error: ClusterError | None) -> None:
            why = f"{error.message}; " if error is not None else ""
            _say(f"{why}what is left: womm finish {request.task}")

        events = TaskEvents(_say, terminals.ask_terminal(), self._lost, left_behind)
        jobs = JobOptions(stdin_cap_bytes=settings.stdin_memory_bytes, capture_bytes=0)
        return open_task(request, events, jobs)

    async def _wait_for_worker(self, dispatcher: Dispatcher, ready: asyncio.Event) -> None:
        """Wait until there is one, a signal comes, or none comes for so long; say meanwhile why not."""
        waits = True
        while waits and not ready.is_set() and not self._interrupted.is_set():
            await first_of(
                self._task.settings.ready_timeout_s,
                ready.wait(),
                self._interrupted.wait(),
                say_what_is_missing(dispatcher.workers, _say),
            )
            waits = dispatcher.workers.preparing > 0

    async def _run_job(self, dispatcher: Dispatcher, stack: AsyncExitStack) -> int:
        """Run the shell, or the command, to its end; return the exit status."""
        output = _Output(self._consumed, self._signal_job)
        stack.callback(output.close)
        if self._terminal:
            stack.enter_context(terminals.raw())
        self._job = dispatcher.submit(_request(self._task, self._terminal), output, no_retry=True)
        # A job of a lost share would wait for the folder for ever.
        self._share_lost.add_done_callback(lambda found: dispatcher.fail(self._job, found.result()))
        self._start_input(dispatcher, output)
        if self._terminal:

            def resize() -> None:
                dispatcher.resize(self._job, *terminals.size())

            self._loop.add_signal_handler(signal.SIGWINCH, resize)
            stack.callback(self._loop.remove_signal_handler, signal.SIGWINCH)
        return await self._outcome(dispatcher, output)

    def _start_input(self, dispatcher: Dispatcher, output: "_Output") -> None:
        """Pass this process's stdin to the job while it runs, and nothing beyond its end."""

        def feed(data: bytes) -> None:
            if not data:
                dispatcher.feed_end(self._job)
            elif dispatcher.feed(self._job, data):
                output.room.set()

        def read(data: bytes) -> None:
            self._loop.call_soon_threadsafe(feed, data)

        def refused(exc: OSError) -> None:
            _say(f"cannot read from stdin: {exc.strerror}: the command gets no input")

        reader = terminals.Input(read, refused, output.room)
        output.outcome.add_done_callback(lambda _: reader.stop())
        reader.start()

    async def _outcome(self, dispatcher: Dispatcher, output: "_Output") -> int:
        """Wait for the end. A signal to womm itself goes to the job once; 5 s later it is killed."""
        done = asyncio.ensure_future(asyncio.shield(output.outcome))
        await first_of(None, self._interrupted.wait(), keep=done)
        if not done.done():
            dispatcher.signal(self._job, self._signal)
            await asyncio.wait({done}, timeout=5.0)
            if not done.done():
                dispatcher.cancel(self._job)
                return 128 + self._signal
        outcome = done.result()
        await asyncio.to_thread(output.drain)
        if outcome.reason or output.refused == FAILURE_STATUS:
            return FAILURE_STATUS
        return 128 + outcome.signal if outcome.signal else outcome.exit or output.refused or 0

    # ---- signals, words

    def _handle_signals(self, stack: AsyncExitStack) -> None:
        for number in signals.ending(*_TO_THE_JOB):
            self._loop.add_signal_handler(number, self._interrupt, number)
            stack.callback(self._loop.remove_signal_handler, number)
        for number in _TO_THE_JOB:
            if not signals.is_ignored(number):
                self._loop.add_signal_handler(number, self._signal_job, int(number))
                stack.callback(self._loop.remove_signal_handler, number)

    def _interrupt(self, number: int) -> None:
        self._signal = self._signal or number
        self._interrupted.set()

    def _signal_job(self, number: int) -> None:
        if self._opened is not None and self._job:
            self._opened.dispatcher.signal(self._job, number)

    def _consumed(self) -> None:
        if self._opened is not None:
            self._opened.dispatcher.consumed(self._job)

    def _lost(self, reason: str) -> None:
        _say(f"{reason}: what was written last may be lost")
        if not self._share_lost.done():
            self._share_lost.set_result(reason)

    def _say_where(self, opened: OpenTask) -> None:
        """For people; scripts hear it only of this machine, when no project has chosen it."""
        task, settings = self._task, self._task.settings
        unasked = settings.cluster != KUBERNETES and settings.project is None
        if (self._terminal or unasked) and not task.quiet:
            _say(f"task {opened.id} created: {where(opened.cluster, 1, settings)}")

    def _say_share(self) -> None:
        """Say, when the share is closed, how much went over it, or why the task is no success."""
        opened = self._opened
        failed = opened.share.failed if opened is not None and opened.share is not None else ""
        if failed:
            _say(f"the share: {failed}")
        elif opened is not None and opened.traffic_words:
            _say(opened.traffic_words)


@contextmanager
def _cleaning_told(people: bool) -> Iterator[Callable[[], None]]:
    """Yield a function to call when the shell has ended: if womm is not done soon, it says why."""
    timers: list[asyncio.TimerHandle] = []

    def begin() -> None:
        if people:
            timers.append(asyncio.get_running_loop().call_later(TELL_CLEANING_S, _say, CLEANING))

    try:
        yield begin
    finally:
        for timer in timers:
            timer.cancel()


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


class _Output:
    """Writes the job's output to this process's stdout and stderr, in a thread: they may block. See JobSink.

    consumed: called when there is room again. signal_job: sends a signal to the job. Both on the event loop.
    """

    def __init__(self, consumed: Callable[[], None], signal_job: Callable[[int], None]) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.room = threading.Event()
        self.room.set()
        self.refused: int | None = None
        """The exit status when the output could not be written."""
        self._consumed = consumed
        self._signal_job = signal_job
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

    def failure(self) -> None:
        return None

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
                    self._refuse(FAILURE_STATUS)
                    _say(f"cannot write to {_NAMES[stream]}: {exc.strerror}: the command is ended")
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._written, len(data))

    def _refuse(self, status: int) -> None:
        """Signal the job as if its pipe were closed, and drop its further output."""
        self.refused = status
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._signal_job, int(signal.SIGPIPE))

    def _written(self, size: int) -> None:
        before, self._waiting_bytes = self._waiting_bytes, self._waiting_bytes - size
        if before >= QUEUE_BYTES > self._waiting_bytes:
            self._consumed()


def _say(text: str) -> None:
    end = "\r\n" if sys.stderr.isatty() else "\n"
    with suppress(OSError):
        os.write(2, f"{words.line(f'womm: {text}')}{end}".encode())
