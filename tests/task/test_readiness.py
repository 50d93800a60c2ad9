"""Waiting for the workers of a task on this machine."""

import asyncio
from dataclasses import replace

import pytest

from tests.link.wires import PERL
from womm.cluster.local import LocalCluster
from womm.errors import ClusterError
from womm.settings import Settings
from womm.task.clusters import Origin
from womm.task.readiness import first_worker, where
from womm.task.session import JobOptions, TaskEvents, TaskRequest, open_task


@pytest.fixture
def opened(womm_home, tmp_path):
    """Open a task of one worker, and start nothing."""

    def make(perl=PERL):
        said: list[object] = []
        request = TaskRequest(Origin("parallel", ()), Settings(), tmp_path, perl, "/bin/sh")
        events = TaskEvents(said.append, None, said.append, said.append)
        return open_task(request, events, JobOptions(stdin_cap_bytes=0, capture_bytes=0))

    return make


async def test_first_worker_is_not_waited_for_after_stop(opened):
    stop = asyncio.Event()
    stop.set()
    async with opened() as task:
        await task.start_cluster(asyncio.Event())
        assert not await first_worker(task, 60.0, stop, asyncio.Event())


async def test_first_worker_none_in_time_says_how_long_and_what_to_type(opened):
    async with opened() as task:
        await task.start_cluster(asyncio.Event())
        with pytest.raises(ClusterError, match="no worker is ready after 0s") as raised:
            await first_worker(task, 0.0, asyncio.Event(), asyncio.Event())
        assert raised.value.hint == "womm doctor"


async def test_first_worker_when_none_can_come_says_so_at_once(opened):
    stuck = asyncio.Event()
    async with opened() as task:  # whose cluster is not started
        with pytest.raises(ClusterError, match="no worker is ready and none will be: no reason known"):
            await first_worker(task, 60.0, asyncio.Event(), stuck)
    assert stuck.is_set()


def test_where_says_that_it_is_this_machine_when_no_project_chose_it(tmp_path):
    cluster = LocalCluster(tmp_path, PERL)
    assert where(cluster, 1, Settings()) == (
        "1 worker process on this machine (no .womm here: the built-in local cluster)"
    )
    assert where(cluster, 2, replace(Settings(), project=tmp_path)) == "2 worker processes on this machine"
