"""The tasks there are: from the journals of this machine, and from the clusters that they run on.

`womm status` and `womm finish` see one TaskView per task, wherever it is known from. A cluster that
cannot be reached is named to the user and left out.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from womm.errors import JournalError
from womm.journal.events import TaskEnded, TaskStarted
from womm.journal.fold import TaskStatus
from womm.journal.observe import Observation, observe, this_host, this_user
from womm.journal.store import TaskStore
from womm.settings import KUBERNETES, Settings
from womm.task.targets import journalled_target, run_apart, target_of

if TYPE_CHECKING:
    from womm.cluster.kubernetes.client import Target
    from womm.cluster.kubernetes.tasks import RemoteTask


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task. `started` is None when its journal is damaged and no cluster knows it.

    time: when it started, seconds since the epoch. ready: workers that are there. here: started on
    this machine. observation: what this machine's journal says. remote: what its cluster says.
    """

    task: str
    time: float
    status: TaskStatus
    started: TaskStarted | None
    ended: TaskEnded | None
    ready: int
    here: bool
    observation: Observation | None = None
    remote: "RemoteTask | None" = None


def local_view(found: Observation) -> TaskView:
    return TaskView(
        found.record.task,
        found.record.time,
        found.status,
        found.state.started,
        found.state.ended,
        found.ready,
        found.here,
        found,
    )


def all_tasks(
    store: TaskStore, settings: Settings, say: Callable[[str], None], *, all_hosts: bool = False
) -> list[TaskView]:
    """Return the tasks of this machine's journals and of the clusters in question, oldest first.

    all_hosts: also those of other machines and users. `say` gets a line of each cluster that is silent.
    """
    views = {found.record.task: local_view(_as_it_is(store, found)) for found in map(observe, store.tasks())}
    targets = _targets(settings, [view for view in views.values() if view.status is not TaskStatus.CLEANED])
    if targets:
        from womm.cluster.kubernetes.tasks import list_everywhere

        mine = {} if all_hosts else {"host": this_host(), "user": this_user()}
        there, failures = run_apart(list_everywhere(targets, **mine))
        for message in dict.fromkeys(failure.message for failure in failures.values()):
            say(f"womm: {message}")
        for remote in there:
            views[remote.task] = _joined(views.get(remote.task), remote)
        for found in _without_objects(views.values(), failures):
            views[found.record.task] = local_view(_noted(store, found))
    return sorted(views.values(), key=lambda view: view.time)


def _as_it_is(store: TaskStore, found: Observation) -> Observation:
    """Return a task of which nothing is left on this machine as cleaned."""
    if found.status is TaskStatus.CLEANED:
        return found
    from womm.task.cleanup import is_over

    return _noted(store, found) if is_over(found) else found


def _noted(store: TaskStore, found: Observation) -> Observation:
    from womm.task.cleanup import note_cleaned

    return note_cleaned(store, found) or found


def _without_objects(views: Iterable[TaskView], silent: "Container[Target]") -> list[Observation]:
    """Return the tasks of this machine that nobody cleaned, and of which their clusters have nothing more.

    It asks anew, by the label that all objects of a task have, whoever has started it. silent: clusters that
    do not answer; nothing is known of the tasks there.
    """
    from womm.cluster.kubernetes.tasks import without_objects
    from womm.task.cleanup import may_be_cleaned

    left: list[tuple[Target, Observation]] = []
    for view in views:
        found, started = view.observation, view.started
        if found is None or view.remote is not None or started is None or started.cluster != KUBERNETES:
            continue
        target = journalled_target(started)
        if target not in silent and may_be_cleaned(found):
            left.append((target, found))
    asked = [(target, found.record.task) for target, found in left]
    gone = run_apart(without_objects(asked)) if asked else set()
    return [found for _, found in left if found.record.task in gone]


def resolve(store: TaskStore, settings: Settings, name: str, say: Callable[[str], None]) -> TaskView:
    """Find a task by its id, or the beginning of it, or `last`: here, else in the project's cluster.

    Raises JournalError.
    """
    try:
        return local_view(observe(store.resolve(name)))
    except JournalError:
        if settings.cluster != KUBERNETES:
            raise
        there = [view for view in all_tasks(store, settings, say, all_hosts=True) if view.remote is not None]
        fits = there[-1:] if name == "last" else [view for view in there if view.task.startswith(name)]
        if len(fits) > 1:
            names = ", ".join(view.task for view in fits)
            raise JournalError(
                f"{name} is the beginning of several tasks: {names}", "womm status -A"
            ) from None
        if not fits:
            raise
        return fits[0]


def _targets(settings: Settings, views: Iterable[TaskView]) -> "list[Target]":
    mine = [view.started for view in views if view.started is not None]
    targets = [journalled_target(started) for started in mine if started.cluster == KUBERNETES]
    if settings.cluster == KUBERNETES:
        targets.insert(0, target_of(settings))
    return list(dict.fromkeys(targets))


def _joined(local: TaskView | None, remote: "RemoteTask") -> TaskView:
    """Join what the journal and the cluster say of one task. The cluster knows the workers and whether the
    coordinator is heard of; the journal of this machine knows at once that it is gone."""
    alive = remote.heard and not remote.ending
    status = TaskStatus.COMPLETE if remote.ending else TaskStatus.RUNNING if alive else TaskStatus.ORPHANED
    if local is None or local.started is None:
        host = remote.about.host if remote.about else ""
        return TaskView(
            remote.task,
            remote.created,
            status,
            _as_started(remote),
            None,
            remote.ready,
            host == this_host(),
            local.observation if local else None,
            remote,
        )
    if local.here and local.status is not TaskStatus.CLEANED:
        status = local.status
    elif local.status is TaskStatus.CLEANED:
        status = TaskStatus.COMPLETE
    return TaskView(
        local.task,
        local.time,
        status,
        local.started,
        local.ended,
        remote.ready,
        local.here,
        local.observation,
        remote,
    )


def _as_started(remote: "RemoteTask") -> TaskStarted | None:
    about = remote.about
    if about is None:
        return None
    return TaskStarted(
        time=remote.created,
        task=remote.task,
        kind=about.kind,
        argv=about.argv,
        folder=about.folder,
        host=about.host,
        user=about.user,
        cluster=KUBERNETES,
        pods=about.pods,
        procs_per_pod=about.procs_per_pod,
        local_procs=0,
        cpu=about.cpu,
        mem=about.mem,
        coordinator_pid=0,
        coordinator_start="",
        runtime_dir="",
        joblog=None,
        resumes=(),
        version=about.version,
        context=remote.target.context,
        namespace=remote.target.namespace,
        kubeconfig=remote.target.kubeconfig,
        kubeconfig_seal=remote.target.seal,
    )
