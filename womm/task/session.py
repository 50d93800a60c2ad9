"""A task, opened: the one story that `womm parallel`, `womm shell` and `womm doctor` tell of it.

open_pods      a runtime folder                  (each with its removal on the next line)
               the share, not begun
               the cluster, not started
open_task      these, and
               a journal, locked and begun       (from here on `womm status` knows the task)
               the dispatcher
start_cluster  pods start, links come up         (the dispatcher hears of them)
start_share    the share begins                  (jobs may start)
               ... the caller submits jobs ...
end            links, pods, journal, share, folder go: in the reverse order, whatever happened

Nothing here knows a terminal, a signal or a progress line: a caller has these, and hears of the task through
TaskEvents.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import womm
from womm.cluster.base import Cluster, TaskSpec
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.errors import ClusterError
from womm.journal.events import (
    ProgramsTraffic,
    ShareKept,
    ShareTraffic,
    ShareUnsent,
    TaskCleaned,
    TaskStarted,
)
from womm.journal.store import Journal, TaskStore
from womm.process import identify
from womm.settings import KUBERNETES, Settings, kubeconfig_seal
from womm.share.base import ShareEvents, TaskShare
from womm.task.clusters import Origin, make_cluster
from womm.task.programs import jobs_folder, make_programs
from womm.task.resume import Earlier
from womm.task.runtime import runtime_folder
from womm.task.shares import make_share, server_spec, shared_folder
from womm.waiting import unless

if TYPE_CHECKING:
    from womm.share.programs.share import ProgramsShare


def new_task_id() -> str:
    """8 lower-case letters, as the guide shows; 2e11 of them, and a taken one is refused."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(8))


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """The task that a caller wants. `shell` runs the jobs' lines; `slots`: jobslots of each pod.

    trial: the workers are only looked at; an eager share copies nothing into them, and nothing is learned.
    """

    origin: Origin
    settings: Settings
    folder: Path
    perl: str
    shell: str
    pods: int = 1
    slots: int = 1
    local_slots: int = 0
    trial: bool = False
    task: str = field(default_factory=new_task_id)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a task treats its jobs. `capture_bytes` of a job's output are kept in the journal's folder.

    joblog: GNU parallel's, absolute; empty: none. earlier: the results of interrupted runs with that joblog.
    has_timeout: the engine ends jobs that take too long.
    """

    stdin_cap_bytes: int
    capture_bytes: int
    joblog: str = ""
    earlier: Earlier | None = None
    has_timeout: bool = False


@dataclass(frozen=True, slots=True)
class TaskEvents:
    """The callbacks of a task to its caller: on the event loop's thread, but for `ask`, which may block."""

    say: Callable[[str], None]
    """One line for the user."""
    ask: Callable[[str], bool] | None
    """A question of the share to the user; None: there is nobody to ask."""
    share_lost: Callable[[str], None]
    """The share is lost for good, with this reason: the caller must end the task."""
    left_behind: Callable[[ClusterError | None], None]
    """Something of the task may be left in the cluster: what went wrong, or None after `hurried`."""
    hurried: Callable[[], Awaitable[object]] | None = None
    """Called when the removal from the cluster begins; the awaitable returns when the caller gives it up."""


@dataclass(frozen=True, slots=True)
class TaskPods:
    """A cluster that can be started with `spec`, the share of its pods (None: they need none), and this
    machine's programs (None: their image has them)."""

    runtime: Path
    share: TaskShare | None
    cluster: Cluster
    spec: TaskSpec
    programs: "ProgramsShare | None" = None

    async def begin_share(self) -> None:
        """The cluster has started: return when pods have the folder. Raises ShareError."""
        host = self.cluster.share_host
        if host is not None and self.programs is not None:
            await self.programs.begin(host)
        if host is not None and self.share is not None:
            await self.share.begin(host)


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task that is open: it has a journal, and a dispatcher that takes jobs."""

    id: str
    pods: TaskPods
    journal: Journal
    dispatcher: Dispatcher

    @property
    def cluster(self) -> Cluster:
        return self.pods.cluster

    @property
    def share(self) -> TaskShare | None:
        return self.pods.share

    @property
    def traffic_words(self) -> str:
        """What went over the share, and of the programs; known when the cluster has stopped."""
        parts = (part.words for part in (self.share, self.pods.programs) if part is not None)
        return "; ".join(filter(None, parts))

    @property
    def jobslots(self) -> int:
        """How many jobs run at once when every worker is ready."""
        spec = self.pods.spec
        return spec.pods * spec.slots + spec.local_slots

    async def start_cluster(self, stop: asyncio.Event) -> None:
        """Start the pods; give up when `stop` is set first. Raises ClusterError."""
        await unless(stop.wait(), self.cluster.start(self.pods.spec, self.dispatcher.workers))

    async def start_share(self, stop: asyncio.Event) -> None:
        """Return when pods have the folder, or when `stop` is set first. Raises ShareError."""
        if not stop.is_set():
            await unless(stop.wait(), self.pods.begin_share())


@asynccontextmanager
async def open_pods(request: TaskRequest, share_events: ShareEvents) -> AsyncIterator[TaskPods]:
    """Make what a task needs for its pods; start nothing. Everything is removed at the end.

    Raises EngineError, ShareError, SettingsError, UsageError, ClusterError.
    """
    settings, folder = request.settings, request.folder
    async with AsyncExitStack() as stack:
        runtime = stack.enter_context(
            runtime_folder(request.task, os.environ, shared_folder(settings, folder))
        )
        share = await make_share(settings, folder, request.task, share_events, trial=request.trial)
        if share is not None:
            stack.push_async_callback(share.close)
        programs = await make_programs(settings, folder, request.shell, share_events, trial=request.trial)
        if programs is not None:
            stack.push_async_callback(programs.close)
        cluster = await make_cluster(settings, runtime, request.perl, request.origin)
        stack.push_async_callback(cluster.stop)
        yield TaskPods(runtime, share, cluster, _spec(request, share, programs), programs)


@asynccontextmanager
async def open_task(request: TaskRequest, events: TaskEvents, jobs: JobOptions) -> AsyncIterator[OpenTask]:
    """Make a task whole: its workers (see `open_pods`), its journal, its dispatcher. Start nothing.

    At the end everything is removed, but for the journal. Raises JournalError, and as `open_pods`.
    """
    settings = request.settings

    # The share is made before the journal and the dispatcher, and speaks to them once it has begun.
    def disk_lost() -> bool:
        return dispatcher.disk_lost()

    def traffic(*count_bytes: int) -> None:
        journal.append(ShareTraffic(time.time(), *count_bytes))

    def unsent(event: ShareUnsent | ShareKept) -> None:
        journal.append(event)

    def programs_traffic(*count_bytes: int) -> None:
        journal.append(ProgramsTraffic(time.time(), *count_bytes))

    share_events = ShareEvents(
        events.say, events.share_lost, disk_lost, events.ask, traffic, unsent, programs_traffic
    )
    async with AsyncExitStack() as stack:
        pods = await stack.enter_async_context(open_pods(request, share_events))
        cluster, share = pods.cluster, pods.share
        store = TaskStore.default()
        journal = stack.enter_context(
            store.create(request.task, on_failure=events.say, task_bytes=settings.log_task_bytes)
        )
        journal.begin(_started(request, pods, jobs))
        stack.push_async_callback(_clean_cluster, pods, journal, events)
        dispatcher = Dispatcher(
            cluster,
            journal,
            events.say,
            DispatchOptions(
                spool_folder=journal.path.parent,
                stdin_memory_bytes=settings.stdin_memory_bytes,
                stdin_cap_bytes=jobs.stdin_cap_bytes,
                capture_bytes=jobs.capture_bytes,
                mem=settings.kube_mem if cluster.name == KUBERNETES else "",
                has_timeout=jobs.has_timeout,
            ),
            share=jobs_folder(pods.programs, share),
            prepare_pod=share.prepare_pod if share is not None else None,
            earlier=jobs.earlier,
        )
        stack.push_async_callback(dispatcher.close)
        yield OpenTask(request.task, pods, journal, dispatcher)


async def _clean_cluster(pods: TaskPods, journal: Journal, events: TaskEvents) -> None:
    """Remove what the task has in the cluster, and write down that nothing is left."""
    stop, done = pods.cluster.stop(), True
    try:
        try:
            if events.hurried is None:
                await stop
            else:
                done = await unless(events.hurried(), stop)
        finally:
            if pods.share is not None:
                pods.share.report()
    except ClusterError as exc:
        events.left_behind(exc)
        return
    if done:
        journal.append(TaskCleaned(time.time()))
    else:
        events.left_behind(None)


def _spec(request: TaskRequest, share: TaskShare | None, programs: "ProgramsShare | None") -> TaskSpec:
    settings = request.settings
    return TaskSpec(
        task=request.task,
        folder=request.folder,
        pods=request.pods,
        slots=request.slots,
        cpu=settings.kube_cpu,
        mem=settings.kube_mem,
        shell=request.shell,
        orphan_timeout_s=settings.orphan_timeout_s,
        local_slots=request.local_slots,
        share=share.spec if share is not None else None,
        server=server_spec(settings) if share is not None or programs is not None else None,
        programs=programs.spec if programs is not None else None,
    )


def _started(request: TaskRequest, pods: TaskPods, jobs: JobOptions) -> TaskStarted:
    """The first event of a task that this process coordinates."""
    settings, origin, cluster = request.settings, request.origin, pods.cluster
    who = identify(os.getpid())
    return TaskStarted(
        time=time.time(),
        task=request.task,
        kind=origin.kind,
        argv=origin.argv,
        folder=str(request.folder),
        host=origin.host,
        user=origin.user,
        cluster=cluster.name,
        pods=request.pods,
        procs_per_pod=request.slots,
        local_procs=request.local_slots,
        cpu=settings.kube_cpu,
        mem=settings.kube_mem,
        coordinator_pid=os.getpid(),
        coordinator_start=who.start if who else "",
        runtime_dir=str(pods.runtime),
        joblog=jobs.joblog or None,
        resumes=jobs.earlier.tasks if jobs.earlier is not None else (),
        version=womm.__version__,
        context=cluster.where.context,
        namespace=cluster.where.namespace,
        kubeconfig=settings.kubeconfig or os.environ.get("KUBECONFIG", "") if cluster.where.namespace else "",
        kubeconfig_seal=kubeconfig_seal(settings) if cluster.where.namespace else "",
    )
