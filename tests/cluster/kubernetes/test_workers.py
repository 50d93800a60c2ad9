"""Workers that the task itself ends, and workers that take long to be created."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.cluster.cluster_contract import SPEC
from tests.cluster.kubernetes.test_pods import RUNNING, ended, pod, waiting
from tests.cluster.kubernetes.test_running_task import PODS, running
from womm.cluster.base import Loss, Pod

A = Pod("a", 1, SPEC.slots, node="node1")


@pytest.fixture
def go(tmp_path):
    @asynccontextmanager
    async def started():
        async with running(tmp_path) as (task, observer, server):
            yield task.workers, task, observer, server

    return started


async def requested(server, count):
    while len(server.requests) < count:
        await asyncio.sleep(0.01)


async def test_pod_that_is_ended_is_deleted_and_removed_for_the_tasks_reason(go):
    async with go() as (workers, _, observer, server):
        workers.replace([pod(RUNNING)])
        ending = asyncio.ensure_future(workers.end(A, "unreachable"))
        await requested(server, 1)
        workers.apply("DELETED", pod(ended(137), deleted=True))
        await ending
        assert server.requests == [("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 1})]
        assert observer.gone == [(A, Loss.REMOVED, "unreachable")]


async def test_pod_that_ends_by_itself_is_not_deleted(go):
    async with go() as (workers, _, observer, server):
        workers.replace([pod(RUNNING)])
        ending = asyncio.ensure_future(workers.end(A, "unreachable"))
        await asyncio.sleep(0)
        workers.apply("MODIFIED", pod(ended(1)))
        await ending
        assert server.requests == []
        assert [loss for _, loss, _ in observer.gone] == [Loss.CRASHED]


async def test_pod_leaves_once(go):
    async with go() as (workers, task, observer, server):
        workers.leave("a", "it ends")
        workers.leave("a", "it ends again")
        await requested(server, 2)
        assert (observer.left, task.missing.wanted) == ([("a", "it ends")], 1)
        assert [(method, body) for method, _, body in server.requests] == [
            ("DELETE", {"gracePeriodSeconds": 1}),
            ("PATCH", {"spec": {"replicas": 1}}),
        ]


async def test_nothing_is_told_of_a_muted_task(go):
    async with go() as (workers, _, observer, _):
        workers.mute()
        workers.replace([pod(RUNNING)])
        assert (observer.started, workers.names) == ([], ["a"])


@pytest.mark.slow  # EVENTS_AFTER_S
async def test_events_are_asked_for_only_while_a_pod_is_being_created(go):
    async with go() as (workers, task, _, server):
        asked = []

        async def no_nfs_client(node):
            asked.append(node)
            return False

        mount = "Mounting arguments: -t nfs a b\nOutput: you might need a /sbin/mount.<type> helper"
        items = [{"metadata": {"name": "e"}, "reason": "FailedMount", "message": mount}]
        server.answer = lambda *request: (200, {"metadata": {"resourceVersion": "1"}, "items": items})
        asking = asyncio.ensure_future(workers.ask_events(no_nfs_client))
        await asyncio.sleep(0.1)
        assert server.requests == []
        workers.apply("ADDED", pod(waiting("ContainerCreating"), phase="Pending"))
        await requested(server, 1)
        while not asked:
            await asyncio.sleep(0.01)
        assert asked[0] == "node1"
        while "FailedMount" not in next(iter(task.missing.reasons())):
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait({asking})
