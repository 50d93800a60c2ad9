"""Very many pods, on simulated nodes: the watch, the pool and the files that GNU parallel reads keep up."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.driver import new_dispatcher
from bench.tracked import Logins, SimulatedExecs, Tracker
from tests.cluster.kubernetes.pods import about
from tests.cluster.kubernetes.simulation import POD_SPEC
from tests.conftest import Home
from tests.dispatch.sinks import Sink
from tests.faults.tasks import wait_for
from tests.loop import run, until
from tests.realcluster.fixtures import KubeCluster
from tests.soak import count
from womm.cluster.base import TaskSpec
from womm.cluster.kubernetes.client import KubeClient, Target
from womm.cluster.kubernetes.cluster import KubernetesCluster, PodOptions
from womm.dispatch.job import Outcome
from womm.link.frames import RunRequest
from womm.task.session import new_task_id

pytestmark = pytest.mark.slow

DEADLINE_S = 600.0


class Nodes:
    """The simulation, as a process."""

    def __init__(self, process: "subprocess.Popen[str]", socket: Path) -> None:
        self.socket = str(socket)
        self._process = process
        self.hear()

    def ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self.hear()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the simulation has ended"
        return json.loads(line)


@contextmanager
def simulated(kube: KubeCluster, namespace: str, place: Path) -> Iterator[Nodes]:
    words = ["--kubeconfig", str(kube.kubeconfig), "--namespace", namespace, "--socket", str(place / "a")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.kubernetes.simulation", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Nodes(process, place / "a")
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                assert process.wait(60) == 0
            finally:
                process.kill()


@pytest.fixture
def nodes(kube_cluster: KubeCluster, kube_namespace: str, womm_home: Home) -> Iterator[Nodes]:
    assert kube_cluster.own is not None  # of others it is none: its nodes are those of the simulation, too
    with simulated(kube_cluster, kube_namespace, womm_home.runtime) as found:
        yield found


async def cluster_of(kube: KubeCluster, namespace: str, place: Path, socket: str) -> KubernetesCluster:
    target = Target(namespace=namespace, kubeconfig=str(kube.kubeconfig))
    options = PodOptions("none", template={"spec": POD_SPEC})
    client = await KubeClient.connect(target, place)
    return KubernetesCluster(client, options, about, SimulatedExecs(client, socket))


def spec_of(task: str, place: Path, pods: int) -> TaskSpec:
    return TaskSpec(task, place, pods, 1, "1m", "1Mi", "/bin/sh", 600.0)


@pytest.mark.deadline(DEADLINE_S)
async def test_two_hundred_pods_of_a_task_are_followed(
    kube_cluster: KubeCluster, kube_namespace: str, nodes: Nodes, womm_home: Home
) -> None:
    pods, place, task = 200, womm_home.runtime, new_task_id()

    async with AsyncExitStack() as stack:
        cluster = await cluster_of(kube_cluster, kube_namespace, place, nodes.socket)
        dispatcher = new_dispatcher(task, cluster, stack, place)
        logins = Logins(dispatcher, place)
        await cluster.start(spec_of(task, place, pods), dispatcher.workers)
        await until(lambda: len(logins.pods) == pods, bell=logins.changed, deadline_s=DEADLINE_S)
        first = set(logins.pods)
        assert (place / "width").read_text() == f"{pods}\n"

        sinks = [Sink() for _ in range(2 * pods)]
        for sink in sinks:
            dispatcher.submit(RunRequest(b"true"), sink)
        while dispatcher.done < len(sinks):
            await asyncio.sleep(0.01)
        assert {sink.outcome for sink in sinks} == {Outcome(0)}

        gone = sorted(first)[: pods // 4]
        await asyncio.to_thread(delete, kube_cluster, kube_namespace, gone)
        await until(
            lambda: len(logins.pods) == pods and not set(gone) & set(logins.pods),
            bell=logins.changed,
            deadline_s=DEADLINE_S,
        )
        assert set(first) - set(gone) <= set(logins.pods) == set(dispatcher.pool.workers)
    labels = f"womm/task={task}"
    wait_for(lambda: kube_cluster.kubectl.objects(kube_namespace, labels) == [], "the end of all objects")


def delete(kube: KubeCluster, namespace: str, pods: list[str]) -> None:
    kube.kubectl.run("delete", "pod", *pods, "-n", namespace, "--wait=false")


def test_every_pod_of_thousands_is_heard_of_once(
    kube_cluster: KubeCluster, kube_namespace: str, nodes: Nodes, womm_home: Home
) -> None:
    pods, place, task = count(300, 5000), womm_home.runtime, new_task_id()
    labels = f"womm/task={task},app.kubernetes.io/component=worker"

    async def main() -> None:
        cluster = await cluster_of(kube_cluster, kube_namespace, place, "")
        tracker = Tracker()
        try:
            await cluster.start(spec_of(task, place, 0), tracker)
            made = asyncio.create_task(asyncio.to_thread(nodes.ask, f"create {pods} {labels}"))
            await until(lambda: len(tracker.live) == pods, bell=tracker.changed, deadline_s=DEADLINE_S)
            assert await made == pods
            assert set(tracker.heard) <= set(nodes.ask("times"))  # which has the keeper, too
            await asyncio.to_thread(nodes.ask, f"remove {labels}")
            await until(lambda: not tracker.live, bell=tracker.changed, deadline_s=DEADLINE_S)
            assert tracker.starts == pods
        finally:
            await asyncio.to_thread(nodes.ask, f"remove {labels}")
            await cluster.stop()

    run(main(), DEADLINE_S)


def test_a_list_comes_in_pages(
    kube_cluster: KubeCluster, kube_namespace: str, nodes: Nodes, womm_home: Home
) -> None:
    pods = 60

    async def main() -> None:
        target = Target(namespace=kube_namespace, kubeconfig=str(kube_cluster.kubeconfig))
        client = await KubeClient.connect(target, womm_home.runtime)
        try:
            path = f"/api/v1/namespaces/{kube_namespace}/pods"
            whole, _ = await client.list(path, labels="paged=yes")
            paged, version = await client.list(path, labels="paged=yes", page=7)
        finally:
            await client.close()
        names = [item["metadata"]["name"] for item in paged]
        assert sorted(names) == sorted(item["metadata"]["name"] for item in whole)
        assert len(set(names)) == len(names) == pods
        assert version.isdigit()

    nodes.ask(f"create {pods} paged=yes")
    run(main())
    nodes.ask("remove paged=yes")
