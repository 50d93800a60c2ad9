"""Why pods do not come: told in words while the user waits, and with what to do when womm gives up."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.cluster.kubernetes.project import Project
from tests.faults.tasks import wait_for
from womm.journal.events import JobStarted

pytestmark = pytest.mark.slow

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@contextmanager
def project_in(project: Project, name: str, labels: dict[str, str]) -> Iterator[Project]:
    """Give another project on the same cluster."""
    folder = project.folder / name
    folder.mkdir()
    with project.kube.kubectl.namespace(labels) as namespace:
        yield replace(project, folder=folder, namespace=namespace)


def quota(name: str, hard: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}}


LIMITS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "small"},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "65Mi"}}]},
}
MOUNT = {
    "spec": {
        "containers": [{"name": "worker", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [{"name": "data", "configMap": {"name": "no-such-map"}}],
    }
}

# What is wrong; the change of .womm; labels and objects of the namespace; what is told while waiting (empty:
# it is refused at once); what the failure says; the hint.
Case = tuple[dict[str, str], dict[str, str], list[dict[str, Any]], str, str, str]
CASES: dict[str, Case] = {
    "no such image": (
        {"image": "localhost:1/no/such:1"},
        {},
        [],
        r"waiting for a worker: 2 ImagePullBackOff \(localhost:1/no/such:1: .*connection refused\)",
        r"no worker is ready after 12s: 2 ImagePullBackOff \(localhost:1/no/such:1: .*connection refused\)",
        r"--pull-secret",
    ),
    "no room": (
        {"kube_cpu": "64"},
        {},
        [],
        r"waiting for a worker: 2 Unschedulable \(.*Insufficient cpu.*\)",
        r"no worker is ready after 12s: 2 Unschedulable \(.*\)",
        r"--kube-cpu",
    ),
    "quota": (
        {},
        {},
        [quota("none", {"requests.memory": "40Mi"})],
        r"waiting for a worker: 2 exceeded quota: none.*memory",
        r"no worker is ready after 12s: 2 exceeded quota: none",
        r"kubectl describe quota",
    ),
    "limits": ({"kube_mem": "66Mi"}, {}, [LIMITS], "", r"maximum memory usage", r"--kube-mem"),
    "image runs as root": (
        {},
        RESTRICTED,
        [],
        r"waiting for a worker: 2 CreateContainerConfigError \(.*runAsNonRoot",
        r"no worker is ready after 12s: 2 CreateContainerConfigError",
        r"does not run as root",
    ),
    "no perl": (
        {"image": "worker-noperl"},
        {},
        [],
        r"waiting for a worker: 2 \w+ \(.*perl",
        r"no worker is ready after 12s: 2 \w+ \(.*perl",
        r"the image needs perl",
    ),
    "no such volume": (
        {"pod_template": "pod.yaml"},
        {},
        [],
        r"waiting for a worker: 2 FailedMount \(.*no-such-map.*not found",
        r"no worker is ready after 12s: 2 FailedMount",
        r"kubectl describe pods",
    ),
    "no such account": (
        {"service_account": "nobody"},
        {},
        [],
        "",
        r"serviceaccount \"?nobody\"? not found",
        r"service-account",
    ),
    "no such namespace": ({"namespace": "no-such-place"}, {}, [], "", r"no namespace no-such-place", r"-n"),
}


def test_each_reason_is_told_while_waiting_and_at_the_end_with_the_fix(project: Project) -> None:
    """All at once, each in a namespace of its own."""
    images = project.kube.images
    with ExitStack() as stack:
        running = {}
        for name, (changes, labels, objects, *_) in CASES.items():
            one = stack.enter_context(project_in(project, name, labels))
            if objects:
                project.kube.kubectl.apply(one.namespace, *objects)
            one.write_template(MOUNT)
            image = {"image": images[changes["image"]].pinned} if changes.get("image") in images else {}
            one.write(**{**changes, **image, "ready_timeout": "12s"})
            if name == "quota":  # the quota controller must have seen it
                wait_for(lambda n=one.namespace: quota_is_known(project, n), "the quota")  # type: ignore[misc]
            words = ["parallel", "--kube-pods", "2", "--", "echo {}", ":::", "1"]
            running[name] = one, stack.enter_context(one.started(*words))
        problems = []
        for name, (*_, waits, fails, hint) in CASES.items():
            one, run = running[name]
            status, lines = run.wait(), [line for line in run.err.splitlines() if "created" not in line]
            wrong = [f"exit status {status}"] * (status != 254)
            wrong += [f"not told while waiting: {waits}"] * (not re.search(waits, run.err))
            failures = [line for line in lines if "waiting for" not in line and "deleted" not in line]
            if len(failures) != 2:
                wrong.append("not one line and a hint")
            elif not (
                re.match(f"womm: .*{fails}", failures[0]) and re.match(f"womm: hint: .*{hint}", failures[1])
            ):
                wrong.append(f"not said: {fails}; {hint}")
            if objects_left := one.objects():
                wrong.append(f"left: {objects_left}")
            if wrong:
                problems.append(f"{name}: {wrong}\n{run.err}")
        assert not problems, "\n".join(problems)


def quota_is_known(project: Project, namespace: str) -> bool:
    (item,) = project.kube.kubectl.json("get", "resourcequota", "-n", namespace)["items"]
    return "hard" in (item.get("status") or {})


def test_quota_for_some_of_the_pods_runs_the_jobs_in_those(project: Project) -> None:
    kubectl = project.kube.kubectl
    kubectl.apply(project.namespace, quota("two", {"pods": "3"}))  # the keeper is one
    wait_for(lambda: quota_is_known(project, project.namespace), "the quota")
    words = ["parallel", "--kube-pods", "4", "--", "sleep 0.5; echo {} $WOMM_POD", ":::", *"123456"]
    with project.started(*words) as run:
        assert run.wait() == 0, run.err
        assert len(run.out.splitlines()) == 6
        assert len({line.split()[1] for line in run.out.splitlines()}) <= 2


def test_unready_pods_do_not_hold_up_the_first_job(project: Project) -> None:
    """One pod fits, the others wait for room."""
    words = ["parallel", "--kube-pods", "3", "--kube-cpu", "1", "--", "echo {}", ":::", "1", "2"]
    with project.started(*words) as run:
        assert run.wait() == 0, run.err
        assert sorted(run.out.split()) == [b"1", b"2"]
        assert len({event.pod for event in run.events(JobStarted)}) == 1
