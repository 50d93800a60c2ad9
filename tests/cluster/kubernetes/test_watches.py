"""A watch has expired (410), and the API server has no news from before: a new list gives the same state."""

import json

import pytest

from tests.cluster.kubernetes.project import NOTES, Project
from tests.cluster.kubernetes.proxy import proxied
from tests.faults.tasks import joblog_lines, wait_for
from tests.faults.test_lost_workers import check_executions
from womm.journal.events import JobEnded, JobLost, PodGone, PodReady

pytestmark = pytest.mark.slow


def version_of(project: Project) -> str:
    """The version of all that is in the namespace now."""
    pods = json.loads(project.kube.kubectl.text("get", "--raw", pods_path(project)))
    version: str = pods["metadata"]["resourceVersion"]
    return version


def pods_path(project: Project) -> str:
    return f"/api/v1/namespaces/{project.namespace}/pods"


def is_too_old(project: Project, version: str) -> bool:
    """Whether who watches from this version is told to list again."""
    query = f"watch=1&resourceVersion={version}&timeoutSeconds=1"
    result = project.kube.kubectl.run("get", "--raw", f"{pods_path(project)}?{query}", check=False)
    return '"code":410' in result.stdout or "too old resource version" in result.stdout + result.stderr


def test_expired_watch_lists_again_and_sees_what_it_has_missed(project: Project) -> None:
    """womm's way is frozen; a worker goes, another comes; etcd forgets it, and the API server restarts."""
    own, jobs = project.kube.own, 60
    with proxied(project.kube.kubeconfig, project.folder) as (proxy, kubeconfig):
        project.write_with_notes(kubeconfig=str(kubeconfig))
        words = ["parallel", "--kube-pods", "2", "--", "--joblog", "log"]
        command = f"echo {{}} $WOMM_ATTEMPT >>{NOTES}/executions; sleep 0.3; echo {{}}"
        lines = b"".join(b"%d\n" % n for n in range(1, jobs + 1))
        with project.started(*words, command, stdin=lines) as run:
            wait_for(lambda: len(run.events(PodReady)) == 2 or run.process.poll(), "the workers")
            wait_for(lambda: run.events(JobEnded) or run.process.poll(), "the first job")
            proxy.freeze()
            try:
                before = version_of(project)  # what womm has seen is not newer
                names = project.pods(run.task)
                project.delete_pod(names[0])
                wait_for(lambda: len(set(project.pods(run.task)) - {names[0]}) == 2, "another worker")
                own.compact()
                own.restart("kube-apiserver")
                own.wait_ready()
                assert is_too_old(project, before)
                assert run.events(PodGone) == []
            finally:
                proxy.thaw()
            assert run.wait() == 0, run.err
            assert sorted(map(int, run.out.split())) == list(range(1, jobs + 1))
            log = joblog_lines(project.folder / "log")
            assert sorted(int(line[0]) for line in log) == list(range(1, jobs + 1))
            assert {(line[6], line[7]) for line in log} == {("0", "0")}
            (gone,) = run.events(PodGone)
            assert (gone.pod, gone.cause) == (names[0], "removed")
            assert len(run.events(JobLost)) <= 1
            assert len(run.events(PodReady)) == 3
            check_executions(project.executions, jobs, kills=1)
