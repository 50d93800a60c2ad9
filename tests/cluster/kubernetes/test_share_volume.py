"""What an eager share copies stays on a volume of the user's, for the next task."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.test_shared_tasks import fill, shared, tree, write
from tests.conftest import Home
from tests.faults.tasks import wait_for, womm
from womm.cluster.kubernetes.share_manifests import FILE_SERVER
from womm.journal.events import JobLost

__all__ = ["shared"]
pytestmark = pytest.mark.slow


CLAIM = "store"


@pytest.fixture
def volume(project: Project) -> Iterator[Path]:
    """What is on the volume of CLAIM, a folder of node1."""
    place = project.kube.own.folder / "node1/log" / f"{project.namespace}-store"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    name = f"store-{project.namespace}"
    size = {"storage": "1Gi"}
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    folder = {
        **spec,
        "capacity": size,
        "hostPath": {"path": f"/var/log/{place.name}"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}},
    }
    wanted = {**spec, "resources": {"requests": size}, "volumeName": name}
    kubectl = project.kube.kubectl
    kubectl.apply(
        project.namespace,
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": folder},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM},
            "spec": wanted,
        },
    )
    yield place
    kubectl.run("delete", "pvc", CLAIM, "-n", project.namespace, "--wait=false")
    kubectl.run("delete", "pv", name, "--wait=false")


@pytest.mark.soak
def test_an_eager_share_on_a_volume_sends_the_next_task_what_differs(
    shared: Project, fileserver_image: str, volume: Path, womm_home: Home
) -> None:
    write(shared, fileserver_image, "eager", share_volume=CLAIM)
    fill(shared.folder)
    names = sorted(name for name in tree(shared.folder) if name.startswith("src/"))
    copied = dict[str, tuple[int, int]]()
    for _ in range(2):
        words = ["parallel", "--kube-pods", "1", "--keep", "--", "-k", "sha256sum"]
        with shared.started(*words, stdin="".join(f"{name}\n" for name in names).encode()) as run:
            assert run.wait(300) == 0, run.err
            pairs = [line.split(maxsplit=1) for line in run.out.decode().splitlines()]
        assert {name: value for value, name in pairs} == {name: tree(shared.folder)[name] for name in names}
        before, copied = copied, copies(volume)
        assert {name: copied[name] for name in before} == before
        assert set(names) <= set(copied)
        shared.nothing_left(womm_home.runtime)
        (shared.folder / "src/new.txt").write_text("new\n")
        names.append("src/new.txt")


@pytest.mark.soak
def test_file_server_of_a_volume_that_is_replaced_costs_no_job(
    shared: Project, fileserver_image: str, volume: Path, womm_home: Home
) -> None:
    """In another pod its handles and its files are the same, also for a file that is open."""
    write(shared, fileserver_image, "eager-syncback", share_volume=CLAIM)
    (shared.folder / "name").write_text("laptop\n")
    command = "exec 3>>log.{}; for n in $(seq 30); do cat name; echo $n >&3; sleep 1; done"
    with shared.started("parallel", "--kube-pods", "2", "--", "-k", command, ":::", "a", "b") as run:
        wait_for(
            lambda: len([*volume.glob("*/log.*")]) == 2 or run.process.poll(), f"the jobs: {run.err}", 200
        )
        (server,) = shared.pods(run.task, FILE_SERVER)
        shared.delete_pod(server)
        assert run.wait(300) == 0, run.err
        assert run.events(JobLost) == []
        assert run.out == b"laptop\n" * 60
        assert "disk is lost" not in run.err
    for name in ("a", "b"):
        assert (shared.folder / f"log.{name}").read_text().split() == [str(n) for n in range(1, 31)]
    shared.nothing_left(womm_home.runtime)


def copies(volume: Path) -> dict[str, tuple[int, int]]:
    """The files of the store below src, and what tells that they were not written again."""
    found = {}
    for path in volume.glob("*/src/**/*.txt"):
        stat = path.stat()
        found["/".join(path.relative_to(volume).parts[1:])] = stat.st_ino, stat.st_ctime_ns
    return found


def test_keep_without_a_volume_is_refused(shared: Project, fileserver_image: str) -> None:
    write(shared, fileserver_image, "eager")
    result = womm(shared.folder, "parallel", "--kube-pods", "1", "--keep", "--", "true", ":::", "1")
    assert result.returncode == 2, result.stderr
    assert "--keep" in result.stderr
    assert "share-volume" in result.stderr
