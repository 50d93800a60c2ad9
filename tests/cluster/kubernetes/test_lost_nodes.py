"""A node that is lost: killed, or cut off with all its jobs going on. Its pods stay `Terminating`."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.kubernetes.project import Project
from tests.faults.tasks import Run, joblog_lines, wait_for, womm
from womm.journal.events import JobEnded, JobLost, JobStarted, PodGone, PodReady

pytestmark = pytest.mark.slow

TOLERATIONS = [{"key": "womm.test/nfs", "operator": "Exists"}]


@pytest.fixture
def mortal(project: Project, nfs_nodes: list[str]) -> str:
    """The name of a node that may die; it is well again when the next test begins."""
    project.kube.own.wait_ready()
    return nfs_nodes[0]


@contextmanager
def lost(project: Project, node: str, how: str) -> Iterator[None]:
    own = project.kube.own
    if how == "cut off":
        with own.network.cut(int(node.removeprefix("node"))):
            yield
        return
    own.kill(node)
    try:
        yield
    finally:
        own.start(node)


def on_one(node: str) -> dict[str, Any]:
    """A template that brings the keeper and all workers to one node."""
    return {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": TOLERATIONS}}


def spread(*nodes: str) -> dict[str, Any]:
    """A template that gives each of the nodes a worker; one that is not ready counts no more."""
    among = [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}]
    required = {"nodeSelectorTerms": [{"matchExpressions": among}]}
    evenly = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/component": "worker"}},
    }
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {"spec": {"affinity": affinity, "topologySpreadConstraints": [evenly], "tolerations": TOLERATIONS}}


def worker_on(project: Project, run: Run, node: str) -> str:
    """The name of the worker on a node."""
    found = [pod for pod in project.pod_objects(run.task) if pod["spec"]["nodeName"] == node]
    (pod,) = found
    name: str = pod["metadata"]["name"]
    return name


@pytest.mark.soak
@pytest.mark.parametrize("how", ["cut off", "killed"])
def test_node_that_is_lost_its_jobs_run_again_elsewhere_and_late_results_are_dropped(
    project: Project, mortal: str, how: str
) -> None:
    """For 45 s nobody misses it, for 60 s it is dialled, for 10 s its end is waited for."""
    jobs = 70
    project.write_template(spread("node1", mortal))
    words = ["parallel", "--kube-pods", "2", "--procs-per-pod", "2", "--", "--joblog", "log"]
    lines = b"".join(b"%d\n" % n for n in range(1, jobs + 1))
    with project.started(*words, "sleep 5; echo {} $WOMM_ATTEMPT", stdin=lines) as run:
        wait_for(lambda: len(run.events(PodReady)) == 2 or run.process.poll(), "both workers", 240)
        worker = worker_on(project, run, mortal)
        wait_for(lambda: [e for e in run.events(JobStarted) if e.pod == worker], "a job on that node")
        with lost(project, mortal, how):
            wait_for(lambda: run.events(PodGone) or run.process.poll(), "that it is given up", 240)
            again = {event.job for event in run.events(JobLost)}
            assert len(again) == 2
            wait_for(
                lambda: again <= {event.job for event in run.events(JobEnded)} or run.process.poll(),
                "the results of its jobs",
            )
        # The agent of a node that was cut off has ended the jobs, and nobody hears of it.
        assert run.wait(400) == 0, run.err
        (gone,) = run.events(PodGone)
        assert (gone.pod, gone.cause) == (worker, "removed")
        assert gone.detail.startswith("unreachable")
        assert {event.cause for event in run.events(JobLost)} == {"removed"}
        seqs = {event.job: event.seq for event in run.events(JobEnded)}
        expected = [f"{n} {2 if n in {seqs[job] for job in again} else 1}" for n in range(1, jobs + 1)]
        assert sorted(run.out.decode().splitlines()) == sorted(expected)
        log = joblog_lines(project.folder / "log")
        assert sorted(int(line[0]) for line in log) == list(range(1, jobs + 1))
        assert {(line[6], line[7]) for line in log} == {("0", "0")}
        assert len(run.events(JobEnded)) == jobs


def test_pods_of_a_frozen_kubelet_are_removed_by_force_and_that_is_told(project: Project) -> None:
    own = project.kube.own
    with project.started("parallel", "--kube-pods", "1", "--", "sleep 1000", ":::", "1") as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "a job")
        with own.frozen("kubelet"):
            run.process.send_signal(signal.SIGINT)
            assert run.wait(90) == 130, run.err
            assert "node node1 has not confirmed the end of 2 pods: removed without it" in run.err
            assert project.objects() == []
    own.wait_ready()


@pytest.mark.soak
@pytest.mark.parametrize("who", ["interrupted", "finished"])
def test_pods_of_a_lost_node_are_removed_by_force_and_that_is_told(
    project: Project, mortal: str, who: str
) -> None:
    """Keeper and worker are on it: by itself the cluster would have them for as long as the node's object."""
    project.write_template(on_one(mortal))
    with project.started("parallel", "--kube-pods", "1", "--", "sleep 1000", ":::", "1") as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "a job", 240)
        task = run.task
        with lost(project, mortal, "cut off"):
            if who == "interrupted":
                run.process.send_signal(signal.SIGINT)
                assert run.wait(90) == 130, run.err
                told = run.err
            else:
                os.killpg(run.process.pid, signal.SIGKILL)
                run.wait()
                finished = womm(project.folder, "finish", task)
                assert finished.returncode == 0, finished
                told = finished.stdout + finished.stderr
            assert f"node {mortal} has not confirmed the end of 2 pods: removed without it" in told
            assert project.objects() == []
