"""Shares on a real cluster: a file server, workers on nodes of their own that mount it, and their end."""

import asyncio
import os
import secrets
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_contract import SPEC, Observer, linked_pod, unique_task
from tests.cluster.kubernetes.pods import about
from tests.conftest import Home
from tests.link.wires import Linked
from tests.loop import until
from tests.realcluster.fixtures import KubeCluster
from womm import process
from womm.cluster.base import ServerSpec, ShareHost, ShareSpec, TaskSpec
from womm.cluster.kubernetes.client import KubeClient, Target
from womm.cluster.kubernetes.cluster import KubernetesCluster, PodOptions
from womm.cluster.kubernetes.manifests import WORKER
from womm.cluster.kubernetes.share_manifests import FILE_SERVER
from womm.errors import ClusterError
from womm.share.lazy.connection import LazyConnection

pytestmark = pytest.mark.slow

FOLDER = Path("/home/au drey/proj")
"""Of no machine: what a task sees there is the share's."""
LEVEL = "pod-security.kubernetes.io"
SLOW_S = 180.0
"""Nodes in user-mode Linux that share a machine with much else."""
ENDED_S = 55.0
"""Below the minute for which kubelet's umount alone hangs when the file server has gone first."""


def host_of(cluster: KubernetesCluster) -> ShareHost:
    assert cluster.share_host is not None
    return cluster.share_host


def on_nodes(*nodes: str) -> dict[str, Any]:
    """A pod template that spreads the workers over these nodes."""
    hosts = {"key": "kubernetes.io/hostname", "operator": "In", "values": [*nodes]}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/component": "worker"}},
    }
    required = {"nodeSelectorTerms": [{"matchExpressions": [hosts]}]}
    return {
        "spec": {
            "tolerations": [{"key": "womm.test/nfs", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
            "topologySpreadConstraints": [spread],
        }
    }


class Shared:
    """Tasks with a share in a namespace, whose workers are on nodes that can mount it."""

    def __init__(
        self, kube: KubeCluster, namespace: str, image: str, nodes: list[str], runtime: Path
    ) -> None:
        self.kube, self.namespace = kube, namespace
        self._image, self._nodes, self._runtime = image, nodes, runtime

    def spec(self, *, pods: int = 2, **share: Any) -> TaskSpec:
        values: dict[str, Any] = {
            "kind": "eager",
            "folder": FOLDER,
            "secret": {"export": secrets.token_hex(16).encode()},
        }
        made = ShareSpec(**{**values, **share})
        return replace(
            SPEC,
            task=unique_task(),
            folder=made.folder,
            pods=pods,
            slots=1,
            share=made,
            server=ServerSpec(self._image),
            orphan_timeout_s=2 * SLOW_S,  # a pod that waits for its first link is none
        )

    async def cluster(self, **options: Any) -> KubernetesCluster:
        target = Target(namespace=self.namespace, kubeconfig=str(self.kube.kubeconfig))
        image = self.kube.images["worker"].pinned
        given = {"image": image, "template": on_nodes(*self._nodes), **options}
        return KubernetesCluster(await KubeClient.connect(target, self._runtime), PodOptions(**given), about)

    def objects(
        self,
        component: str = "",
        kinds: str = "pods,jobs,deployments,replicasets,configmaps,services,secrets",
    ) -> list[str]:
        """What there is of womm's, as KIND/NAME."""
        labels = "app.kubernetes.io/managed-by=womm"
        labels += f",app.kubernetes.io/component={component}" if component else ""
        return self.kube.kubectl.text("get", kinds, "-n", self.namespace, "-l", labels, "-o", "name").split()


@pytest.fixture
def shared(
    kube_cluster: KubeCluster,
    kube_namespace: str,
    nfs_nodes: list[str],
    fileserver_image: str,
    womm_home: Home,
) -> Shared:
    return Shared(kube_cluster, kube_namespace, fileserver_image, nfs_nodes, womm_home.runtime)


async def result(to: Linked, job: int, command: str) -> bytes:
    """What the job prints; it must not fail."""
    ended = await to.run(command)
    assert ended.value == 0, (command, to.seen.out(job))
    printed: bytes = to.seen.out(job)
    return printed


@pytest.mark.deadline(2 * SLOW_S + ENDED_S)
async def test_two_pods_see_each_others_files_in_the_folder_and_nothing_is_left(shared: Shared) -> None:
    cluster, observer = await shared.cluster(), Observer()
    ending: list[list[str]] = []

    async def share_ends() -> None:
        ending.append(shared.objects(WORKER, kinds="pods"))
        ending.append(shared.objects(FILE_SERVER, kinds="pods"))

    try:
        with observer.explains():
            await cluster.start(shared.spec(), observer)
            host_of(cluster).before_share_ends(share_ends)
            await until(lambda: len(observer.started) == 2, "two workers", SLOW_S)
            assert any("file server" in reason for waits in observer.waits for reason in waits)
            one, other = observer.started
            async with linked_pod(cluster, one) as first, linked_pod(cluster, other) as second:
                assert await result(first, 1, "pwd; echo hello >file") == os.fsencode(FOLDER) + b"\n"
                told = await result(second, 1, "cat file; echo more >>file; mkdir -p a/b; mv file a/b/")
                assert told == b"hello\n"
                assert await result(first, 2, "cat a/b/file; ls") == b"hello\nmore\na\n"
    finally:
        ended = time.monotonic()
        await cluster.stop()
        took_s = time.monotonic() - ended
    assert (ending[0], len(ending[1])) == ([], 1)  # workers first
    assert shared.objects() == []
    assert took_s < ENDED_S


@pytest.mark.deadline(2 * SLOW_S + ENDED_S)
@pytest.mark.soak
async def test_lazy_share_is_the_users_folder_and_what_pods_write_comes_back(
    shared: Shared, tmp_path: Path
) -> None:
    folder = tmp_path / "proj"
    (folder / "sub").mkdir(parents=True)
    (folder / "data").write_bytes(b"x" * 300_000)
    (folder / "sub/name").write_text("laptop")
    said: list[str] = []

    lazy = LazyConnection(folder, on_lost=said.append, say=said.append)
    cluster, observer = await shared.cluster(), Observer()
    try:
        await cluster.start(
            shared.spec(kind="lazy", folder=folder, secret=lazy.keys.secret(), pods=1), observer
        )
        lazy.start(host_of(cluster).share_dial())
        host_of(cluster).before_share_ends(lambda: lazy.finish(30))
        await until(lambda: observer.started, "a worker", SLOW_S)
        await lazy.ready()
        (pod,) = observer.started
        async with linked_pod(cluster, pod) as to:
            assert await result(to, 1, "pwd; cat sub/name; wc -c <data") == b"%b\nlaptop300000\n" % (
                os.fsencode(folder)
            )
            await result(to, 2, "echo pod >sub/new; mkdir out; seq 1000 >out/numbers; rm data")
            assert (await lazy.flush()).failed == {}
            assert (folder / "sub/new").read_text() == "pod\n"
            assert (folder / "out/numbers").read_text().split() == [str(n) for n in range(1, 1001)]
            assert not (folder / "data").exists()
            # Its container starts again: its disk is still there, and so is the share.
            (server,) = shared.objects(FILE_SERVER, kinds="pods")
            for one in shared.kube.own.pod_processes(shared.namespace, server.removeprefix("pod/")):
                process.kill(one, signal.SIGKILL)
            assert await result(to, 3, "cat sub/new; echo again >>sub/new") == b"pod\n"
            assert (await lazy.flush()).failed == {}
            assert (folder / "sub/new").read_text() == "pod\nagain\n"
    finally:
        ended = time.monotonic()
        await cluster.stop()
        took_s = time.monotonic() - ended
        await lazy.close()
    assert shared.objects() == []
    assert took_s < ENDED_S
    assert said == []


@pytest.mark.deadline(2 * SLOW_S + ENDED_S)
async def test_keepers_end_takes_a_share_along_without_a_hanging_umount(shared: Shared) -> None:
    """Nobody is there to keep the order: the file server serves on until its clients have unmounted."""

    cluster, observer = await shared.cluster(), Observer()
    try:
        spec = shared.spec(pods=1)
        await cluster.start(spec, observer)
        await until(lambda: observer.started, "a worker", SLOW_S)
        words = ["delete", "job", f"womm-task-{spec.task}", "-n", shared.namespace]
        shared.kube.kubectl.run(*words, "--cascade=foreground", "--wait=false")
        began = time.monotonic()
        await until(lambda: shared.objects() == [], "the end of all objects", SLOW_S)
        assert time.monotonic() - began < ENDED_S
        await until(
            lambda: any("removed" in r for waits in observer.waits for r in waits), "the news", SLOW_S
        )
    finally:
        await cluster.stop()


@pytest.mark.parametrize("share", [{"kind": "lazy"}, {"kind": "eager-syncback"}, {"claim": "disk"}])
async def test_namespace_that_takes_no_nfs_volumes_is_told_in_a_line(
    kube_cluster: KubeCluster, womm_home: Home, share: dict[str, Any]
) -> None:

    with kube_cluster.kubectl.namespace({f"{LEVEL}/enforce": "restricted"}) as namespace:
        shared = Shared(kube_cluster, namespace, "files:1", ["node1"], womm_home.runtime)
        cluster = await shared.cluster(image=kube_cluster.images["worker-user"].pinned)
        try:
            with pytest.raises(ClusterError) as raised:
                await cluster.start(shared.spec(**share), Observer())
        finally:
            await cluster.stop()
        assert "refuses NFS volumes (Pod Security `restricted`)" in raised.value.message
        assert "womm parallel --share eager" in (raised.value.hint or "")
        assert shared.objects() == []


async def test_file_server_satisfies_restricted_and_an_image_that_is_not_there_is_told(
    kube_cluster: KubeCluster, kube_namespace: str, womm_home: Home
) -> None:
    missing = f"{kube_cluster.registry}/no/such:1"
    shared = Shared(kube_cluster, kube_namespace, missing, ["node1"], womm_home.runtime)
    cluster, observer = await shared.cluster(), Observer()
    try:
        await cluster.start(shared.spec(), observer)
        told = "file server: ImagePullBackOff"
        await observer.until(lambda: any(told in r for w in observer.waits for r in w), "the reason")
        assert "check the image" in cluster.advice()
        words = ["label", "--dry-run=server", "--overwrite", "namespace", kube_namespace]
        warned = kube_cluster.kubectl.run(*words, f"{LEVEL}/enforce=restricted").stderr
        assert "-files-" not in warned, warned
        with pytest.raises(OSError, match="file server is not there: ImagePullBackOff"):
            await host_of(cluster).share_dial()(asyncio.Protocol)
    finally:
        await cluster.stop()
    assert observer.started == []
    assert shared.objects() == []
