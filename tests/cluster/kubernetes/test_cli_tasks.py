"""status, logs and finish by the cluster's own state: here, on another machine, as another user."""

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial

import pytest

from tests.cluster.kubernetes.elsewhere import Machine, unreachable
from tests.cluster.kubernetes.project import Project
from tests.faults.tasks import Run, wait_for, womm
from womm.journal.events import JobStarted, TaskCleaned
from womm.journal.observe import this_host, this_user

pytestmark = pytest.mark.slow

WORDS = ["parallel", "--kube-pods", "2", "--", "echo begin {}; sleep 1000", ":::", "1", "2", "3"]
NOTHING_HERE = "womm: there is nothing to finish in this folder\n"


@pytest.fixture
def other(tmp_path):
    """Another machine of this user."""
    return Machine(tmp_path / "other-state")


@dataclass(frozen=True)
class Orphan:
    """A task whose coordinator, on the machine `home`, was killed."""

    project: Project
    task: str
    home: Machine
    other: Machine


@pytest.fixture(scope="module", autouse=True)
def orphan(kube_cluster, tmp_path_factory):
    """Made before the other tests: its heartbeat grows old meanwhile."""
    folder = tmp_path_factory.mktemp("orphan")
    with (
        kube_cluster.kubectl.namespace() as namespace,
        tempfile.TemporaryDirectory(prefix="womm-", dir="/tmp") as runtime,
    ):
        project = Project(folder, kube_cluster, namespace)
        project.write()
        more = {"HOME": str(folder), "XDG_CONFIG_HOME": f"{folder}/config", "XDG_RUNTIME_DIR": runtime}
        more["WOMM_TRUST"] = os.environ["WOMM_TRUST"]
        home = Machine(folder / "state", own_name=False, more=more)
        other = Machine(folder / "other", more=more)
        null = subprocess.DEVNULL
        process = subprocess.Popen(home.words(*WORDS), cwd=folder, env=home.env, stdin=null, stdout=null)
        try:
            wait_for(lambda: _tasks(home, project) or process.poll(), "a task")
            ((task, _),) = _tasks(home, project)
            wait_for(lambda: not _has_deaf_keeper(project, task), "a heartbeat")
        finally:
            process.kill()
            process.wait()
        assert _tasks(home, project) == [(task, "ORPHANED")]
        assert _tasks(other, project, "-A") == [(task, "RUNNING")]
        yield Orphan(project, task, home, other)
        home.womm(folder, "finish", "--all")


def _tasks(machine: Machine, project: Project, *words: str) -> list[tuple[str, object]]:
    """Return the id and the status of those with objects in the cluster."""
    listed = tasks_of(machine.womm(project.folder, "status", "-o", "json", *words))
    return [(str(task["id"]), task["status"]) for task in listed if project.objects()]


def _has_deaf_keeper(project: Project, task: str) -> bool:
    job = project.kube.own.api(f"/apis/batch/v1/namespaces/{project.namespace}/jobs/womm-task-{task}")
    return not job["status"].get("ready")


def both_run(project: Project, run: Run) -> None:
    """Wait for both jobs, and until the cluster knows as well that their pods are ready."""
    wait_for(lambda: len(run.events(JobStarted)) == 2 or run.process.poll(), "both jobs")
    assert run.process.poll() is None, run.err
    wait_for(lambda: _ready_pods(project) == 2, "the readiness of both pods")


def _ready_pods(project: Project) -> object:
    (found,) = tasks_of(womm(project.folder, "status", "-o", "json"))
    return found["ready"]


def tasks_of(result: "subprocess.CompletedProcess[str]") -> list[dict[str, object]]:
    assert result.returncode == 0, result.stderr
    tasks: list[dict[str, object]] = json.loads(result.stdout)["tasks"]
    return tasks


def status_of(machine: Machine, project: Project, task: str) -> object:
    tasks = tasks_of(machine.womm(project.folder, "status", "-A", "-o", "json"))
    return {found["id"]: found["status"] for found in tasks}.get(task)


def test_task_is_seen_and_followed_from_another_machine_and_guarded_there(project, other, tmp_path):
    with project.started(*WORDS) as run:
        both_run(project, run)
        task, host = run.task, this_host()
        # Here: by the journal and the cluster.
        (found,) = tasks_of(womm(project.folder, "status", "-o", "json"))
        assert (found["id"], found["status"], found["ready"], found["pods"]) == (task, "RUNNING", 2, 2)
        assert (found["namespace"], found["host"]) == (project.namespace, host)
        assert f"{task}  " in womm(project.folder, "status").stdout
        # On another machine: only with -A, and with the host.
        assert tasks_of(other.womm(project.folder, "status", "-o", "json")) == []
        heading, _, row = other.womm(project.folder, "status", "-A").stdout.splitlines()
        assert heading.split() == "ID AGE STATUS CPU MEM HEALTH HOST PWD COMMAND".split()
        assert row.split()[0] == task
        assert row.split()[2:8] == ["RUNNING", "400m", "128Mi", "2/2", host, str(project.folder)]
        # Another user of this machine has no journal of it, and sees it with -A.
        bob = Machine(tmp_path / "bob", user="bob", own_name=False)
        assert tasks_of(bob.womm(project.folder, "status", "-o", "json")) == []
        (found,) = tasks_of(bob.womm(project.folder, "status", "-A", "-o", "json"))
        assert (found["id"], found["user"]) == (task, this_user())

        # Its pods' logs, by pod.
        logs = other.womm(project.folder, "logs", task, "--tag")
        pods = project.pods(task)
        lines = [line.split("\t") for line in logs.stdout.splitlines()]
        assert sorted(lines) == sorted(
            [pod, text] for pod, (_, text) in zip(sorted(pods), sorted(lines), strict=True)
        )
        assert sorted(text for _, text in lines) == ["begin 1", "begin 2"]
        assert sorted(other.womm(project.folder, "logs", "last").stdout.splitlines()) == [
            "begin 1",
            "begin 2",
        ]
        for words in (["1"], ["-o", "json"]):
            refused = other.womm(project.folder, "logs", task, *words)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert f"task {task} is another machine's" in refused.stderr

        # No other machine, user or folder finishes it by accident.
        for machine, name, why, line in (
            (other, "last", f"the last task, {task}, was started on {host}: give its id", ""),
            (bob, task[:4], f"task {task} is {this_user()}'s", "--force "),
        ):
            refused = machine.womm(project.folder, "finish", name)
            assert refused.returncode == 2
            assert refused.stderr == f"womm: {why}\nwomm: hint: womm finish {line}{task}\n"
            spared = machine.womm(project.folder, "finish", "--all", "--yes")
            assert (spared.returncode, spared.stderr) == (0, NOTHING_HERE)
        assert run.process.poll() is None
        assert len(project.pods(task)) == 2

        # Its user's other machine finishes it by its id, at once and whole; followed logs end with it.
        follow = subprocess.Popen(
            other.words("logs", "-f", task), stdout=subprocess.PIPE, cwd=project.folder, env=other.env
        )
        with follow:
            assert follow.stdout is not None
            begun = sorted(follow.stdout.readline() for _ in range(2))
            done = other.womm(project.folder, "finish", task)
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
            assert done.stderr == f"task {task} finished\n"
            assert project.objects() == []
            assert follow.wait(60) == 0
        assert begun == [b"begin 1\n", b"begin 2\n"]
        assert run.wait(60) == 254
        assert "finished elsewhere" in run.err
        # There is nothing to know it by any more, there; here is its journal.
        assert other.womm(project.folder, "finish", "--force", task).returncode == 254
        for _ in range(2):
            again = womm(project.folder, "finish", task)
            assert (again.returncode, again.stderr) == (0, f"task {task} was already cleaned\n")
        assert tasks_of(womm(project.folder, "status", "-A", "-o", "json")) == []


def test_finish_asks_the_coordinator_and_leaves_nothing(project):
    with project.started(*WORDS) as run:
        both_run(project, run)
        finished = womm(project.folder, "finish", "last")
        assert (finished.returncode, finished.stderr) == (0, f"task {run.task} finished\n")
        assert project.objects() == []
        assert run.wait(10) == 143
        assert len(run.events(TaskCleaned)) == 1
        assert womm(project.folder, "finish", run.task).returncode == 0


def test_finish_where_the_journal_is_lost_removes_all_by_what_the_cluster_knows(project, tmp_path):
    bare = Machine(tmp_path / "bare", own_name=False)
    with project.started(*WORDS) as run:
        both_run(project, run)
        (found,) = tasks_of(bare.womm(project.folder, "status", "-o", "json"))
        assert (found["id"], found["argv"], found["ready"]) == (run.task, WORDS, 2)
        finished = bare.womm(project.folder, "finish", run.task)
        assert (finished.returncode, finished.stderr) == (0, f"task {run.task} finished\n")
        assert project.objects() == []
        assert run.wait(60) == 254


def test_second_ctrl_c_is_cleaned_once_the_cluster_has_nothing_more(project, womm_home):
    with project.started(*WORDS) as run:
        both_run(project, run)
        run.process.send_signal(signal.SIGINT)
        wait_for(lambda: "interrupted" in run.err, "the first Ctrl-C")
        run.process.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
        if not run.events(TaskCleaned):
            assert "not waited for the end of its pods" in run.err
        wait_for(lambda: project.objects() == [], "the end of all objects")
        seen = womm(project.folder, "status")
        assert (seen.stdout, seen.stderr.startswith("womm: no task uses anything")) == ("", True)
        (found,) = tasks_of(womm(project.folder, "status", "--ended", "-o", "json"))
        assert (found["status"], found["cpu_millis"], found["mem_bytes"]) == ("CLEANED", 0, 0)
        assert len(run.events(TaskCleaned)) == 1


def test_orphan_that_the_cluster_has_removed_is_cleaned_when_the_cluster_says_so(project, womm_home):
    """As after the orphan timeout: the keeper ends, and all objects go."""

    def status(*words: str, **env: str) -> list[tuple[object, ...]]:
        listed = tasks_of(womm(project.folder, "status", "-o", "json", *words, **env))
        return [(found["status"], found["cpu_millis"], found["mem_bytes"]) for found in listed]

    with project.started(*WORDS) as run:
        both_run(project, run)
        run.process.kill()
        run.wait()
        assert status() == [("ORPHANED", 400, 128 << 20)]
        job = ("job", f"womm-task-{run.task}", "-n", project.namespace)
        project.kube.kubectl.run("delete", *job, "--cascade=foreground", "--wait=false")
        wait_for(lambda: project.objects() == [], "the end of all objects")
        # A cluster that does not answer changes nothing.
        nobody = "http://127.0.0.1:1"
        away = {"HTTPS_PROXY": nobody, "https_proxy": nobody, "NO_PROXY": "", "no_proxy": ""}
        assert status(**away) == [("ORPHANED", 400, 128 << 20)]
        assert run.events(TaskCleaned) == []
        assert status() == []
        assert len(run.events(TaskCleaned)) == 1
        assert not list(womm_home.runtime.glob("womm-*"))
        assert status("--ended") == [("CLEANED", 0, 0)]
        again = womm(project.folder, "finish", run.task)
        assert (again.returncode, again.stderr) == (0, f"task {run.task} was already cleaned\n")


def test_cluster_that_does_not_answer_is_named_and_the_journals_are_shown(project):
    project.write(kubeconfig=str(unreachable(project)))
    seen = womm(project.folder, "status")
    assert (seen.returncode, seen.stdout) == (0, "")
    first, second = seen.stderr.splitlines()
    assert first.startswith("womm: cannot reach the cluster at https://127.0.0.1:1: ")
    assert second.startswith("womm: no task uses anything on ")


def test_killed_coordinators_task_is_orphaned_by_its_heartbeat_on_every_machine(orphan):
    """Another machine cannot know of a process there: the keeper says when it last heard of it."""
    project, task, home, other = orphan.project, orphan.task, orphan.home, orphan.other
    wait_for(partial(_has_deaf_keeper, project, task), "an old heartbeat", 150)
    for machine in (home, other):
        assert status_of(machine, project, task) == "ORPHANED"
    finished = home.womm(project.folder, "finish", "--all")  # an orphan needs no --yes
    assert (finished.returncode, finished.stderr) == (0, f"task {task} finished\n")
    assert project.objects() == []
    assert status_of(other, project, task) is None
