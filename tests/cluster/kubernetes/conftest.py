"""A project on the test cluster, in a namespace of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kubernetes.project import Project
from tests.conftest import Home
from tests.realcluster.fixtures import KubeCluster


@pytest.fixture
def project(
    tmp_path: Path, womm_home: Home, kube_cluster: KubeCluster, kube_namespace: str
) -> Iterator[Project]:
    """A folder with a `.womm`. When the test ends, nothing of its tasks may be in the namespace."""
    made = Project(tmp_path, kube_cluster, kube_namespace)
    made.write()
    yield made
    made.nothing_left(womm_home.runtime)
