"""`womm parallel`: an open task (see session.py), an engine that brings jobs, a progress line, signals.

GNU parallel starts with the first worker; its exit status is the task's.
"""

import asyncio
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from womm import descriptors, signals, words
from womm.dispatch.dispatcher import Dispatcher
from womm.engine.base import Engine, EngineHost, EngineTraits, OpenEngine
from womm.errors import FAILURE_STATUS, ClusterError
from womm.journal.events import TaskEnded, TaskEnding
from womm.journal.observe import observe
from womm.journal.store import TaskStore
from womm.process import raise_file_limit
from womm.settings import LOCAL, Settings
from womm.task.bar import Bar, Progress
from womm.task.cleanup import clean
from womm.task.clusters import Origin
from womm.task.readiness import first_worker, none_left, saying_what_is_missing, where
from womm.task.resume import Earlier, interrupted_runs
from womm.task.session import JobOptions, OpenTask, TaskEvents, TaskRequest, open_task
from womm.terminal import ask_terminal
from womm.waiting import first_of
from womm.words import duration

log = logging.getLogger(__name__)

INTERRUPT_TERM_S = 1.5
INTERRUPT_KILL_S = 5.0


@dataclass(frozen=True, slots=True)
class ParallelTask:
    """One call of `womm parallel`. `argv` is the whole command line, for `womm status`."""

    settings: Settings
    perl: str
    shell: str
    folder: Path
    argv: tuple[str, ...]
    pods: int
    traits: EngineTraits
    open_engine: OpenEngine
    quiet: bool = False


def run(task: ParallelTask) -> int:
    """Run a task; return its exit status. Raises WommError before anything was run."""
    raise_file_limit()
    return asyncio.run(_Run(task).run())


class _Run:
    """One task while it runs."""

    def __init__(self, task: ParallelTask) -> None:
        self.task = task
        self.request = TaskRequest(
            origin=Origin("parallel", task.argv),
            settings=task.settings,
            folder=task.folder,
            perl=task.perl,
            shell=task.shell,
            pods=task.pods,
            slots=task.settings.procs_per_pod,
            local_slots=task.settings.local_procs,
        )
        self.id = self.request.task
        self.interrupts: list[int] = []
        self.interrupted = asyncio.Event()
        self.stuck = asyncio.Event()
        self.share_lost = self.left = False
        self.bug: BaseException | None = None
        self.began = time.time()
        self.bar: Bar | None = None
        self.opened: OpenTask | None = None
        self.engine: Engine | None = None
        """The engine, once it is started."""

    def say(self, text: str) -> None:
        """One line for the user, on stderr; never into the middle of the bar."""
        if self.bar is not None:
            self.bar.hide()
        with suppress(OSError):
            os.write(2, f"{words.line(f'womm: {text}')}\n".encode())

    async def run(self) -> int:
        asyncio.get_running_loop().set_exception_handler(self._broken)
        with ExitStack() as stack:
            self._handle_signals(stack)  # first, so that nothing made here outlives a signal
            jobs = self._job_options()
            events = TaskEvents(self.say, ask_terminal(), self._share_lost, self._left_behind, self._hurried)
            async with open_task(self.request, events, jobs) as opened:
                self.opened = opened
                status = await self._run(opened)
        if isinstance(self.bug, OSError):
            raise self.bug
        if self.bug is not None:
            traceback.print_exception(self.bug)
            return FAILURE_STATUS
        if opened.share is not None and opened.share.failed:
            self.say(f"the share: {opened.share.failed}")
            status = status or FAILURE_STATUS
        if not self.task.quiet:
            self._say_end(opened)
        return status

    async def _run(self, opened: OpenTask) -> int:
        """From the start of the cluster to the end of the engine."""
        task = self.task
        await opened.start_cluster(self.interrupted)
        if not task.quiet and not self.interrupts:
            self.say(f"task {self.id} created: {where(opened.cluster, task.pods, task.settings)}")
        async with saying_what_is_missing(opened.dispatcher.workers, self.say):
            await opened.start_share(self.interrupted)
        host = EngineHost(
            task=self.id,
            runtime=opened.pods.runtime,
            dispatcher=opened.dispatcher,
            journal=opened.journal,
            jobslots=opened.jobslots,
            procs_per_pod=task.settings.procs_per_pod,
            say=self.say,
            before_output=self._hide_bar,
        )
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(task.open_engine(host))
            status = await self._work(engine, opened, stack)
            if not self.interrupts:
                opened.journal.append(TaskEnding(time.time(), "engine ended"))
        return status

    def _share_lost(self, reason: str) -> None:
        """The jobs' last writes may be lost: no result is reported any more."""
        self.say(f"{reason}: the task ends; jobs without a result run again with --joblog and --resume")
        self.share_lost = True
        self.stuck.set()
        if self.engine is not None:
            self.engine.signal(signal.SIGKILL)

    def _hurried(self) -> Awaitable[None]:
        """A second Ctrl-C does not wait for the pods' end."""
        self.interrupted.clear()
        return self._second_interrupt()

    async def _second_interrupt(self) -> None:
        await self.interrupted.wait()
        while len(self.interrupts) < 2:
            self.interrupted.clear()
            await self.interrupted.wait()

    def _left_behind(self, error: ClusterError | None) -> None:
        self.left = True
        if error is None:
            self.say(f"not waited for the end of its pods; what is left, if anything: womm finish {self.id}")
            return
        self.say(f"{error.message}; it ends by itself {duration(self.task.settings.orphan_timeout_s)} after")
        self.say(f"its coordinator, or by: womm finish {self.id}")

    async def _work(self, engine: Engine, opened: OpenTask, stack: AsyncExitStack) -> int:
        """From the first worker to the end of the engine."""
        status, traits, dispatcher = FAILURE_STATUS, self.task.traits, opened.dispatcher
        try:
            if opened.cluster.name == LOCAL and not traits.needs_workers:
                # Local workers take no longer to start than GNU parallel does.
                await self._start(engine)
            if await self._first_worker(opened):
                if sys.stderr.isatty() and not traits.own_progress and not self.task.quiet:
                    self.bar = Bar(2, lambda: self._progress(dispatcher), traits.total)
                    stack.callback(self.bar.stop)
                    self.bar.start()
                if self.engine is None:
                    await self._start(engine)
                if self.share_lost or self.bug is not None:  # before there was an engine to be ended
                    engine.signal(signal.SIGKILL)
                if opened.cluster.name != LOCAL and not self.task.settings.local_procs:
                    descriptors.release()  # the engine has them, and pods cannot
                engine.follow()
                status = await self._supervise(engine, dispatcher)
            else:
                status = 128 + self.interrupts[0]
        finally:
            descriptors.release()  # readers of the jobs' files need not wait for the clean-up
            if self.bar is not None:
                self.bar.stop()
            ended = TaskEnded(time.time(), status, dispatcher.done, dispatcher.failed)
            stack.callback(opened.journal.append, ended)
        return status

    async def _start(self, engine: Engine) -> None:
        await engine.start()
        self.engine = engine

    async def _first_worker(self, opened: OpenTask) -> bool:
        """Wait until a worker is ready. False: interrupted. Raises ClusterError: none will be."""
        timeout_s = self.task.settings.ready_timeout_s
        async with saying_what_is_missing(opened.dispatcher.workers, self.say):
            return await first_worker(opened, timeout_s, self.interrupted, self.stuck)

    async def _supervise(self, engine: Engine, dispatcher: Dispatcher) -> int:
        """Wait for the engine; on Ctrl-C see that it ends; end it when no worker can come."""
        ended = asyncio.ensure_future(engine.wait())
        interrupted = asyncio.ensure_future(self.interrupted.wait())
        stuck = asyncio.ensure_future(none_left(dispatcher, self.task.settings.ready_timeout_s))
        try:
            await asyncio.wait({ended, interrupted, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                if stuck.done():
                    self.say(f"no worker is there any more ({stuck.result()}): the task ends")
                    engine.signal(signal.SIGTERM)
                await self._end_engine(engine, ended)
            status = await ended
        finally:
            interrupted.cancel()
            stuck.cancel()
        if self.interrupts:
            return 128 + self.interrupts[0]
        if self.bug is not None or (stuck.done() and not stuck.cancelled()):
            return FAILURE_STATUS
        return engine.status(status)

    async def _end_engine(self, engine: Engine, ended: asyncio.Future[int]) -> None:
        """The engine had the Ctrl-C, too, when it came from the terminal; else it hears of it here."""
        for after_s, number in ((INTERRUPT_TERM_S, signal.SIGTERM), (INTERRUPT_KILL_S, signal.SIGKILL)):
            if len(self.interrupts) < 2:
                self.interrupted.clear()
                await first_of(after_s, self.interrupted.wait(), keep=ended)
            if not ended.done():
                engine.signal(number if len(self.interrupts) < 2 else signal.SIGKILL)

    # ---- signals, words

    def _handle_signals(self, stack: ExitStack) -> None:
        loop = asyncio.get_running_loop()
        # A closed terminal (HUP): the engine gets the signal as well and lets the running jobs finish.
        passed = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
        for number in signals.ending(signal.SIGALRM):
            handler = self._pass_on if number in passed else self._interrupt
            loop.add_signal_handler(number, handler, number)
            stack.callback(loop.remove_signal_handler, number)
        if not signals.is_ignored(signal.SIGALRM):  # GNU parallel ignores it
            loop.add_signal_handler(signal.SIGALRM, lambda: None)
            stack.callback(loop.remove_signal_handler, signal.SIGALRM)

    def _interrupt(self, number: int) -> None:
        """The first one has running jobs ended in an orderly way, the second at once, and so does SIGQUIT."""
        first = not self.interrupts
        self.interrupts += [number] * (2 if number == signal.SIGQUIT else 1)
        self.interrupted.set()
        at_once = len(self.interrupts) > 1
        if first:
            how = "at once" if at_once else "(again: at once)"
            self.say(f"interrupted: no new jobs, the running ones are ended {how}")
            if self.opened is not None:
                self.opened.journal.append(TaskEnding(time.time(), signals.name(number)))
        if at_once and self.engine is not None:
            self.engine.signal(signal.SIGKILL)

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug in a callback: its job would hang or be reported wrongly, so everything ends."""
        error = context.get("exception") or RuntimeError(context.get("message", "unknown"))
        log.debug("bug: %s", context)
        if self.bug is None:
            self.bug = error
        if self.engine is not None:
            self.engine.signal(signal.SIGKILL)
        else:
            self.stuck.set()

    def _pass_on(self, number: int) -> None:
        if self.engine is not None:
            self.engine.pass_on(number)

    def _hide_bar(self) -> None:
        if self.bar is not None:
            self.bar.hide()

    def _progress(self, d: Dispatcher) -> Progress:
        wanted = self.task.pods + (1 if self.task.settings.local_procs else 0)
        return Progress(d.done, d.failed, len(d.pool.running), len(d.pool.usable), wanted)

    def _say_end(self, opened: OpenTask) -> None:
        done, failed = opened.dispatcher.done, opened.dispatcher.failed
        took = duration(time.time() - self.began)
        line = f"task {self.id} {'ended' if self.left else 'deleted'}: {words.counted(done, 'job')}"
        line += f", {failed:,} failed" if failed else ""
        line += f", {took}"
        line += f"; {opened.traffic_words}" if opened.traffic_words else ""
        if failed:
            line += f"; see: womm logs {self.id} --failed"
        if self.interrupts and self.task.traits.joblog:
            line += "; go on with --resume"
        self.say(line)

    # ---- what is made of the request

    def _job_options(self) -> JobOptions:
        settings, traits = self.task.settings, self.task.traits
        return JobOptions(
            stdin_cap_bytes=settings.stdin_cap_bytes,
            capture_bytes=settings.log_job_bytes,
            joblog=str((self.task.folder / traits.joblog).resolve()) if traits.joblog else "",
            earlier=self._earlier(),
            has_timeout=traits.has_timeout,
        )

    def _earlier(self) -> Earlier | None:
        traits = self.task.traits
        if not traits.resume or traits.joblog is None:
            return None
        store = TaskStore.default()
        runs = interrupted_runs(store, traits.joblog)
        for record, state in runs:
            if state.cleaned is None:
                self.say(f"task {record.task}, whose coordinator is gone, is ended: this one goes on")
                for line in clean(store, observe(record)):
                    self.say(line)
        return Earlier(runs, failed_again=traits.failed_again) if runs else None
