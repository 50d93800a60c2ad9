"""What pods may do, and which secrets they and the cluster can see: none."""

import json
from typing import Any

import pytest

from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.test_clean_up import is_ready
from tests.cluster.kubernetes.test_reasons import project_in
from tests.faults.tasks import wait_for
from womm.journal.events import JobStarted

pytestmark = pytest.mark.slow

LEVEL = "pod-security.kubernetes.io"
SLEEP = ["parallel", "--kube-pods", "1", "--", "sleep 1000; echo {}", ":::", "x"]


def violations(project: Project, level: str) -> str:
    """What the API server would say of the pods that run in the namespace at this level."""
    words = ["label", "--dry-run=server", "--overwrite", "namespace", project.namespace]
    return project.kube.kubectl.run(*words, f"{LEVEL}/enforce={level}").stderr


def objects_of(project: Project) -> str:
    kinds = "pods,jobs,deployments,replicasets,configmaps,events,secrets"
    return project.kube.kubectl.text("get", kinds, "-n", project.namespace, "-o", "json")


def test_pods_satisfy_baseline_and_know_no_token_and_no_secret_leaves_this_machine(
    project: Project,
) -> None:
    planted = {name: f"planted-{number}" for number, name in enumerate(["AWS_SECRET_ACCESS_KEY", "TOKEN"])}
    with project.started(*SLEEP, **planted) as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "the job")
        wait_for(lambda: is_ready(project, run.task), "the keeper")
        assert violations(project, "baseline") == ""
        (pod,) = project.pod_objects(run.task)
        assert pod["spec"]["automountServiceAccountToken"] is False
        told = objects_of(project)
        for name in [*project.pods(run.task), *project.pods(run.task, "keeper")]:
            told += project.kube.kubectl.text("logs", name, "-n", project.namespace)
            look = 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr "\\0" "\\n"; ls /var/run/secrets'
            words = ["exec", name, "-n", project.namespace, "--", "sh", "-c", look]
            told += project.kube.kubectl.run(*words, check=False).stdout
        assert "agent.pl" in told
        for value in planted.values():
            assert value not in told
        assert "serviceaccount" not in told.split("agent.pl")[-1]


def test_image_of_another_user_runs_under_restricted_with_a_read_only_root(project: Project) -> None:
    with project_in(project, "restricted", {f"{LEVEL}/enforce": "restricted"}) as one:
        template: dict[str, Any] = {"name": "worker", "securityContext": {"readOnlyRootFilesystem": True}}
        image = project.kube.images["worker-user"].pinned
        one.write_template({"spec": {"containers": [template]}}, image=image)
        words = ["parallel", "--kube-pods", "1", "--", "-k", "{}", ":::"]
        jobs = ["id -u", "touch /tmp/x 2>&1 | grep -o Read-only", "echo done"]
        with one.started(*words, *jobs) as run:
            assert run.wait() == 0, run.err
            assert run.out == b"1000\nRead-only\ndone\n"
            assert "arning" not in run.err
        wait_for(lambda: one.objects() == [], "the end of all objects", 60)


def test_root_image_with_another_user_from_the_template_runs_under_restricted(project: Project) -> None:
    with project_in(project, "restricted", {f"{LEVEL}/enforce": "restricted"}) as one:
        one.write_template({"spec": {"securityContext": {"runAsUser": 1234}, "containers": []}})
        with one.started("parallel", "--kube-pods", "1", "--", "id -u;", ":::", "x") as run:
            wait_for(lambda: run.events(JobStarted) or run.process.poll(), "the job")
            assert run.wait() in {0, 1, 127}, run.err
            assert run.out.split()[:1] == [b"1234"], run.err
        wait_for(lambda: one.objects() == [], "the end of all objects", 60)


def test_long_command_and_nasty_words_reach_the_annotation_as_data(project: Project) -> None:
    words = ["it's", '"$HOME"', "a\nb", "\N{SNOWMAN}", "{{}}", *["x" * 30_000] * 3]
    with project.started("parallel", "--kube-pods", "1", "--", "true", ":::", *words) as run:
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), "the job")
        job = project.kube.kubectl.json("get", "job", f"womm-task-{run.task}", "-n", project.namespace)
        about = json.loads(job["metadata"]["annotations"]["womm/about"])
        assert about["argv"][-1] == "..."
        assert all(word in about["argv"] for word in words[:5])
        assert run.wait() == 0, run.err
