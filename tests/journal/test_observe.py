"""A task as it is: the lock, the coordinator's start time, the agents."""

import os

import pytest

from tests.journal.samples import STARTED, TASK
from womm.journal.events import PodGone, PodStarted, TaskCleaned
from womm.journal.fold import TaskStatus
from womm.journal.observe import agents, observe, this_host
from womm.journal.store import TaskStore
from womm.process import identify


@pytest.fixture
def store(tmp_path):
    return TaskStore(tmp_path)


@pytest.fixture
def me():
    identity = identify(os.getpid())
    assert identity is not None
    return identity


def started(me, host):
    from dataclasses import replace

    return replace(STARTED, host=host, coordinator_pid=me.pid, coordinator_start=me.start)


def test_observe_counts_agents_that_live(store, me):
    with store.create(TASK, on_failure=print) as journal:
        journal.append(started(me, this_host()))
        journal.append(PodStarted(1.0, "pod-0", 1, me.pid, me.start))
        journal.append(PodStarted(1.0, "pod-1", 1, me.pid, "1"))
        journal.append(PodStarted(1.0, "pod-2", 1, me.pid, me.start))
        journal.append(PodGone(1.0, "pod-2", 1, "crash", ""))
        found = observe(store.resolve(TASK))
        assert (found.status, found.ready) == (TaskStatus.RUNNING, 1)
        assert (found.coordinator, found.locked, found.here) == (me, True, True)
        assert len(agents(found.state)) == 3
    # The process is there, but does not write this journal any more.
    found = observe(store.resolve(TASK))
    assert (found.status, found.locked) == (TaskStatus.ORPHANED, False)


def test_observe_a_lock_of_another_process_is_no_coordinator(store, me):
    with store.create(TASK, on_failure=print) as journal:
        journal.append(started(me, this_host()))
    from dataclasses import replace

    with store.create("anotherx", on_failure=print) as journal:
        journal.append(replace(started(me, this_host()), coordinator_start="1"))
        found = observe(store.resolve("anotherx"))
        assert (found.status, found.coordinator) == (TaskStatus.ORPHANED, None)


def test_observe_another_machines_processes_are_not_looked_at(store, me):
    with store.create(TASK, on_failure=print) as journal:
        journal.append(started(me, "elsewhere"))
        journal.append(PodStarted(1.0, "pod-0", 1, 1, "no such start"))
        found = observe(store.resolve(TASK))
        assert (found.status, found.ready, found.here) == (TaskStatus.RUNNING, 1, False)
        journal.append(TaskCleaned(2.0))
        assert observe(store.resolve(TASK)).status is TaskStatus.CLEANED
