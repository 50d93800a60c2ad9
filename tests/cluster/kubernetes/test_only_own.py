"""Whatever ends a task, the end removes nothing that belongs to somebody else."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.kubernetes.project import NOTES, Project
from tests.faults.tasks import Run, wait_for, womm
from tests.soak import count
from womm.cluster.kubernetes import manifests
from womm.cluster.kubernetes.manifests import About, WorkerSpec
from womm.journal.events import JobEnded, JobLost, JobStarted, PodGone

pytestmark = pytest.mark.slow

OTHERS = "aaaabbbb"
"""A task of another user, of which there are but the objects: nobody coordinates it."""


def make_strangers(project: Project) -> None:
    """Objects without labels, some with names like womm's; and all that another user's task consists of."""
    kubectl, namespace = project.kube.kubectl, project.namespace
    image = project.kube.images["worker"].pinned
    data = {"metadata": {"name": "womm-task-theirs"}, "apiVersion": "v1"}
    kubectl.apply(namespace, {**data, "kind": "ConfigMap"}, {**data, "kind": "Secret"})
    kubectl.run_pod(namespace, "womm-task-theirs", image, "sleep", "100000")
    about = About("parallel", ("true",), str(project.folder), "elsewhere", "other", 1, 1, "50m", "64Mi", 0.0)
    spec = WorkerSpec(OTHERS, about, image, "/bin/sh", orphan_timeout_s=100_000)
    kubectl.apply(namespace, manifests.task_job(spec))
    root = kubectl.json("get", "job", manifests.root_name(OTHERS), "-n", namespace)
    kubectl.apply(namespace, manifests.agent_scripts(spec, root), manifests.workers(spec, root))
    for pod in ("pod/womm-task-theirs", f"deployment/{manifests.root_name(OTHERS)}"):
        condition = "Ready" if pod.startswith("pod/") else "Available"
        kubectl.run("wait", "-n", namespace, pod, f"--for=condition={condition}", "--timeout=60s")


def identities(project: Project, *tasks: str) -> dict[str, tuple[str, bool, int]]:
    """What there is but the tasks' own objects: its uid, whether it is told to end, restarts of a pod."""
    kinds = "pods,services,configmaps,secrets,deployments,replicasets,jobs"
    found = {}
    for item in project.kube.kubectl.json("get", kinds, "-n", project.namespace)["items"]:
        metadata = item["metadata"]
        if (metadata.get("labels") or {}).get(manifests.TASK) in tasks:
            continue
        restarts = sum(c["restartCount"] for c in item.get("status", {}).get("containerStatuses") or ())
        name = f"{item['kind']}/{metadata['name']}"
        found[name] = metadata["uid"], "deletionTimestamp" in metadata, restarts
    return found


def folder_of(project: Project, name: str) -> Project:
    """Another folder with the same `.womm`."""
    folder = project.folder / name
    folder.mkdir()
    for file in (".womm", "pod.yaml"):
        (folder / file).write_text((project.folder / file).read_text())
    return Project(folder, project.kube, project.namespace)


def interrupt(run: Run, elsewhere: Path) -> None:
    os.killpg(run.process.pid, signal.SIGINT)
    run.wait()


def kill_and_finish(run: Run, elsewhere: Path) -> None:
    os.killpg(run.process.pid, signal.SIGKILL)
    run.wait()
    assert womm(run.folder, "finish", run.task).returncode == 0


def finish_all_of_its_folder(run: Run, elsewhere: Path) -> None:
    assert womm(run.folder, "finish", "--all", "--yes").returncode == 0
    run.wait()


def finish_from_elsewhere(run: Run, elsewhere: Path) -> None:
    assert womm(elsewhere, "finish", "--force", run.task).returncode == 0
    run.wait()


ENDS: list[Callable[[Run, Path], None]] = [
    *(interrupt, kill_and_finish, finish_all_of_its_folder, finish_from_elsewhere)
]


def test_tasks_that_end_take_nothing_of_others_along(project: Project) -> None:
    """Two tasks of one user, one is ended at a random instant; a third one sees all of that."""
    project.write_with_notes()
    make_strangers(project)
    places = [folder_of(project, name) for name in ("beside", "one", "two")]
    beside_folder, first, second = places
    chance = random.Random(4)
    waits = f"until [ -e {NOTES}/end ]; do sleep 0.2; done; echo {{}} $WOMM_ATTEMPT"
    with beside_folder.started("parallel", "--kube-pods", "1", "--", waits, ":::", "x") as beside:
        wait_for(lambda: beside.events(JobStarted) or beside.process.poll(), "the job beside")
        before = identities(project)
        assert len(before) >= 12, before
        for number in range(count(1, 50)):
            words = ("parallel", "--kube-pods", "1", "--")
            with (
                first.started(*words, "sleep 1000", ":::", "1", name=f"ended{number}") as ended,
                second.started(*words, "sleep 1; echo {}", ":::", "1", "2", name=f"goes{number}") as goes,
            ):
                tasks = ended.task, goes.task
                time.sleep(chance.uniform(0.0, 4.0))  # a random instant, not a synchronisation
                ENDS[number % len(ENDS)](ended, project.folder)
                assert goes.wait() == 0, goes.err
                assert sorted(goes.out.split()) == [b"1", b"2"]
                assert goes.events(PodGone, JobLost) == []
            assert identities(project, *tasks) == before
        (project.executions.parent / "end").touch()
        assert beside.wait() == 0, beside.err
        assert beside.out == b"x 1\n"
        assert beside.events(PodGone, JobLost) == []
        assert len(beside.events(JobEnded)) == 1
    project.kube.kubectl.run("delete", "job", manifests.root_name(OTHERS), "-n", project.namespace)
