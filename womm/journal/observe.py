"""A task as it is now: its journal, and which of its processes are alive on this machine."""

import getpass
import os
import socket
from dataclasses import dataclass

from womm.journal.events import TaskCleaned
from womm.journal.fold import TaskState, TaskStatus, fold, status_of
from womm.journal.store import TaskRecord
from womm.process import ProcessIdentity, is_alive


@dataclass(frozen=True, slots=True)
class Observation:
    """A task and its processes.

    state: without its jobs, of a cleaned task only its beginning and end.
    here: the task was started on this machine.
    coordinator: its process while it lives, None else and for a task of another machine.
    locked: somebody writes the journal: the coordinator, or a `womm finish`.
    ready: agents that are alive, for another machine's task those that the journal knows of.
    """

    record: TaskRecord
    state: TaskState
    status: TaskStatus
    here: bool
    coordinator: ProcessIdentity | None
    locked: bool
    ready: int


def this_host() -> str:
    """Return the name under which this machine's tasks are recorded."""
    return socket.gethostname()


def this_user() -> str:
    """Return the name under which this user's tasks are recorded."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in many containers
        return str(os.getuid())


def agents(state: TaskState) -> list[ProcessIdentity]:
    """Return the processes of all agents there ever were here: one taken for gone may live."""
    return [ProcessIdentity(event.pid, event.pid_start) for event in state.all_instances() if event.pid]


def observe(record: TaskRecord) -> Observation:
    """Look at a task; raises JournalError."""
    # Before the journal: what a coordinator that is gone has written is complete.
    locked = record.locked()
    last = record.last_events()
    if any(isinstance(event, TaskCleaned) for event in last):
        state = fold([*([record.started] if record.started is not None else []), *last])
        return Observation(record, state, TaskStatus.CLEANED, _is_here(record), None, locked, 0)
    state = fold(record.events(jobs=False))
    here = _is_here(record)
    coordinator = None
    live = state.live_instances()
    ready = len(live)
    if here:
        ready = sum(is_alive(ProcessIdentity(event.pid, event.pid_start)) for event in live)
        if state.started is not None:
            started = state.started
            identity = ProcessIdentity(started.coordinator_pid, started.coordinator_start)
            coordinator = identity if is_alive(identity) else None
    status = status_of(
        state,
        coordinator_alive=locked and (coordinator is not None or not here),
        pods_alive=ready,
    )
    return Observation(record, state, status, here, coordinator, locked, ready)


def _is_here(record: TaskRecord) -> bool:
    return record.started is None or record.started.host == this_host()
