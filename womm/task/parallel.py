"""A task from start to end: the story of `womm parallel`.

read the options, as GNU parallel will      (nothing made yet: mistakes cost nothing)
a journal, a runtime folder                 (each with its removal on the next line)
the cluster starts pods, links come up      (the dispatcher hears of them)
GNU parallel starts with the first worker   (its shims bring the jobs)
GNU parallel ends                           (its exit status is the task's)
links, pods, folder go                      (in the reverse order, whatever happened)
"""

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import womm
from womm import descriptors, signals, words
from womm.cluster.base import Cluster, TaskSpec
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.engine.gnu.engine import Engine, ParallelTask
from womm.engine.gnu.joblog import mismatch_check
from womm.errors import ClusterError
from womm.journal.events import (
    ShareKept,
    ShareTraffic,
    ShareUnsent,
    TaskCleaned,
    TaskEnded,
    TaskEnding,
    TaskStarted,
)
from womm.journal.observe import observe
from womm.journal.store import Journal, TaskStore
from womm.process import identify, raise_file_limit, send_signal
from womm.settings import KUBERNETES, LOCAL, Settings, kubeconfig_seal
from womm.share.base import ShareEvents, TaskShare
from womm.task.bar import Bar, Progress
from womm.task.cleanup import clean
from womm.task.clusters import Origin, make_cluster
from womm.task.resume import Earlier, interrupted_runs
from womm.task.runtime import runtime_folder
from womm.task.shares import make_share, shared_folder
from womm.task.terminal import ask_terminal
from womm.waiting import first_of, unless
from womm.words import duration

log = logging.getLogger(__name__)

T = TypeVar("T")

FAILURE = 254
COMPANY_S = 0.3
FIRST_NOTICE_S = 3.0
INTERRUPT_TERM_S = 1.5
INTERRUPT_KILL_S = 5.0


def new_task_id() -> str:
    """8 lower-case letters, as the guide shows; 2e11 of them, and a taken one is refused."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(8))


def started_event(
    task_id: str,
    origin: Origin,
    folder: Path,
    settings: Settings,
    cluster: Cluster,
    *,
    pods: int,
    procs_per_pod: int,
    local_procs: int,
    runtime: Path,
) -> TaskStarted:
    """The first event of a task that this process coordinates."""
    who = identify(os.getpid())
    return TaskStarted(
        time=time.time(),
        task=task_id,
        kind=origin.kind,
        argv=origin.argv,
        folder=str(folder),
        host=origin.host,
        user=origin.user,
        cluster=cluster.name,
        pods=pods,
        procs_per_pod=procs_per_pod,
        local_procs=local_procs,
        cpu=settings.kube_cpu,
        mem=settings.kube_mem,
        coordinator_pid=os.getpid(),
        coordinator_start=who.start if who else "",
        runtime_dir=str(runtime),
        joblog=None,
        resumes=(),
        version=womm.__version__,
        context=cluster.where.context,
        namespace=cluster.where.namespace,
        kubeconfig=settings.kubeconfig or os.environ.get("KUBECONFIG", "") if cluster.where.namespace else "",
        kubeconfig_seal=kubeconfig_seal(settings) if cluster.where.namespace else "",
    )


def run(task: ParallelTask) -> int:
    """Run a task; return its exit status. Raises WommError before anything was run."""
    raise_file_limit()
    return asyncio.run(_Run(task).run())


class _Run:
    """One task while it runs."""

    def __init__(self, task: ParallelTask) -> None:
        self.task = task
        self.id = new_task_id()
        self.origin = Origin("parallel", task.argv)
        self.cluster: Cluster
        self.journalled = self.cleaned = False
        self.interrupts: list[int] = []
        self.interrupted = asyncio.Event()
        self.stuck = asyncio.Event()
        self.share_lost = False
        self.bug: BaseException | None = None
        self.began = time.time()
        self.bar: Bar | None = None
        self.share: TaskShare | None = None
        self.dispatcher: Dispatcher
        self.journal: Journal
        self.engine: asyncio.subprocess.Process | None = None
        self.engine_works: Callable[[], bool] = lambda: False
        """Whether GNU parallel has started a job."""

    def say(self, text: str) -> None:
        """One line for the user, on stderr; never into the middle of the bar."""
        if self.bar is not None:
            self.bar.hide()
        with suppress(OSError):
            os.write(2, f"{words.line(f'womm: {text}')}\n".encode())

    async def run(self) -> int:
        task, settings = self.task, self.task.settings
        status = FAILURE
        asyncio.get_running_loop().set_exception_handler(self._broken)
        async with AsyncExitStack() as stack:
            self._handle_signals(stack)  # first, so that nothing made here outlives a signal
            runtime = stack.enter_context(
                runtime_folder(self.id, os.environ, shared_folder(settings, task.folder))
            )
            store = TaskStore.default()
            earlier = self._earlier(store)
            self.share = await make_share(settings, task.folder, self.id, self._voice())
            if self.share is not None:
                stack.push_async_callback(self.share.close)
            self.cluster = await make_cluster(settings, runtime, task.perl, self.origin)
            stack.push_async_callback(self.cluster.stop)
            self.journal = stack.enter_context(
                store.create(self.id, on_failure=self.say, task_bytes=settings.log_task_bytes)
            )
            self.journal.begin(self._started(runtime, earlier))
            self.journalled = True
            stack.push_async_callback(self._clean_cluster)
            self.dispatcher = Dispatcher(
                self.cluster,
                self.journal,
                self.say,
                DispatchOptions(
                    spool_folder=self.journal.path.parent,
                    stdin_memory_bytes=settings.stdin_memory_bytes,
                    stdin_cap_bytes=settings.stdin_cap_bytes,
                    capture_bytes=settings.log_job_bytes,
                    mem=settings.kube_mem if self.cluster.name == KUBERNETES else "",
                    has_timeout=task.plan.options.has("timeout"),
                ),
                share=self.share.jobs if self.share is not None else None,
                prepare_pod=self.share.prepare_pod if self.share is not None else None,
                earlier=earlier,
            )
            stack.push_async_callback(self.dispatcher.close)
            await unless(self.interrupted.wait(), self.cluster.start(self._spec(), self.dispatcher.workers))
            if not task.quiet and not self.interrupts:
                self.say(f"task {self.id} created: {where(self.cluster, task.pods, settings)}")
            host = self.cluster.share_host
            if self.share is not None and host is not None and not self.interrupts:
                await self._waiting(unless(self.interrupted.wait(), self.share.begin(host)))
            engine = Engine(task, self.id, self.dispatcher, runtime, self._hide_bar)
            stack.push_async_callback(engine.close)
            engine.shims.say = self.say
            self.engine_works = lambda: engine.shims.requests > 0
            if task.plan.appends and not task.quiet:
                engine.shims.on_first = lambda command: self.say(
                    f"first job (no {{}}: appended): {words.name(command)}"
                )
            if task.plan.resume and task.plan.joblog is not None:
                engine.shims.check = mismatch_check(Path(task.plan.joblog))
            engine.listen()
            status = await self._work(engine, stack)
            if not self.interrupts:
                self.journal.append(TaskEnding(time.time(), "engine ended"))
        if isinstance(self.bug, OSError):
            raise self.bug
        if self.bug is not None:
            traceback.print_exception(self.bug)
            return FAILURE
        if self.share is not None and self.share.failed:
            self.say(f"the share: {self.share.failed}")
            status = status or FAILURE
        done, failed = self.dispatcher.done, self.dispatcher.failed
        if not task.quiet:
            self._say_end(done, failed)
        return status

    def _voice(self) -> ShareEvents:
        def disk_lost() -> bool:
            return self.dispatcher.disk_lost()

        def traffic(*count_bytes: int) -> None:
            self.journal.append(ShareTraffic(time.time(), *count_bytes))

        def unsent(event: ShareUnsent | ShareKept) -> None:
            self.journal.append(event)

        return ShareEvents(self.say, self._share_lost, disk_lost, ask_terminal(), traffic, unsent)

    def _share_lost(self, reason: str) -> None:
        """What jobs wrote last may be lost: none of them is reported any more."""
        self.say(f"{reason}: the task ends; jobs without a result run again with --joblog and --resume")
        self.share_lost = True
        self.stuck.set()
        if self.engine is not None:
            send_signal(self.engine, signal.SIGKILL)

    async def _clean_cluster(self) -> None:
        """Remove what the task has in the cluster; a second Ctrl-C does not wait for the pods' end."""
        stopping = asyncio.ensure_future(self.cluster.stop())
        while not stopping.done():
            self.interrupted.clear()
            await first_of(None, self.interrupted.wait(), keep=stopping)
            if len(self.interrupts) >= 2 and not stopping.done():
                stopping.cancel()
                await asyncio.wait({stopping})
        if self.share is not None:
            self.share.report()
        try:
            stopping.result()
        except ClusterError as exc:
            self.say(
                f"{exc.message}; it ends by itself {duration(self.task.settings.orphan_timeout_s)} after"
            )
            self.say(f"its coordinator, or by: womm finish {self.id}")
            return
        except asyncio.CancelledError:
            self.say(f"not waited for the end of its pods; what is left, if anything: womm finish {self.id}")
            return
        self.journal.append(TaskCleaned(time.time()))
        self.cleaned = True

    async def _work(self, engine: Engine, stack: AsyncExitStack) -> int:
        """From the first worker to the end of GNU parallel."""
        status = FAILURE
        try:
            if self.cluster.name == LOCAL and not self.task.plan.logins:
                # Local workers take no longer to start than GNU parallel does.
                self.engine = await engine.start(self.journal)
            if await self._first_worker():
                if sys.stderr.isatty() and not self.task.plan.own_progress and not self.task.quiet:
                    self.bar = Bar(2, self._progress, self.task.plan.total)
                    stack.callback(self.bar.stop)
                    self.bar.start()
                process = self.engine = self.engine or await engine.start(self.journal)
                if self.share_lost or self.bug is not None:  # before there was an engine to be ended
                    send_signal(process, signal.SIGKILL)
                if self.cluster.name != LOCAL and not self.task.settings.local_procs:
                    descriptors.release()  # GNU parallel has them, and pods cannot
                engine.follow()
                status = await self._supervise(process, engine)
            else:
                status = 128 + self.interrupts[0]
        finally:
            descriptors.release()  # whoever reads from a job need not wait for the cluster to be cleaned
            if self.bar is not None:
                self.bar.stop()
            ended = TaskEnded(time.time(), status, self.dispatcher.done, self.dispatcher.failed)
            stack.callback(lambda: self.journal.append(ended))
        return status

    async def _first_worker(self) -> bool:
        """Wait until a worker is ready. False: interrupted. Raises ClusterError: none will be."""
        return await self._waiting(self._wait_for_worker(asyncio.Event()))

    async def _waiting(self, work: Awaitable[T]) -> T:
        """Say meanwhile why there is no worker yet."""
        notices = asyncio.ensure_future(say_what_is_missing(self.dispatcher.workers, self.say))
        try:
            return await work
        finally:
            notices.cancel()

    async def _wait_for_worker(self, ready: asyncio.Event) -> bool:

        def changed() -> None:
            if self.dispatcher.pool.slots:
                ready.set()
            elif self.dispatcher.workers.places_left == 0:
                self.stuck.set()

        self.dispatcher.follow(changed)
        changed()
        timeout_s = self.task.settings.ready_timeout_s
        done = False
        while not done:
            done = await first_of(timeout_s, ready.wait(), self.interrupted.wait(), self.stuck.wait())
            if not self.dispatcher.workers.preparing:
                break
        if self.interrupted.is_set():
            return False
        if ready.is_set():
            await self._company()
            return True
        why = self.dispatcher.workers.waiting_for() or "no reason known"
        when = f"after {duration(timeout_s)}" if not done else "and none will be"
        raise ClusterError(f"no worker is ready {when}: {why}", self.cluster.advice())

    async def _company(self) -> None:
        """Give the other workers a moment: GNU parallel looks only once a second how many there are."""
        until = time.monotonic() + COMPANY_S
        while self.dispatcher.pool.slots < self._wanted_slots() and time.monotonic() < until:
            changed = asyncio.Event()
            self.dispatcher.follow(changed.set)
            await first_of(until - time.monotonic(), changed.wait(), self.interrupted.wait())
            if self.interrupted.is_set():
                return

    def _wanted_slots(self) -> int:
        settings = self.task.settings
        return self.task.pods * settings.procs_per_pod + settings.local_procs

    async def _supervise(self, process: asyncio.subprocess.Process, engine: Engine) -> int:
        """Wait for GNU parallel; on Ctrl-C see that it ends; end it when no worker can come."""
        ended = asyncio.ensure_future(process.wait())
        interrupted = asyncio.ensure_future(self.interrupted.wait())
        stuck = asyncio.ensure_future(self._stuck())
        try:
            await asyncio.wait({ended, interrupted, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                if stuck.done():
                    self.say(f"no worker is there any more ({stuck.result()}): the task ends")
                    send_signal(process, signal.SIGTERM)
                await self._end_engine(process, ended)
            code = await ended
        finally:
            interrupted.cancel()
            stuck.cancel()
        if self.interrupts:
            return 128 + self.interrupts[0]
        if stuck.done() and not stuck.cancelled():
            return FAILURE
        # Nobody reads stdout any more: a shell sees the same of plain GNU parallel.
        if code == -signal.SIGPIPE:
            return 128 + signal.SIGPIPE
        if code < 0 and self.bug is None:
            self.say(f"GNU parallel was ended by {signals.name(-code)}{engine.why_ended()}")
            return FAILURE
        if (missed := engine.missed(code)) is not None and self.bug is None:
            raise missed
        return code

    async def _end_engine(self, process: asyncio.subprocess.Process, ended: asyncio.Future[int]) -> None:
        """GNU parallel had the Ctrl-C, too, when it came from the terminal; else it hears of it here."""
        for after_s, number in ((INTERRUPT_TERM_S, signal.SIGTERM), (INTERRUPT_KILL_S, signal.SIGKILL)):
            if len(self.interrupts) < 2:
                self.interrupted.clear()
                await first_of(after_s, self.interrupted.wait(), keep=ended)
            if not ended.done():
                send_signal(process, number if len(self.interrupts) < 2 else signal.SIGKILL)

    async def _stuck(self) -> str:
        """Return when there has been no worker, and work for one, for the settable time."""
        since: float | None = None
        while True:
            await asyncio.sleep(1.0)
            d = self.dispatcher
            if d.pool.slots or d.workers.preparing or not d.pool.queued:
                since = None
                continue
            since = since or time.monotonic()
            gone = self.dispatcher.workers.places_left == 0
            if gone or time.monotonic() - since > self.task.settings.ready_timeout_s:
                return self.dispatcher.workers.waiting_for() or "every one has left the pool"

    # ---- signals, words

    def _handle_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        # A closed terminal (HUP): GNU parallel gets the signal as well and lets the running jobs finish.
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
            if self.journalled:
                self.journal.append(TaskEnding(time.time(), signals.name(number)))
        if at_once and self.engine is not None:
            send_signal(self.engine, signal.SIGKILL)

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug in a callback: its job would hang or be reported wrongly, so everything ends."""
        error = context.get("exception") or RuntimeError(context.get("message", "unknown"))
        log.debug("bug: %s", context)
        if self.bug is None:
            self.bug = error
        if self.engine is not None:
            send_signal(self.engine, signal.SIGKILL)
        else:
            self.stuck.set()

    def _pass_on(self, number: int) -> None:
        """GNU parallel lists its jobs on USR1 and toggles its progress on USR2; before its first job either
        would kill it."""
        if self.engine is not None and (number == signal.SIGHUP or self.engine_works()):
            send_signal(self.engine, number)

    def _hide_bar(self) -> None:
        if self.bar is not None:
            self.bar.hide()

    def _progress(self) -> Progress:
        d = self.dispatcher
        wanted = self.task.pods + (1 if self.task.settings.local_procs else 0)
        return Progress(d.done, d.failed, len(d.pool.running), len(d.pool.usable), wanted)

    def _say_end(self, done: int, failed: int) -> None:
        took = duration(time.time() - self.began)
        line = f"task {self.id} {'deleted' if self.cleaned else 'ended'}: {words.counted(done, 'job')}"
        line += f", {failed:,} failed" if failed else ""
        line += f", {took}"
        line += f"; {self.share.words}" if self.share is not None and self.share.words else ""
        if failed:
            line += f"; see: womm logs {self.id} --failed"
        if self.interrupts and self.task.plan.joblog:
            line += "; go on with --resume"
        self.say(line)

    # ---- what is made of the request

    def _earlier(self, store: TaskStore) -> Earlier | None:
        plan = self.task.plan
        if not plan.resume or plan.joblog is None:
            return None
        runs = interrupted_runs(store, plan.joblog)
        for record, state in runs:
            if state.cleaned is None:
                self.say(f"task {record.task}, whose coordinator is gone, is ended: this one goes on")
                for line in clean(store, observe(record)):
                    self.say(line)
        failed_again = plan.options.has("resume-failed")
        return Earlier(runs, failed_again=failed_again) if runs else None

    def _started(self, runtime: Path, earlier: Earlier | None) -> TaskStarted:
        task, settings = self.task, self.task.settings
        joblog = task.plan.joblog
        event = started_event(
            self.id,
            self.origin,
            task.folder,
            settings,
            self.cluster,
            pods=task.pods,
            procs_per_pod=settings.procs_per_pod,
            local_procs=settings.local_procs,
            runtime=runtime,
        )
        return replace(
            event,
            joblog=str((task.folder / joblog).resolve()) if joblog else None,
            resumes=earlier.tasks if earlier else (),
        )

    def _spec(self) -> TaskSpec:
        task, settings = self.task, self.task.settings
        return TaskSpec(
            task=self.id,
            folder=task.folder,
            pods=task.pods,
            slots=settings.procs_per_pod,
            cpu=settings.kube_cpu,
            mem=settings.kube_mem,
            shell=task.shell,
            orphan_timeout_s=settings.orphan_timeout_s,
            local_slots=settings.local_procs,
            share=self.share.spec if self.share is not None else None,
        )


def where(cluster: Cluster, pods: int, settings: Settings) -> str:
    """Return what runs a task's jobs, and where; that it is this machine is told when no project chose it."""
    place = cluster.where
    if place.namespace:
        inside = f" of {place.context}" if place.context else " of this cluster"
        return f"{words.counted(pods, 'pod')} in namespace {place.namespace}{inside}"
    chosen = settings.project is not None
    line = f"{words.counted(pods, 'worker process', 'worker processes')} on this machine"
    return line + ("" if chosen else " (no .womm here: the built-in local cluster)")


class Waiting(Protocol):
    """Who waits for workers."""

    def waiting_for(self) -> str:
        """Why they are not there; empty: they are, or nobody knows."""


async def say_what_is_missing(waiting: Waiting, say: Callable[[str], None]) -> None:
    """While there is no worker: why, when it changes, but not for what lasts only a moment."""
    told = ""
    while True:
        await asyncio.sleep(FIRST_NOTICE_S)
        why = waiting.waiting_for()
        if why and why != told:
            told = why
            say(f"waiting for a worker: {why}")
