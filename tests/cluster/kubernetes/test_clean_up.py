"""Whatever ends a task, the cluster has nothing of it afterwards; the keeper."""

import os
import random
import signal
import time

import pytest

from tests.cluster.kubernetes.pods import agent_of
from tests.cluster.kubernetes.project import NOTES, Project
from tests.faults.tasks import carriers, wait_for, womm
from tests.soak import count
from womm.journal.events import JobStarted, PodGone, TaskEnding

pytestmark = pytest.mark.slow

SLEEPERS = ["parallel", "--kube-pods", "2", "--", "sleep 1000; echo {}", ":::", "1", "2", "3"]


def label_of(task: str) -> str:
    return f"womm/task={task}"


def is_gone(project: Project, task: str) -> bool:
    return project.kube.kubectl.objects(project.namespace, label_of(task)) == []


@pytest.mark.parametrize("number", range(count(4, 100)))
def test_interrupt_or_finish_at_any_moment_leaves_nothing(project: Project, number: int) -> None:
    """0.4 s: before anything is made; 1.5 s: while pods are created; 4 s: while jobs run."""
    chance = random.Random(number)
    after_s = [0.4, 1.2, 2.5, 5.0][number] if number < 4 else chance.uniform(0.2, 8.0)
    kinds = [signal.SIGINT, signal.SIGTERM] if number < 4 else [signal.SIGINT, signal.SIGTERM, None]
    kind = chance.choice(kinds)
    with project.started(*SLEEPERS) as run:
        time.sleep(after_s)  # a random instant, not a synchronisation
        if kind is None:
            for _ in range(2):
                finished = womm(project.folder, "finish", run.task)
                assert finished.returncode == 0, finished
        else:
            os.killpg(run.process.pid, kind)
        ends = {128 + kind, -kind} if kind is not None else {128 + signal.SIGTERM}
        status = run.wait(90)
        assert status in ends, run.err
        wait_for(lambda: project.objects() == [], "the end of all objects", 60)
        if "created" in run.err:
            assert carriers(f"WOMM_TASK={run.task}") == []


def test_second_interrupt_does_not_wait_and_still_leaves_nothing(project: Project) -> None:
    with project.started(*SLEEPERS) as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "a job")
        task = run.task
        run.process.send_signal(signal.SIGINT)
        wait_for(lambda: "interrupted" in run.err, "the first one to be heard")
        run.process.send_signal(signal.SIGINT)
        assert run.wait(20) == 130
        wait_for(lambda: is_gone(project, task), "the end of all objects", 60)


@pytest.mark.parametrize("after_s", [0.0, 0.6, 1.2])
def test_signal_during_the_clean_up_leaves_nothing(project: Project, after_s: float) -> None:
    """The jobs are done, the pods are on their way out."""
    with project.started("parallel", "--kube-pods", "2", "--", "echo {}", ":::", "1") as run:
        wait_for(lambda: run.events(TaskEnding) or run.process.poll() is not None, "the end of the jobs")
        time.sleep(after_s)
        run.process.send_signal(signal.SIGTERM)
        run.wait(60)
        assert run.out == b"1\n"


def test_killed_coordinator_is_missed_after_the_orphan_timeout(project: Project) -> None:
    """And a task of somebody else who is there goes on beside it."""
    project.write(orphan_timeout="8s")
    kubectl = project.kube.kubectl
    kubectl.run("create", "configmap", "not-womms", "-n", project.namespace)
    other = project.folder / "other"
    other.mkdir()
    (other / ".womm").write_text((project.folder / ".womm").read_text())
    with project.started(*SLEEPERS) as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "a job")
        task = run.task
        beside = Project(other, project.kube, project.namespace)
        with beside.started(
            "parallel", "--kube-pods", "1", "--", "sleep 25; echo {} $WOMM_ATTEMPT", ":::", "x"
        ) as going:
            os.killpg(run.process.pid, signal.SIGKILL)
            wait_for(lambda: is_gone(project, task), "the end of all objects", 8 + 60)
            assert going.wait() == 0, going.err
            assert going.out == b"x 1\n"
    assert womm(project.folder, "finish", task).returncode == 0  # what it has left here
    names = kubectl.text("get", "configmaps", "-n", project.namespace, "-o", "name").split()
    assert "configmap/not-womms" in names


def test_task_outlives_its_keeper(project: Project) -> None:
    """Another one comes; while there is none the workers have their own links."""
    project.write_with_notes(orphan_timeout="20s")
    job = f"until [ -e {NOTES}/go ]; do sleep 0.2; done; echo {{}} $WOMM_ATTEMPT"
    words = ["parallel", "--kube-pods", "1", "--", job, ":::", "x"]
    with project.started(*words) as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "a job")
        wait_for(lambda: is_ready(project, run.task), "the keeper")
        (first,) = project.pods(run.task, "keeper")
        os.kill(agent_of(first), signal.SIGKILL)
        wait_for(lambda: is_ready(project, run.task, but=first), "another one that hears")
        second = next(name for name in project.pods(run.task, "keeper") if name != first)
        project.delete_pod(second)
        project.executions.with_name("go").touch()
        assert run.wait() == 0, run.err
        assert run.out == b"x 1\n"
        assert run.events(PodGone) == []


def is_ready(project: Project, task: str, but: str = "") -> bool:
    """Whether the keeper has heard the coordinator's heartbeat lately."""
    for pod in project.pod_objects(task, "keeper"):
        status = pod["status"]
        if status["phase"] == "Running" and pod["metadata"]["name"] != but:
            ready = next(c for c in status["conditions"] if c["type"] == "Ready")
            return bool(ready["status"] == "True")
    return False


@pytest.mark.soak
def test_keeper_is_not_ready_when_the_heartbeat_is_old(project: Project) -> None:
    with project.started(*SLEEPERS) as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "a job")
        wait_for(lambda: is_ready(project, run.task), "the heartbeat")
        run.process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: not is_ready(project, run.task), "that it is missed", 150)
        finally:
            run.process.send_signal(signal.SIGCONT)
        wait_for(lambda: is_ready(project, run.task), "that it is heard again")


def test_root_deleted_by_hand_ends_the_task_with_a_word(project: Project) -> None:
    """As `womm finish` on another machine does."""
    with project.started(*SLEEPERS) as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "a job")
        project.kube.kubectl.run(
            *("delete", "job", f"womm-task-{run.task}", "-n", project.namespace),
            *("--cascade=foreground", "--wait=false"),
        )
        assert run.wait(90) == 254, run.err
        assert "removed from the cluster" in run.err
        assert run.out == b""
