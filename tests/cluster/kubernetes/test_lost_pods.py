"""Pods that are killed, deleted, evicted, preempted, out of memory; jobs that end in every way."""

import json
import os
import random
import re
from collections import Counter

import pytest

from tests.cluster.kubernetes.pods import kill_agent
from tests.cluster.kubernetes.project import NOTES, Project
from tests.cluster.kubernetes.repeat import again_and_again
from tests.cluster.kubernetes.test_lost_nodes import spread
from tests.faults.tasks import Run, joblog_lines, wait_for
from tests.faults.test_lost_workers import check_executions
from tests.soak import count
from womm.journal.events import JobEnded, JobLost, JobStarted, PodGone, PodReady, PodStarted

pytestmark = pytest.mark.slow

NOTE = f"echo {{}} $WOMM_ATTEMPT >>{NOTES}/executions"


def numbers(jobs: int) -> bytes:
    return b"".join(b"%d\n" % n for n in range(1, jobs + 1))


def every_result_once(run: Run, project: Project, jobs: int) -> None:
    assert sorted(map(int, run.out.split())) == list(range(1, jobs + 1))
    log = joblog_lines(project.folder / "log")
    assert sorted(int(line[0]) for line in log) == list(range(1, jobs + 1))
    assert {(line[6], line[7]) for line in log} == {("0", "0")}
    assert Counter(event.seq for event in run.events(JobEnded)).most_common(1)[0][1] == 1


def test_killed_agents_every_job_has_one_result(project: Project) -> None:
    """The whole container dies with its agent; kubelet starts another, or womm another pod."""
    jobs, slots, kills = count(120, 20_000), count(1, 8), 0
    nap_s, every_s = count(400, 50) / 1000, count(1500, 2000) / 1000
    assert project.kube.own.is_running()
    project.write_with_notes()
    chance = random.Random(1)
    words = ["parallel", "--kube-pods", "4", "--procs-per-pod", str(slots), "--", "--joblog", "log"]
    with project.started(*words, f"{NOTE}; sleep {nap_s}; echo {{}}", stdin=numbers(jobs)) as run:
        wait_for(lambda: run.events(JobEnded) or run.process.poll(), "the first job")

        def kill() -> None:
            nonlocal kills
            names = project.pods(run.task)
            if names and kill_agent(chance.choice(names)):
                kills += 1

        with again_and_again(kill, lambda: every_s):
            assert run.wait(count(300, 5400)) == 0, run.err
        every_result_once(run, project, jobs)
        assert kills >= 3
        executions = check_executions(project.executions, jobs, kills, slots)
        print(f"{kills} kills, {executions} executions of {jobs} jobs")
        assert {event.cause for event in run.events(PodGone)} == {"crashed"}


def test_deleted_pods_and_an_api_server_that_restarts_every_job_has_one_result(project: Project) -> None:
    jobs, deleted = count(120, 1000), 0
    own = project.kube.own
    project.write_with_notes()
    chance = random.Random(1)
    words = ["parallel", "--kube-pods", "3", "--procs-per-pod", "2", "--", "--joblog", "log"]
    with project.started(*words, f"{NOTE}; sleep 0.7; echo {{}}", stdin=numbers(jobs)) as run:
        wait_for(lambda: run.events(JobEnded) or run.process.poll(), "the first job")

        def delete() -> None:
            nonlocal deleted
            if deleted == 2:
                own.restart("kube-apiserver", away_s=count(3, 10))
                own.wait_ready()
            if names := project.pods(run.task):
                project.delete_pod(chance.choice(names), chance.choice([0, 1, 30]))
                deleted += 1

        with again_and_again(delete, lambda: 3.0):
            assert run.wait(1800) == 0, run.err
        every_result_once(run, project, jobs)
        assert deleted >= 3
        check_executions(project.executions, jobs, deleted, slots=2)
        assert {event.cause for event in run.events(PodGone)} == {"removed"}
        assert {event.cause for event in run.events(JobLost)} <= {"removed"}


def test_exit_codes_and_signals_are_those_of_plain_gnu_parallel(project: Project) -> None:
    ends = ["exit 0", "exit 1", "exit 100", "exit 101", "exit 137", "exit 255", "kill -9 $$", "kill -15 $$"]
    words = ["parallel", "--kube-pods", "1", "--procs-per-pod", "4", "--", "-k", "--joblog", "log"]
    with project.started(*words, "{}", ":::", *ends) as run:
        assert run.wait() == 7, run.err
        log = {line[8]: (line[6], line[7]) for line in joblog_lines(project.folder / "log")}
        expected = [(end.removeprefix("exit "), "0") for end in ends[:6]]
        assert [log[end] for end in ends] == [*expected, ("0", "9"), ("0", "15")]
        assert "memory" not in run.err


def test_deleted_pod_of_a_login_its_job_runs_in_its_replacement(project: Project) -> None:
    """It was handed over for a pod of that name, and none has it any more."""
    words = ["parallel", "--kube-pods", "1", "--logins", "--"]
    command = "if [ $WOMM_ATTEMPT = 1 ]; then sleep 1000; fi; echo {} $WOMM_ATTEMPT"
    with project.started(*words, command, ":::", "job") as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "the job")
        project.delete_pod(project.pods(run.task)[0], 0)
        assert run.wait(120) == 0, run.err
        assert run.out == b"job 2\n"


def test_evicted_pod_is_replaced_and_its_node_takes_no_more(project: Project) -> None:
    """A node is drained: its pods are evicted while it is cordoned."""
    kubectl = project.kube.own.kubectl
    words = ["parallel", "--kube-pods", "1", "--"]
    command = "if [ $WOMM_ATTEMPT = 1 ]; then sleep 1000; fi; echo {} $WOMM_ATTEMPT"
    with project.started(*words, command, ":::", "job") as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "the job")
        kubectl.run("cordon", "node1")
        try:
            (pod,) = project.pods(run.task)
            path = f"/api/v1/namespaces/{project.namespace}/pods/{pod}/eviction"
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
            kubectl.run("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
            wait_for(lambda: re.search(r"no worker is there \(1 Unschedulable \(.*", run.err), "the reason")
        finally:
            kubectl.run("uncordon", "node1")
        assert run.wait() == 0, run.err
        assert run.out == b"job 2\n"
        (gone,) = run.events(PodGone)
        assert gone.cause == "removed"
        assert "evict" in gone.detail.lower()


def test_preempted_pod_is_replaced_when_there_is_room_again(project: Project) -> None:
    kubectl = project.kube.own.kubectl
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
    kubectl.apply(project.namespace, {**kind, "metadata": {"name": "womm-test-urgent"}})
    try:
        words = ["parallel", "--kube-pods", "1", "--kube-cpu", "1", "--"]
        command = "if [ $WOMM_ATTEMPT = 1 ]; then sleep 1000; fi; echo {} $WOMM_ATTEMPT"
        with project.started(*words, command, ":::", "job") as run:
            wait_for(lambda: run.events(JobStarted) or run.process.poll(), "the job")
            image = project.kube.images["worker"].pinned
            urgent = {"containers": [{"name": "main", "image": image, "command": ["sleep", "1000"]}]}
            urgent["containers"][0]["resources"] = {"requests": {"cpu": "1500m"}}  # type: ignore[assignment]
            kubectl.run_pod(
                project.namespace, "urgent", image, priorityClassName="womm-test-urgent", **urgent
            )
            wait_for(lambda: run.events(PodGone), "the end of the worker")
            wait_for(lambda: re.search(r"1 Unschedulable \(.*Insufficient cpu", run.err), "the reason")
            kubectl.run("delete", "pod", "urgent", "-n", project.namespace)
            assert run.wait() == 0, run.err
            assert run.out == b"job 2\n"
            (gone,) = run.events(PodGone)
            assert gone.cause == "removed"
            assert "preempt" in gone.detail.lower()
    finally:
        kubectl.run("delete", "priorityclass", "womm-test-urgent")


def test_poison_job_is_named_after_5_crashes_and_the_others_finish(project: Project) -> None:
    """It ends its agent, and so its container, whose restarts kubelet delays more and more."""
    project.write_with_notes()
    command = f"{NOTE}; if [ {{}} = 7 ]; then kill -TERM 1; sleep 1000; fi; echo {{}}"
    words = ["parallel", "--kube-pods", "2", "--", "--joblog", "log", command]
    with project.started(*words, stdin=numbers(20)) as run:
        assert run.wait(300) == 1, run.err
        assert sorted(map(int, run.out.split())) == [n for n in range(1, 21) if n != 7]
        runs = Counter(line.split()[0] for line in project.executions.read_text().splitlines())
        assert runs.pop("7") == 5
        assert set(runs.values()) == {1}
        assert re.search(r"womm: job 7 \(.*\) failed: its worker crashed 5 times under it", run.err)
        (failed,) = [line for line in joblog_lines(project.folder / "log") if line[6] != "0"]
        assert (failed[0], failed[6]) == ("7", "255")
        # Replaced rather than waited for: each pod has had two lives at the most.
        assert max(event.instance for event in run.events(PodStarted)) <= 2


def test_black_hole_takes_3_jobs_at_the_most(project: Project) -> None:
    jobs = count(100, 1000)
    project.write_with_notes()
    hole = f'mkdir {NOTES}/hole 2>/dev/null && echo "$WOMM_POD" >{NOTES}/hole/name'
    falls = f'if [ "$(cat {NOTES}/hole/name)" = "$WOMM_POD" ]; then {NOTE}; kill -TERM 1; sleep 1000; fi'
    words = [
        "parallel",
        "--kube-pods",
        "3",
        "--",
        "--joblog",
        "log",
        f"{hole}; {falls}; sleep 0.1; echo {{}}",
    ]
    with project.started(*words, stdin=numbers(jobs)) as run:
        assert run.wait(300) == 0, run.err
        every_result_once(run, project, jobs)
        assert 1 <= len(project.executions.read_text().splitlines()) <= 3


@pytest.mark.soak
def test_black_hole_node_is_avoided_whatever_its_pods_are_called(
    project: Project, nfs_nodes: list[str]
) -> None:
    """Its containers end under every job, and are replaced by pods of other names on the same node.

    The jobs come when all workers are there: while there are only those of the bad node, they have no choice.
    """
    jobs, pods = count(60, 1000), 2
    template = spread("node1", nfs_nodes[0])
    place = {"path": f"/var/log/{project.namespace}", "type": "DirectoryOrCreate"}
    node = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    container = {"name": "worker", "env": [node], "volumeMounts": [{"name": "notes", "mountPath": NOTES}]}
    template["spec"] |= {"containers": [container], "volumes": [{"name": "notes", "hostPath": place}]}
    project.write_template(template, kube_cpu="300m")
    falls = f'if [ "$NODE" = node1 ]; then {NOTE}; kill -TERM 1; sleep 1000; fi'
    words = ["parallel", "--kube-pods", str(2 * pods), "--", "--joblog", "log"]
    fifo = project.folder / "in"
    os.mkfifo(fifo)
    feed = os.open(fifo, os.O_RDWR)
    with project.started(*words, f"{falls}; sleep 0.5; echo {{}}", stdin=fifo) as run:
        wait_for(lambda: len(run.events(PodReady)) == 2 * pods or run.process.poll(), "all workers", 180)
        os.write(feed, numbers(jobs))
        os.close(feed)
        assert run.wait(600) == 0, run.err
        every_result_once(run, project, jobs)
        taken = [line.split()[0] for line in project.executions.read_text().splitlines()]
        assert len(taken) == len(set(taken)) <= 3 * pods  # as many at a time as it has workers
        assert run.err.count("node node1 is avoided while there are workers elsewhere") == 1


GROW = r"""perl -e '$x = "x" x (300 << 20); sleep 100'"""
# The kernel kills the job itself, and then what its shell runs.
GROWS = f"if [ {{}} = 2 ]; then if [ $WOMM_ATTEMPT = 1 ]; then exec {GROW}; fi; {GROW} || exit; fi; echo {{}}"


def killed_for_memory(run: Run, project: Project) -> None:
    """The second kill is the job's failure, named, with the limit; the other jobs finish."""
    assert run.wait(300) == 1, run.err
    assert sorted(run.out.split()) == [b"1", b"3", b"4"]
    found = re.search(r"womm: job 2 \(.*\) failed: it ran out of memory 2 times \(limit (\S+): more", run.err)
    assert found, run.err
    assert found[1] == "64Mi"
    (failed,) = [line for line in joblog_lines(project.folder / "log") if line[6] != "0"]
    assert (failed[0], failed[6], failed[7]) == ("2", "137", "0")
    assert [event.cause for event in run.events(JobLost)] == ["out of memory"] * 2


def test_oom_of_a_job_spares_the_worker_where_control_groups_are_v1(project: Project) -> None:
    words = ["parallel", "--kube-pods", "1", "--", "--joblog", "log"]
    with project.started(*words, GROWS, ":::", *"1234") as run:
        killed_for_memory(run, project)
        assert run.events(PodGone) == []
        assert len(run.events(PodStarted)) == 1


@pytest.mark.soak
def test_oom_of_a_job_takes_its_worker_along_where_control_groups_are_v2(
    project: Project, nfs_nodes: list[str]
) -> None:
    project.write_template(
        {
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": nfs_nodes[0]},
                "tolerations": [{"key": "womm.test/nfs", "operator": "Exists"}],
            }
        },
        kube_cpu="500m",
    )
    words = ["parallel", "--kube-pods", "1", "--", "--joblog", "log"]
    with project.started(*words, GROWS, ":::", *"1234") as run:
        killed_for_memory(run, project)
        assert [event.cause for event in run.events(PodGone)] == ["out of memory"] * 2
        assert "(out of memory: memory limit 64Mi)" in run.err
