"""`womm finish`: end tasks and remove what they left behind.

Strategy: a coordinator that lives gets SIGTERM and does the work itself; only one that is
gone, or is killed because of --force, has its part done here. Every process is named by its start
time, too, and what has escaped is found by the mark in its environment: nothing that is not the
task's gets a signal. The journal's lock is held meanwhile, so that two of these do not meet.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from womm import words
from womm.cli import tables
from womm.cli.completion import complete_tasks
from womm.cli.options import cluster_options, known_settings
from womm.errors import ClusterError, JournalError, UsageError, WommError
from womm.journal.fold import TaskStatus
from womm.journal.observe import Observation, observe, this_user
from womm.journal.store import LAST, TaskStore
from womm.settings import KUBERNETES, Settings
from womm.task.cleanup import clean, end_process
from womm.task.listing import TaskView, all_tasks, resolve
from womm.task.targets import run_apart

# A coordinator ends its jobs and pods within some seconds; a folder on a slow disk may take more.
_WAIT_S = 15.0
# A coordinator waits a minute for the end of its pods.
_WAIT_CLUSTER_S = 75.0
_POLL_S = 0.05


@click.command("finish")
@click.argument("tasks", metavar="[ID]...", nargs=-1, shell_complete=complete_tasks)
@click.option("--all", "everything", is_flag=True, help="All tasks of this folder.")
@click.option(
    "--force",
    is_flag=True,
    help="Also tasks of other users, and with --all of other folders; kill a coordinator that does not end.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before ending running tasks (--all).")
@cluster_options
def command(tasks: tuple[str, ...], everything: bool, force: bool, yes: bool, **flags: str | None) -> int:
    """End tasks and remove what they left behind.

    ID can be shortened; `last` is the newest task. Finishing a task twice does no harm.

    \b
    Examples:
      womm finish blhqwudx
      womm finish --all --force --yes
    """
    store = TaskStore.default()
    if bool(tasks) == everything:
        raise UsageError(
            "give either ids or --all" if tasks else "which task? give its id, or --all",
            "womm status",
        )
    cwd = _current_folder()
    settings = known_settings(flags)
    if everything:
        chosen = _all_tasks(store, settings, cwd, force=force)
        _confirm(chosen, yes=yes)
    else:
        named = {name: resolve(store, settings, name, tables.say) for name in tasks}
        chosen = [*named.values()]
        for name, task in named.items():
            _check_allowed(task, name, force=force)
    status = 0
    for task in chosen:
        outcome = finish_view(store, task, force=force)
        for line in outcome.lines:
            tables.say(line)
        if outcome.failure is not None:
            if task is chosen[-1] and len(chosen) == 1:
                raise outcome.failure
            tables.say(f"womm: {outcome.failure.message}")
            status = outcome.failure.status
    return status


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a task: lines to print, and why it is not finished (None: it is)."""

    lines: tuple[str, ...]
    failure: WommError | None = None


def _current_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return None


def _is_below(cwd: Path | None, folder: str) -> bool:
    """Return whether the task's folder is the current one or above it, or is gone."""
    if cwd is None or not os.path.isdir(folder):
        return not os.path.isdir(folder)
    return cwd.is_relative_to(folder) or cwd.is_relative_to(os.path.realpath(folder))


def _all_tasks(store: TaskStore, settings: Settings, cwd: Path | None, *, force: bool) -> list[TaskView]:
    chosen = []
    for task in all_tasks(store, settings, tables.say):
        started = task.started
        if not task.here or task.status is TaskStatus.CLEANED:
            continue
        if force or (started is not None and _is_below(cwd, started.folder)):
            chosen.append(task)
    if not chosen:
        where = "on this machine" if force else "in this folder"
        tables.say(f"womm: there is nothing to finish {where}")
    return chosen


def _confirm(tasks: Sequence[TaskView], *, yes: bool) -> None:
    running = [task.task for task in tasks if task.status is TaskStatus.RUNNING]
    if not running or yes:
        return
    number = words.counted(len(running), "running task")
    if not sys.stdin.isatty():
        raise UsageError(f"--all would end {number}", "womm finish --all --yes")
    if not click.confirm(f"End {number} ({', '.join(running)})?", err=True):
        raise click.Abort


def _check_allowed(task: TaskView, given: str, *, force: bool) -> None:
    """Refuse another user's task, and a task that cannot be ended from here. given: how it was named.

    Users can finish their own tasks from any folder and any machine, as with `docker stop`.
    """
    started = task.started
    if force or task.status is TaskStatus.CLEANED:
        return
    name = task.task
    if started is None:
        if task.remote is not None:
            raise UsageError(f"task {name} does not say whose it is", f"womm finish --force {name}")
        return
    journalled_here = task.observation is not None and task.here
    if not journalled_here and started.user != this_user():
        raise UsageError(f"task {name} is {words.name(started.user)}'s", f"womm finish --force {name}")
    host = words.name(started.host)
    if not task.here and started.cluster != KUBERNETES:
        raise UsageError(f"task {name} runs on {host} itself: finish it there", f"womm finish --force {name}")
    if not task.here and given == LAST:
        raise UsageError(f"the last task, {name}, was started on {host}: give its id", f"womm finish {name}")


def finish_view(store: TaskStore, task: TaskView, *, force: bool) -> Outcome:
    """Finish a task, known from a journal or from the cluster."""
    if task.observation is not None:
        outcome = finish(store, task.observation, force=force)
        if outcome.failure is not None or task.remote is None:
            return outcome
    assert task.remote is not None
    from womm.cluster.kubernetes.tasks import finish_task

    try:  # another machine's task; or objects are left although its journal says that it is clean
        told = run_apart(finish_task(task.remote.target, task.task))
    except WommError as exc:
        return Outcome((), exc)
    return Outcome((*(f"womm: {line}" for line in told), f"task {task.task} finished"))


def finish(store: TaskStore, task: Observation, *, force: bool) -> Outcome:
    """Finish one task; a failure is in the outcome, so that the next one gets its turn."""
    name = task.record.task
    if task.status is TaskStatus.CLEANED:
        return Outcome((f"task {name} was already cleaned",))
    try:
        if task.here and task.locked:
            _end_coordinator(task, force=force)
            task = observe(task.record)
        lines: list[str] = []
        if task.status is not TaskStatus.CLEANED:
            lines = clean(store, task)
    except WommError as exc:
        return Outcome((), exc)
    return Outcome((*lines, f"task {name} finished"))


def _end_coordinator(task: Observation, *, force: bool) -> None:
    """Let the coordinator end the task; kill it if it does not and `force` is set."""
    name = task.record.task
    who = task.coordinator
    started = task.state.started
    wait_s = _WAIT_CLUSTER_S if started is not None and started.cluster == KUBERNETES else _WAIT_S

    def gone() -> bool:
        return not task.record.locked()

    if who is None:  # another `womm finish` is at work
        if not _wait(gone, _WAIT_S):
            raise JournalError(f"another process is at work on task {name}", "womm status")
        return
    end_process(name, who, signal.SIGTERM)
    if _wait(gone, wait_s):
        return
    if not force:
        raise ClusterError(
            f"task {name} goes on: its coordinator (pid {who.pid}) did not end in {wait_s:.0f} s",
            f"womm finish --force {name}",
        )
    end_process(name, who, signal.SIGKILL)
    if not _wait(gone, _WAIT_S):
        raise ClusterError(f"the coordinator of task {name} (pid {who.pid}) cannot be killed")


def _wait(done: Callable[[], bool], timeout_s: float) -> bool:
    """Poll until the coordinator is done, at most so long: the release of a lock wakes nobody up."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True
