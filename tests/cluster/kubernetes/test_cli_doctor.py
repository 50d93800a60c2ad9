"""`womm doctor`, `womm setup` and `womm cluster-setup` against a real cluster."""

import json
import re

import pytest

from tests.cluster.kubernetes.elsewhere import unreachable
from tests.cluster.kubernetes.project import Project
from tests.faults.tasks import womm

pytestmark = pytest.mark.slow

OF_HERE = ["programs", "file server"]
OF_CLUSTER = [*OF_HERE, "kubeconfig", "API server", "permissions", "quota", "NFS volumes"]
OF_WORKER = ["image", "clock", "link", "link"]
LAST = ["quickest"]


def doctor(project: Project, *words: str, **env: str) -> tuple[int, dict[str, dict[str, str]], list[str]]:
    """Return the exit status, the checks of the cluster by name, and their names in order."""
    result = womm(project.folder, "doctor", "-o", "json", *words, **env)
    assert re.sub(r"(?m)^womm: waiting for a worker: .*\n", "", result.stderr) == ""
    checks = json.loads(result.stdout)["checks"]
    names = [check["name"] for check in checks]
    start = names.index("terminal") + 1
    return result.returncode, {check["name"]: check for check in checks[start:]}, names[start:]


def test_doctor_good_cluster_is_ok_in_all_and_leaves_nothing(project):
    status, checks, names = doctor(project)
    assert names == OF_CLUSTER + OF_WORKER + LAST
    assert {name: check["level"] for name, check in checks.items()} == dict.fromkeys(checks, "ok")
    assert status == 0
    assert checks["kubeconfig"]["text"].endswith(f"namespace {project.namespace}")
    assert re.match(r"v1\.\d+\.\S+ at https://\S+, answers in \d+ ms$", checks["API server"]["text"])
    assert re.match(r"all that a task needs here: \d+ rights", checks["permissions"]["text"])
    assert re.search(r"runs after [\d.]+ s, as uid 0, with perl 5\.", checks["image"]["text"])
    assert re.match(r"\d+ MB/s from a job to here", checks["link"]["text"])
    assert project.objects() == []


def test_doctor_no_pod_starts_none_and_tells_of_the_quota(project):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}}
    project.kube.kubectl.apply(project.namespace, {**quota, "spec": {"hard": {"pods": "0"}}})
    status, checks, names = doctor(project, "--no-pod")
    assert (status, names) == (0, OF_CLUSTER + LAST)
    assert re.match(r"pods \S+ of 0$", checks["quota"]["text"])
    project.kube.kubectl.run("delete", "resourcequota", "q", "-n", project.namespace)


def test_doctor_unreachable_cluster_is_told_and_no_more_asked(project):
    status, checks, names = doctor(project, "--kubeconfig", str(unreachable(project)))
    assert (status, names) == (1, [*OF_HERE, "kubeconfig", "API server"])
    assert checks["API server"]["level"] == "missing"
    assert checks["API server"]["text"].startswith("cannot reach the cluster at https://127.0.0.1:1")
    assert "cluster-info" in checks["API server"]["hint"]


def test_doctor_kubeconfig_that_is_gone_is_told(project):
    status, checks, names = doctor(project, "--kubeconfig", "nowhere")
    assert (status, names) == (1, [*OF_HERE, "kubeconfig"])
    assert checks["kubeconfig"]["text"] == f"there is no kubeconfig {project.folder}/nowhere"


@pytest.mark.parametrize("image", ["Bad:Name:", "noperl"])
def test_doctor_image_that_cannot_be_a_worker_is_told_with_the_fix(project, image):
    name = project.kube.images["worker-noperl"].pinned if image == "noperl" else image
    project.write(image=name, ready_timeout="5s")
    status, checks, names = doctor(project)
    assert (status, names) == (1, [*OF_CLUSTER, "worker", *LAST])
    told = checks["worker"]
    assert told["level"] == "missing"
    if image == "noperl":
        assert "perl" in told["text"]
        assert told["hint"] == "the image needs perl (Debian: perl-base) and sh"
    else:
        assert "InvalidImageName" in told["text"]
        assert told["hint"].startswith("check the image")
    assert project.objects() == []


def test_user_with_the_role_of_cluster_setup_alone_runs_whole_tasks(project):
    """From `womm setup` to the last pod: nothing that a task needs is missing in the role."""
    own, namespace = project.kube.own, project.namespace
    kubeconfig = own.user_kubeconfig("audrey", namespace, "researchers")
    (project.folder / ".womm").unlink()
    image = project.kube.images["worker"].pinned
    said = womm(project.folder, "setup", "--image", image, "--yes", KUBECONFIG=str(kubeconfig))
    assert said.returncode == 0, said.stderr
    env = {"KUBECONFIG": str(kubeconfig), "WOMM_KUBE_CPU": "50m", "WOMM_KUBE_MEM": "64Mi"}
    words = ["parallel", "-k", "--kube-pods", "2", "--", "echo {}", ":::", "1", "2", "3"]

    # Nobody has granted anything: each missing right is named, and no pod is tried.
    status, checks, names = doctor(project, **env)
    assert (status, names) == (1, OF_CLUSTER + LAST)
    missing = checks["permissions"]["text"]
    assert missing.startswith("missing: jobs (get, list, watch, create, delete), deployments (")
    assert "pods/exec (get, create)" in missing
    line = f"an admin: womm cluster-setup -n {namespace} --user audrey | kubectl apply -f -"
    assert checks["permissions"]["hint"] == line
    assert checks["quota"]["level"] == "optional"
    refused = womm(project.folder, *words, **env)
    assert (refused.returncode, refused.stdout) == (254, "")
    assert "cannot create resource" in refused.stderr
    assert f"womm: hint: {line}\n" in refused.stderr
    assert " created: " not in refused.stderr
    assert project.objects() == []

    # What the hint says, by an admin.
    yaml = womm(project.folder, "cluster-setup", "--group", "researchers", **env)
    assert yaml.returncode == 0
    kubectl = project.kube.kubectl
    kubectl.run("apply", "-f", "-", input=yaml.stdout)
    kubectl.run("apply", "-f", "-", input=yaml.stdout)  # again, as admins do
    status, checks, _ = doctor(project, **env)
    text = checks["permissions"]["text"]
    assert text == "all that a task needs here: 27 rights on 6 kinds of objects"
    assert {name: check["level"] for name, check in checks.items()} == dict.fromkeys(checks, "ok")
    assert status == 0
    done = womm(project.folder, *words, **env)
    assert (done.returncode, done.stdout) == (0, "1\n2\n3\n"), done.stderr
    shell = womm(project.folder, "shell", "--", "echo from $WOMM_POD", **env)
    assert (shell.returncode, shell.stdout.startswith("from womm-task-")) == (0, True), shell.stderr
    assert womm(project.folder, "finish", "--all", **env).returncode == 0
    assert womm(project.folder, "status", "-A", **env).stderr.startswith("womm: no task uses anything")
    assert project.objects() == []
    # Here, and nowhere else.
    elsewhere = kubectl.run(
        "auth", "can-i", "--list", "-n", "default", "--as", "audrey", "--as-group", "researchers"
    ).stdout
    assert "jobs.batch" not in elsewhere
    assert "pods/exec" not in elsewhere
