"""The built-in cluster under the contract, and what is its own."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.cluster_contract import SPEC, ClusterContract, Observer, linked_pod, unique_task
from tests.link.wires import PERL
from womm.cluster.base import Loss, Pod
from womm.cluster.local import MAX_START_FAILURES, LocalCluster
from womm.errors import ClusterError


class TestLocalCluster(ClusterContract):
    async def cluster(self, place: Path) -> LocalCluster:
        return LocalCluster(place, PERL)

    def kill_agent(self, pod: Pod) -> None:
        os.kill(pod.pid, signal.SIGKILL)

    async def test_start_runs_jobs_in_the_folder_by_names_that_stay(self, go, tmp_path):
        task = unique_task()

        async with go(task=task) as (cluster, observer):
            await self.all_started(observer, 2)
            assert {pod.name for pod in observer.started} == {f"{task}-0", f"{task}-1"}
            old = observer.started[0]
            async with linked_pod(cluster, old) as to:
                await to.run("pwd")
                assert to.seen.out(1) == f"{tmp_path}\n".encode()
            self.kill_agent(old)
            await self.all_started(observer, 3)
            assert (observer.started[2].name, observer.started[2].instance) == (old.name, 2)

    async def test_start_local_slots_are_one_pod_more(self, go):
        async with go(pods=1, slots=1, local_slots=5) as (_, observer):
            await self.all_started(observer, 2)
            assert sorted(pod.slots for pod in observer.started) == [1, 5]

    async def test_start_in_a_folder_that_is_gone_is_refused(self, womm_home, tmp_path):
        cluster = await self.cluster(womm_home.runtime)
        with pytest.raises(ClusterError, match="gone"):
            await cluster.start(replace(SPEC, folder=tmp_path / "gone"), Observer())
        await cluster.stop()


def perl_that(tmp_path, script):
    """A program in perl's place."""
    path = tmp_path / "perl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def started_with(perl, place, tmp_path, pods=1):
    cluster, observer = LocalCluster(place, perl), Observer()
    await cluster.start(replace(SPEC, folder=tmp_path, pods=pods), observer)
    return cluster, observer


@pytest.mark.slow
@pytest.mark.parametrize(
    "script, reason",
    [
        ("echo 'Cannot locate Socket.pm' >&2; exit 2", "Cannot locate Socket.pm"),
        pytest.param("exit 3", "exit status 3", marks=pytest.mark.soak),
        pytest.param("kill -9 $$", "killed by SIGKILL", marks=pytest.mark.soak),
        pytest.param(None, "No such file or directory: /no/perl", marks=pytest.mark.soak),
    ],
)
async def test_agent_that_never_starts_leaves_the_pool_and_says_why(womm_home, tmp_path, script, reason):
    perl = "/no/perl" if script is None else perl_that(tmp_path, script)
    cluster, observer = await started_with(perl, womm_home.runtime, tmp_path)
    try:
        await observer.until(lambda: {reason: 1} in observer.waits, "the reason")
        await observer.until(lambda: observer.left, "its leaving")
    finally:
        await cluster.stop()
    ((_, why),) = observer.left
    assert why == f"its agent did not start {MAX_START_FAILURES} times: {reason}"
    assert observer.started == observer.gone == []
    assert cluster.wanted == 0
    assert repr(cluster) == "<LocalCluster 0/1 pods>"


async def test_one_bad_pod_does_not_hold_up_the_others(womm_home, tmp_path):
    script = f'case $WOMM_WORKER in *-0) exit 1;; esac; exec {PERL} "$@"'

    cluster, observer = await started_with(perl_that(tmp_path, script), womm_home.runtime, tmp_path, 3)
    try:
        await observer.until(lambda: len(observer.started) == 2, "the others")
        assert {pod.name[-1] for pod in observer.started} == {"1", "2"}
        await observer.until(lambda: {"exit status 1": 1} in observer.waits, "the reason")
    finally:
        await cluster.stop()


async def test_last_words_of_an_agent_are_the_detail(womm_home, tmp_path):
    cluster, observer = LocalCluster(womm_home.runtime, PERL), Observer()
    await cluster.start(replace(SPEC, folder=tmp_path, pods=1, orphan_timeout_s=1), observer)
    try:
        await observer.until(lambda: observer.gone, "the orphan timeout")
    finally:
        await cluster.stop()
    ((_, loss, detail),) = observer.gone
    assert loss is Loss.CRASHED
    assert detail == "womm agent: no coordinator for 1 s: ending"


async def test_agent_that_hangs_at_its_start_is_stopped_with_the_rest(womm_home, tmp_path):
    perl = perl_that(tmp_path, "echo $$ > pid; exec sleep 1000")
    cluster, _ = await started_with(perl, womm_home.runtime, tmp_path)
    async with asyncio.timeout(30):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
    await cluster.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
