"""A Kubernetes for tests: one per run, started when the first test wants it, gone before the run ends.

    kube_cluster    the cluster: kubectl, images, kubeconfig, and what can be done to it
    kube_namespace  the name of a fresh namespace in it
    nfs_nodes       the names of two nodes in it that can mount NFS
    fileserver_image    the image of a share's file server, made of the womm that is here
    python_image        an image with python3 and no womm

With WOMM_TEST_KUBECONFIG the cluster of that file is used instead; its images are pushed to
WOMM_TEST_REGISTRY, which this machine and all nodes must reach by that name, over plain HTTP. Nothing is
broken on a cluster that is not the tests' own: `KubeCluster.own` skips such tests. Where no cluster can
run, tests are skipped with the reason. WOMM_TEST_INSTANCE chooses which of this machine's the tests' own is.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.realcluster import images, requirements
from tests.realcluster.cluster import Cluster, remove
from tests.realcluster.instances import claim
from tests.realcluster.kubectl import Kubectl
from tests.realcluster.startup import KUBE

# Read when this is imported: tests empty the environment of womm's names.
_FOREIGN = os.environ.get("WOMM_TEST_KUBECONFIG")
_FOREIGN_REGISTRY = os.environ.get("WOMM_TEST_REGISTRY")
_INSTANCE = os.environ.get("WOMM_TEST_INSTANCE")


@dataclass(frozen=True, slots=True)
class KubeCluster:
    kubectl: Kubectl
    _images: Mapping[str, images.Image]
    _own: Cluster | None

    @property
    def kubeconfig(self) -> Path:
        return self.kubectl.kubeconfig

    @property
    def images(self) -> Mapping[str, images.Image]:
        """What pods can run, by name: worker, worker-user, worker-noperl (see `images`)."""
        if not self._images:
            pytest.skip("WOMM_TEST_REGISTRY does not say where images for the cluster can be pushed to")
        return self._images

    @property
    def registry(self) -> str:
        """Where the cluster gets images from: HOST:PORT."""
        return self.images["worker"].tagged.partition("/")[0]

    @property
    def own(self) -> Cluster:
        """The cluster as something to break; skips the test where it is not the tests' own."""
        if self._own is None:
            pytest.skip("the cluster of WOMM_TEST_KUBECONFIG is not the tests' to break")
        return self._own


_STARTED = pytest.StashKey[KubeCluster]()


@pytest.fixture(scope="session")
def kube_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubeCluster]:
    stash = request.config.stash
    if _STARTED in stash:  # imported into more than one conftest
        yield stash[_STARTED]
        return
    opened = _foreign(Path(_FOREIGN), tmp_path_factory.mktemp("kubectl")) if _FOREIGN else _own()
    with opened as cluster:
        stash[_STARTED] = cluster
        try:
            yield cluster
        finally:
            del stash[_STARTED]


@pytest.fixture
def kube_namespace(kube_cluster: KubeCluster) -> Iterator[str]:
    with kube_cluster.kubectl.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def nfs_nodes(kube_cluster: KubeCluster) -> list[str]:
    own, lacking = kube_cluster.own, requirements.lacking_for_nfs()
    if lacking:
        pytest.skip(lacking)
    return own.add_nfs_nodes(2)


@pytest.fixture(scope="session")
def fileserver_image(kube_cluster: KubeCluster) -> str:
    return images.file_server_image(kube_cluster.registry).pinned


@pytest.fixture(scope="session")
def python_image(kube_cluster: KubeCluster) -> str:
    return images.python_image(kube_cluster.registry).pinned


@contextmanager
def own_cluster() -> Iterator[Cluster]:
    """Give a cluster that runs, and remove it afterwards; skips the test where none can run."""
    lacking = requirements.lacking()
    if lacking:
        pytest.skip(lacking)
    cluster = Cluster(claim(int(_INSTANCE) if _INSTANCE else None, remove))
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()


@contextmanager
def _own() -> Iterator[KubeCluster]:
    with own_cluster() as cluster:
        yield KubeCluster(cluster.kubectl, cluster.images, cluster)


@contextmanager
def _foreign(kubeconfig: Path, home: Path) -> Iterator[KubeCluster]:
    program = shutil.which("kubectl")
    if program is None and not KUBE.exists():
        pytest.skip("WOMM_TEST_KUBECONFIG is set, but there is no kubectl")
    words = (program,) if program else (str(KUBE.resolve()), "kubectl")
    kubectl = Kubectl(words, kubeconfig, home)
    kubectl.run("version")  # it answers
    pushed = images.worker_images(_FOREIGN_REGISTRY) if _FOREIGN_REGISTRY else {}
    yield KubeCluster(kubectl, pushed, None)
