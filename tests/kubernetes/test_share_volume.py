"""What an eager share copies stays on a volume of the user's, for the next task."""

import re
from typing import Any

import pytest

from tests.conftest import Home
from tests.faults.tasks import womm
from tests.kubernetes.project import Project
from tests.kubernetes.test_shared_tasks import fill, shared, tree, write

__all__ = ["shared"]
pytestmark = pytest.mark.slow


@pytest.fixture
def claim(project: Project) -> Any:
    """The name of a claim whose volume is a folder of node1."""
    place = project.kube.own.folder / "node1/log" / f"{project.namespace}-store"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    name = f"store-{project.namespace}"
    size = {"storage": "1Gi"}
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    volume = {
        **spec,
        "capacity": size,
        "hostPath": {"path": f"/var/log/{place.name}"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}},
    }
    wanted = {**spec, "resources": {"requests": size}, "volumeName": name}
    kubectl = project.kube.kubectl
    kubectl.apply(
        project.namespace,
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "store"},
            "spec": wanted,
        },
    )
    yield "store"
    kubectl.run("delete", "pvc", "store", "-n", project.namespace, "--wait=false")
    kubectl.run("delete", "pv", name, "--wait=false")


def test_an_eager_share_on_a_volume_sends_the_next_task_what_differs(
    shared: Project, fileserver_image: str, claim: str, womm_home: Home
) -> None:
    write(shared, fileserver_image, "eager", share_volume=claim)
    fill(shared.folder)
    names = sorted(name for name in tree(shared.folder) if name.startswith("src/"))
    for expected in (names, ["src/new.txt"]):
        words = ["parallel", "--kube-pods", "1", "--keep", "--", "-k", "sha256sum"]
        with shared.started(*words, stdin="".join(f"{name}\n" for name in names).encode()) as run:
            assert run.wait(300) == 0, run.err
            pairs = [line.split(maxsplit=1) for line in run.out.decode().splitlines()]
        assert {name: value for value, name in pairs} == {name: tree(shared.folder)[name] for name in names}
        sent = re.search(r"(\d+) files?", run.err)
        assert sent and int(sent[1]) == len(expected), run.err
        shared.nothing_left(womm_home.runtime)
        (shared.folder / "src/new.txt").write_text("new\n")
        names.append("src/new.txt")


def test_keep_without_a_volume_is_refused(shared: Project, fileserver_image: str) -> None:
    write(shared, fileserver_image, "eager")
    result = womm(shared.folder, "parallel", "--kube-pods", "1", "--keep", "--", "true", ":::", "1")
    assert result.returncode == 2, result.stderr
    assert "--keep" in result.stderr
    assert "share-volume" in result.stderr
