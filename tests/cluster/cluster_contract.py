"""What every Cluster must do, whatever its pods are made of: see womm.cluster.base.

A test file makes a subclass named Test... with `cluster` and `kill_agent`. The pods' processes must be seen
from here: that no job outlives its pod is looked up in /proc.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.link.wires import DEADLINE_S, Linked, Recorder, sleepers, unique_sleep
from tests.loop import until
from womm.cluster.base import Cluster, Loss, Pod, TaskSpec
from womm.link.client import Link
from womm.process import marked


def unique_task() -> str:
    """An id that no other test run on this machine has."""
    return "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(8))


SPEC = TaskSpec(
    task=unique_task(),
    folder=Path("/"),
    pods=2,
    slots=3,
    cpu="300m",  # with 50m, perl takes two seconds to start on a slow node
    mem="64Mi",
    shell="/bin/sh",
    orphan_timeout_s=60.0,
)


class Observer:
    """A PodObserver that remembers; `jobs`: what it says of the jobs of each pod."""

    def __init__(self) -> None:
        self.started: list[Pod] = []
        self.gone: list[tuple[Pod, Loss, str]] = []
        self.left: list[tuple[str, str]] = []
        self.vanished: list[str] = []
        self.waits: list[Mapping[str, int]] = []
        self.notices: list[str] = []
        self.jobs: dict[str, list[int]] = {}
        self.alive_when_gone: list[list[str]] = []
        self._bell = asyncio.Event()

    def pod_started(self, pod: Pod) -> None:
        self.started.append(pod)
        self._bell.set()

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        self.gone.append((pod, loss, detail))
        self.alive_when_gone.append(survivors())
        self._bell.set()

    def pod_left(self, name: str, reason: str) -> None:
        self.left.append((name, reason))
        self._bell.set()

    def pod_vanished(self, name: str) -> None:
        self.vanished.append(name)
        self._bell.set()

    def job_processes(self, pod: Pod) -> list[int]:
        return self.jobs.get(pod.name, [])

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        self.waits.append(dict(reasons))
        self._bell.set()

    def notice(self, text: str) -> None:
        self.notices.append(text)

    @contextmanager
    def explains(self) -> Iterator[None]:
        """Whoever fails in here is told what has become of the pods."""
        try:
            yield
        except BaseException as exc:
            exc.add_note(
                f"started {[pod.name for pod in self.started]}\ngone {self.gone}\nleft {self.left}\n"
                f"waited for {self.waits}\nnotices {self.notices}"
            )
            raise

    async def until(self, done, what):
        await until(done, what, DEADLINE_S, bell=self._bell, seen=lambda: vars(self))


SLEEP = unique_sleep(2)
ESCAPES = {
    "plain": f"sleep {SLEEP} & sleep {SLEEP}",
    "setsid": f"setsid sleep {SLEEP} & sleep {SLEEP}",
    "no environment": f"env -i sleep {SLEEP} & env -i sleep {SLEEP}",
    "double fork": f"(sh -c 'sleep {SLEEP} & sleep {SLEEP} &' &) ; sleep {SLEEP}",
    "deaf": f"trap '' TERM HUP INT; sleep {SLEEP} & sleep {SLEEP}; sleep {SLEEP}",
    "job's own session without environment": f"exec env -i sh -c 'sleep {SLEEP} & sleep {SLEEP}'",
}


def survivors() -> list[str]:
    return [str(pid) for pid in sleepers(SLEEP)]


class ClusterContract:
    """Every task has an id of its own; every test ends with `stop` and nothing left."""

    drain_keeps_pods = True
    """Whether pods go on after `drain` until their agents are told to end."""

    async def cluster(self, place: Path) -> Cluster:
        raise NotImplementedError

    def kill_agent(self, pod: Pod) -> None:
        """End the agent of a pod and nothing else, without a word."""
        raise NotImplementedError

    @pytest.fixture
    def go(self, womm_home, tmp_path):
        """An async context manager, which gives (cluster, observer), in `tmp_path`."""

        @asynccontextmanager
        async def opened(**changes):
            cluster: Cluster = await self.cluster(womm_home.runtime)
            observer = Observer()
            spec = replace(SPEC, **{"task": unique_task(), "folder": tmp_path, **changes})
            try:
                await cluster.start(spec, observer)
                yield cluster, observer
            finally:
                await cluster.stop()
                await cluster.stop()
            assert marked("WOMM_TASK", spec.task) == []
            assert survivors() == []

        return opened

    @staticmethod
    async def all_started(observer, count):
        await observer.until(lambda: len(observer.started) >= count, f"{count} pods")

    async def test_start_brings_the_pods_and_each_runs_jobs(self, go):
        task = unique_task()

        async with go(task=task, env={"EXTRA": "1"}) as (cluster, observer):
            await self.all_started(observer, 2)
            assert cluster.wanted == 2
            assert len({pod.name for pod in observer.started}) == 2
            for pod in observer.started:
                assert f"{task}-" in pod.name
                assert (pod.instance, pod.slots) == (1, 3)
                async with linked_pod(cluster, pod) as to:
                    await to.run('echo "$WOMM_TASK $WOMM_POD $WOMM_ATTEMPT $EXTRA"')
                    assert to.seen.out(1) == f"{task} {pod.name} 1 1\n".encode()
            await observer.until(lambda: observer.waits and observer.waits[-1] == {}, "no reasons")
            assert observer.gone == observer.left == []

    async def test_stop_before_start_and_twice_does_nothing(self, womm_home):
        cluster = await self.cluster(womm_home.runtime)
        await cluster.stop()
        await cluster.stop()

    async def test_stop_right_after_start_leaves_nothing(self, go):
        for _ in range(3):
            async with go():
                pass

    async def test_stop_with_jobs_running_leaves_nothing_and_tells_of_no_loss(self, go):
        async with go(pods=1) as (cluster, observer):
            await self.all_started(observer, 1)
            async with linked_pod(cluster, observer.started[0]) as to:
                for number, command in enumerate(ESCAPES.values(), 1):
                    to.start(command)
                    observer.jobs.setdefault(observer.started[0].name, []).append(await to.seen.pid(number))
                await until_asleep(9)
                await cluster.stop()
            assert survivors() == []

        assert observer.gone == []

    async def test_pod_gone_comes_after_the_end_of_all_its_processes(self, go):
        """Else a job that runs again would meet its first self."""

        async with go(pods=1) as (cluster, observer):
            await self.all_started(observer, 1)
            (pod,) = observer.started
            async with linked_pod(cluster, pod) as to:
                for number, command in enumerate(ESCAPES.values(), 1):
                    to.start(command)
                    observer.jobs.setdefault(pod.name, []).append(await to.seen.pid(number))
                await until_asleep(2 * len(ESCAPES))
                self.kill_agent(pod)
                await observer.until(lambda: observer.gone, "the loss")
            assert observer.alive_when_gone == [[]]
            ((gone, loss, detail),) = observer.gone
            assert (gone, loss) == (pod, Loss.CRASHED)
            assert detail

    async def test_pod_that_ended_is_replaced_by_another_life(self, go):
        """Of the same name with a higher instance, or of another name."""

        async with go(pods=1) as (cluster, observer):
            for number in (1, 2, 3):
                await self.all_started(observer, number)
                pod = observer.started[-1]
                lives = [life.instance for life in observer.started if life.name == pod.name]
                assert lives == list(range(1, len(lives) + 1))
                async with linked_pod(cluster, pod) as to:
                    assert (await to.run("exit 3")).value == 3
                self.kill_agent(pod)
                await observer.until(lambda n=number: len(observer.gone) == n, "the loss")
            assert [pod for pod, _, _ in observer.gone] == observer.started[:3]
            assert {loss for _, loss, _ in observer.gone} == {Loss.CRASHED}

    async def test_dial_an_ended_pod_fails_as_a_connection_does(self, go):
        async with go(pods=1) as (cluster, observer):
            await self.all_started(observer, 1)
            old = observer.started[0]
            self.kill_agent(old)
            await self.all_started(observer, 2)
            with pytest.raises(OSError):
                await cluster.dial(old)(asyncio.Protocol)

    async def test_end_pod_ends_it_as_removed_and_says_why(self, go):
        async with go(pods=1) as (cluster, observer):
            await self.all_started(observer, 1)
            (pod,) = observer.started
            async with linked_pod(cluster, pod) as to:
                to.start(f"sleep {SLEEP} & sleep {SLEEP}")
                observer.jobs[pod.name] = [await to.seen.pid(1)]
                await cluster.end_pod(pod, "unreachable: tested")
                await observer.until(lambda: observer.gone, "the loss")
            assert observer.gone == [(pod, Loss.REMOVED, "unreachable: tested")]
            assert observer.alive_when_gone == [[]]
            await self.all_started(observer, 2)
            await cluster.end_pod(pod, "long gone")  # another life by now: nothing happens
            async with linked_pod(cluster, observer.started[1]) as to:
                assert (await to.run("exit 4")).value == 4
            assert len(observer.gone) == 1

    async def test_leave_ends_a_pod_for_good(self, go):
        async with go(pods=2) as (cluster, observer):
            await self.all_started(observer, 2)
            pod, other = observer.started
            cluster.leave(pod.name, "black hole")
            cluster.leave(pod.name, "again")
            await observer.until(lambda: observer.gone, "the loss")
            assert observer.left == [(pod.name, "black hole")]
            assert observer.gone[0][0] == pod
            assert cluster.wanted == 1
            async with linked_pod(cluster, other) as to:
                assert (await to.run("exit 4")).value == 4
            self.kill_agent(other)
            await self.all_started(observer, 3)
            assert observer.started[2].name != pod.name
            assert len(observer.gone) == 2

    @pytest.mark.parametrize("how", ["leave", "drain"])
    async def test_pod_that_waits_for_its_restart_is_started_no_more(self, go, how):
        """After the second quick end it waits for a moment: then it is told to leave."""

        async with go(pods=1) as (cluster, observer):
            for number in (1, 2):
                await self.all_started(observer, number)
                self.kill_agent(observer.started[-1])
                await observer.until(lambda n=number: len(observer.gone) == n, "the loss")
            if how == "leave":
                cluster.leave(observer.started[0].name, "black hole")
            else:
                cluster.drain()
            await asyncio.sleep(2.0)  # time in which it could be wrong
            assert len(observer.started) == 2

    async def test_drain_replaces_no_pod_and_stop_tells_nothing(self, go):
        async with go(pods=2) as (cluster, observer):
            await self.all_started(observer, 2)
            cluster.drain()
            if self.drain_keeps_pods:
                async with linked_pod(cluster, observer.started[0]) as to:
                    assert (await to.run("exit 4")).value == 4
                for pod in observer.started:
                    self.kill_agent(pod)
            await asyncio.sleep(0.5)  # time in which it could be wrong
            assert len(observer.started) == 2

        assert observer.left == []


class linked_pod:
    def __init__(self, cluster: Cluster, pod: Pod) -> None:
        self._cluster, self._pod = cluster, pod

    async def __aenter__(self) -> Linked:
        seen = Recorder()
        self._link = Link(self._pod.name, self._cluster.dial(self._pod), bytes(range(1, 17)), seen)
        self._link.start()
        try:
            await seen.until(lambda: seen.calls, "the link")
        except BaseException:
            await self._link.close()
            raise
        return Linked(self._link, seen)

    async def __aexit__(self, *_: object) -> None:
        await self._link.close()


async def until_asleep(count: int) -> None:
    """Wait until so many of the jobs' processes are there."""
    async with asyncio.timeout(DEADLINE_S):
        while len(sleepers(SLEEP)) < count:
            await asyncio.sleep(0.01)
