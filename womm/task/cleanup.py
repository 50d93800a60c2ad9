"""The end of a task whose coordinator died: its processes are ended, its objects and its folder removed.

`womm finish` calls it. So does a task with `--resume`, for the killed task that it goes on from: jobs that
still run in the old pods would run twice at once.
"""

import os
import shutil
import signal
import stat
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from womm import process
from womm.errors import ClusterError, WommError
from womm.journal.events import TaskCleaned, TaskStarted
from womm.journal.fold import TaskStatus
from womm.journal.observe import Observation, agents, observe
from womm.journal.store import TaskStore
from womm.process import ProcessIdentity
from womm.settings import KUBERNETES
from womm.task.targets import journalled_target, run_apart
from womm.worker import TASK_VARIABLE

AGENT_ENDS_S = 4.0
"""An agent that gets TERM gives its jobs 2 s between TERM and KILL."""


def end_process(name: str, who: ProcessIdentity, number: int) -> None:
    """Signal a process of the task `name`, if it still is that process. Raises ClusterError."""
    try:
        process.kill(who, number)
    except PermissionError as exc:
        raise ClusterError(f"task {name} is another user's: process {who.pid} cannot be signalled") from exc


def clean(store: TaskStore, task: Observation) -> list[str]:
    """End and remove all that is left of a task whose coordinator is gone; return lines for the user.

    Raises JournalError when another process does the same, ClusterError for processes that do not end.
    """
    name = task.record.task
    lines: list[str] = []
    with ExitStack() as stack:
        journal = stack.enter_context(
            store.reopen(name, on_failure=lambda text: lines.append(f"womm: {text}"))
        )
        started = task.state.started
        on_cluster = started is not None and started.cluster == KUBERNETES
        if task.here:
            _end_processes(task)
        if started is not None and on_cluster:
            lines += [f"womm: {line}" for line in _remove_objects(started)]
        if task.here:
            _remove_runtime_folder(task)
        elif started is not None and not on_cluster:
            host = started.host
            lines.append(f"womm: what task {name} has left on {host} ends by itself there")
        journal.append(TaskCleaned(time.time()))
    return lines


def may_be_cleaned(task: Observation) -> bool:
    """Whether nothing of a task is alive here, where it was started, and nobody has written that down yet."""
    if not task.here or task.locked or task.status is TaskStatus.CLEANED:
        return False
    engine = task.state.engine
    known = agents(task.state) + ([ProcessIdentity(engine.pid, engine.pid_start)] if engine else [])
    return not any(map(process.is_alive, known)) and not any(process.marked(TASK_VARIABLE, task.record.task))


def is_over(task: Observation) -> bool:
    """Whether nothing is left of a task of the local cluster: no process here, and no runtime folder.

    So after a second Ctrl-C, and when the machine was started anew.
    """
    started = task.state.started
    if started is None or started.cluster == KUBERNETES or os.path.lexists(started.runtime_dir):
        return False
    return may_be_cleaned(task)


def note_cleaned(store: TaskStore, task: Observation) -> Observation | None:
    """Write down that nothing is left of a task but, at most, its runtime folder; return how it is now.

    None: it cannot be written, or another process does the same.
    """
    problems: list[str] = []
    with suppress(WommError, OSError):
        with store.reopen(task.record.task, on_failure=problems.append) as journal:
            _remove_runtime_folder(task)
            journal.append(TaskCleaned(time.time()))
        return observe(task.record)
    return None


def _remove_objects(started: TaskStarted) -> list[str]:
    from womm.cluster.kubernetes.tasks import finish_task

    return run_apart(finish_task(journalled_target(started), started.task))


def _end_processes(task: Observation) -> None:
    name = task.record.task
    alive = [agent for agent in agents(task.state) if process.is_alive(agent)]
    engine = task.state.engine
    if engine is not None:
        # First: it would start the jobs anew that it sees die.
        end_process(name, ProcessIdentity(engine.pid, engine.pid_start), signal.SIGKILL)
    # An agent knows its jobs' process groups, also of those that carry no mark.
    for agent in alive:
        end_process(name, agent, signal.SIGTERM)
    deadline = time.monotonic() + AGENT_ENDS_S
    while time.monotonic() < deadline and any(process.is_alive(agent) for agent in alive):
        time.sleep(0.02)
    alive = [agent for agent in alive if process.is_alive(agent)]
    # The session of an agent that is gone may be another program's by now: only the mark counts.
    process.end_marked(TASK_VARIABLE, name, [agent.pid for agent in alive])
    for agent in alive:
        end_process(name, agent, signal.SIGKILL)
    spared = process.lineage()  # `womm finish` may be a job of this very task
    left = [who.pid for who in process.marked(TASK_VARIABLE, name) if who.pid not in spared]
    if left:
        raise ClusterError(
            f"task {name}: processes could not be ended: {', '.join(map(str, left))}",
            f"ps -fp {','.join(map(str, left))}",
        )


def _remove_runtime_folder(task: Observation) -> None:
    started = task.state.started
    if started is None or not started.runtime_dir:
        return
    path = Path(started.runtime_dir)
    try:
        status = path.lstat()
    except OSError:
        return
    # Others may have changed the journal: a folder that it names is removed only if womm makes such.
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if ours and path.name == f"womm-{task.record.task}":
        try:
            shutil.rmtree(path)
        except OSError as exc:
            raise ClusterError(f"cannot remove {path}: {exc.strerror or exc}") from exc
