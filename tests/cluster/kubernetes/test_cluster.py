"""The Kubernetes driver under the contract, on a real cluster."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.cluster.cluster_contract import ClusterContract, unique_task
from tests.cluster.kubernetes.pods import about, agent_of
from tests.faults.tasks import wait_for
from tests.link.wires import DEADLINE_S
from womm.cluster.base import Pod
from womm.cluster.kubernetes.client import KubeClient, Target
from womm.cluster.kubernetes.cluster import KubernetesCluster, PodOptions

pytestmark = pytest.mark.slow


class TestKubernetesCluster(ClusterContract):
    drain_keeps_pods = False

    @pytest.fixture(autouse=True)
    def _place(self, kube_cluster, kube_namespace):
        kube_cluster.own.wait_ready()  # its processes are seen from here
        self.kube, self.namespace = kube_cluster, kube_namespace
        yield
        wait_for(lambda: kube_cluster.kubectl.objects(kube_namespace) == [], "the end of all objects")

    async def cluster(self, place: Path) -> KubernetesCluster:
        target = Target(namespace=self.namespace, kubeconfig=str(self.kube.kubeconfig))
        options = PodOptions(image=self.kube.images["worker"].pinned)
        return KubernetesCluster(await KubeClient.connect(target, place), options, about)

    def kill_agent(self, pod: Pod) -> None:
        os.kill(agent_of(pod.name), signal.SIGKILL)

    async def test_why_no_pod_is_wanted_any_more_is_told_before_none_is(self, go):
        task = unique_task()

        async with go(task=task, pods=1) as (cluster, observer):
            await self.all_started(observer, 1)
            words = ("delete", "job", f"womm-task-{task}", "-n", self.namespace)
            foreground = ("--cascade=foreground", "--wait=false")
            await asyncio.to_thread(self.kube.kubectl.run, *words, *foreground)
            async with asyncio.timeout(DEADLINE_S):
                while cluster.wanted:
                    await asyncio.sleep(0)
            assert any("removed from the cluster" in reason for reason in observer.waits[-1])
