"""The Kubernetes objects of a task, built as data.

One Job is the root: its pod, the keeper, is an agent without jobs to which the coordinator keeps a
link. When that has been silent for the orphan timeout the keeper ends, the Job is complete, and its
ttlSecondsAfterFinished takes everything else along through ownerReferences.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from womm import __version__, worker
from womm.cluster.kubernetes.paths import AGENT_SOCKET, HEARTBEAT, RUN, SCRIPTS
from womm.fileserver import bootstrap

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object, as JSON has it."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
COMPONENT: Final = "app.kubernetes.io/component"
TASK: Final = "womm/task"
USER: Final = "womm/user"
HOST: Final = "womm/host"
KEEPER, WORKER, AGENT = "keeper", "worker", "agent"
ABOUT: Final = "womm/about"
"""Annotation of the root: what `womm status` shows, as JSON. See `About`."""
ANNOTATION_BYTES: Final = 65536
HEARTBEAT_OLD_S: Final = 60
OOM_COUNTERS: Final = "/sys/fs/cgroup/memory.events:/sys/fs/cgroup/memory/memory.oom_control"
ECHO_BYTES: Final = 16384
"""Of each job's output: for `womm logs` from another machine, kubectl logs, stern. Kubelet keeps 10 MiB."""
TTL_S: Final = 1
GRACE_S: Final = 10
"""A worker's agent gives its jobs 2 s between TERM and KILL; the rest is for a slow node."""
_KEEPER_RESOURCES: Final = {
    "requests": {"cpu": "10m", "memory": "32Mi"},
    "limits": {"cpu": "100m", "memory": "64Mi"},
}


@dataclass(frozen=True, slots=True)
class About:
    """A task as its root in the cluster describes it, for `womm status` and `finish` on any machine.

    `started` is seconds since the epoch on the user's machine; cpu and mem are per pod.
    """

    kind: str
    argv: tuple[str, ...]
    folder: str
    host: str
    user: str
    pods: int
    procs_per_pod: int
    cpu: str
    mem: str
    started: float
    version: str = __version__

    def to_json(self) -> str:
        """Return it as an annotation; a long command is cut, for etcd's sake."""
        values = {name: getattr(self, name) for name in self.__slots__}
        text = json.dumps(values)
        if len(text) > ANNOTATION_BYTES:
            values["argv"] = [*(word[:1000] for word in self.argv[:30]), "..."]
            text = json.dumps(values)
        return text

    @classmethod
    def from_json(cls, text: str) -> "About":
        """Raises ValueError for what no womm has written."""
        try:
            values = json.loads(text)
            known = {name: values[name] for name in cls.__slots__ if name in values}
            about = cls(**{**known, "argv": tuple(map(str, known["argv"]))})
        except (KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise ValueError(f"not a task's annotation: {exc}") from exc
        kinds = {"argv": tuple, "pods": int, "procs_per_pod": int, "started": int | float}
        for name in cls.__slots__:
            if not isinstance(getattr(about, name), kinds.get(name, str)):
                raise ValueError(f"not a task's annotation: {name}")
        return about


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The settings of a task's pods.

    `template` is what the user's `--pod-template` file says: a pod template (or a pod) that is laid
    under womm's own fields; its first container, or the one called `worker`, is the worker.
    """

    task: str
    about: About
    image: str
    shell: str
    orphan_timeout_s: float
    env: Mapping[str, str] = field(default_factory=dict)
    pull_secret: str = ""
    service_account: str = ""
    template: Mapping[str, Any] = field(default_factory=dict)
    restricted: bool = False
    """The namespace enforces Pod Security `restricted`, so the image must not run as root."""
    copies_into_pods: bool = False
    """The namespace takes no NFS volumes: each worker has a volume of its own for a copy of the share."""
    brings_bootstrap: bool = False
    """The file server's image has no womm: the ConfigMap has what takes a bundle."""
    keeper_image: str = ""
    """Empty: the workers'. It needs perl, as theirs does."""


def root_name(task: str) -> str:
    return f"womm-task-{task}"


def label_value(text: str) -> str:
    """Return `text` as a label's value: of letters, digits, `-_.`, at most 63, unique all the same."""
    value = re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.")
    if value == text:
        return value
    return f"{value[:52]}.{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:8]}".strip(
        "-_."
    )


def labels(task: str, about: About, component: str) -> dict[str, str]:
    return {
        MANAGED_BY: "womm",
        "app.kubernetes.io/name": "womm",
        "app.kubernetes.io/version": label_value(__version__),
        COMPONENT: component,
        TASK: task,
        USER: label_value(about.user),
        HOST: label_value(about.host),
    }


def selector(task: str, component: str = "") -> str:
    """A label selector for the objects of a task."""
    return f"{TASK}={task}" + (f",{COMPONENT}={component}" if component else "")


def task_job(spec: WorkerSpec) -> Object:
    """The root. A keeper that is lost is replaced, however often, and starts its clock anew."""
    probe = f"exit(time - ((stat '{HEARTBEAT}')[9] // 0) >= {HEARTBEAT_OLD_S})"
    container = _agent_container(spec, ["--heartbeat", HEARTBEAT])
    container |= {
        "name": KEEPER,
        "image": spec.keeper_image or spec.image,
        "resources": deepcopy(_KEEPER_RESOURCES),
        "securityContext": {**RESTRICTED, "runAsUser": _NOBODY, "readOnlyRootFilesystem": True},
        "readinessProbe": {
            "exec": {"command": ["perl", "-e", probe]},
            "periodSeconds": 15,
            "timeoutSeconds": 10,
            "failureThreshold": 1,
        },
    }
    pod = _pod(spec, KEEPER, container)
    pod["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": root_name(spec.task),
            "labels": labels(spec.task, spec.about, KEEPER),
            "annotations": {ABOUT: spec.about.to_json()},
        },
        "spec": {
            "backoffLimit": 1000,
            "ttlSecondsAfterFinished": TTL_S,
            "template": pod,
        },
    }


def agent_scripts(spec: WorkerSpec, owner: Object) -> Object:
    """The ConfigMap that brings the agent and its bridge into any image that has perl."""
    scripts = [worker.AGENT, worker.BRIDGE]
    scripts += [worker.COPY_INTO_POD] if spec.copies_into_pods else []
    scripts += [Path(bootstrap.__file__)] if spec.brings_bootstrap else []
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owned(spec, AGENT, owner),
        "data": {path.name: path.read_text() for path in scripts},
    }


def sample_worker(spec: WorkerSpec) -> Object:
    """One worker as a pod of its own: what a dry run asks the admission of the cluster about."""
    pod = worker_pod(spec)
    pod["metadata"]["generateName"] = root_name(spec.task) + "-"
    return {"apiVersion": "v1", "kind": "Pod", **pod}


def worker_pod(spec: WorkerSpec) -> Object:
    """Return the pod of a worker (metadata, spec), without the share."""
    container = _agent_container(spec, ["--oom-counters", OOM_COUNTERS, "--echo", str(ECHO_BYTES)])
    given = template_container(spec.template)
    resources = {"cpu": spec.about.cpu, "memory": spec.about.mem}
    for kind in ("requests", "limits"):
        extra = (given.get("resources") or {}).get(kind) or {}
        container["resources"][kind] = {**extra, **resources}
    container["name"] = WORKER
    if spec.restricted:
        container["securityContext"] = deepcopy(RESTRICTED)
    return _pod(spec, WORKER, container)


def workers(spec: WorkerSpec, owner: Object) -> Object:
    """The Deployment of the workers: a pod that is lost is replaced."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owned(spec, WORKER, owner),
        "spec": {
            "replicas": spec.about.pods,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": {TASK: spec.task, COMPONENT: WORKER}},
            "template": worker_pod(spec),
        },
    }


def owned(spec: WorkerSpec, component: str, owner: Object) -> Object:
    """Metadata of an object that goes with the root."""
    return {
        "name": root_name(spec.task),
        "labels": labels(spec.task, spec.about, component),
        "ownerReferences": [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            }
        ],
    }


def _agent_container(spec: WorkerSpec, options: list[str]) -> Object:
    env = {**spec.env, "WOMM_TASK": spec.task, "WOMM_ATTEMPT": "1"}
    return {
        "image": spec.image,
        "command": [
            "perl",
            f"{SCRIPTS}/agent.pl",
            *("--socket", AGENT_SOCKET),
            *("--shell", spec.shell),
            *("--orphan-timeout", f"{spec.orphan_timeout_s:g}"),
            *options,
        ],
        "args": [],
        "env": [
            *({"name": name, "value": value} for name, value in env.items()),
            {"name": "WOMM_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "resources": {},
        "volumeMounts": [
            {"name": "womm-bin", "mountPath": SCRIPTS, "readOnly": True},
            {"name": "womm-run", "mountPath": RUN},
        ],
        # The agent's last words, if it ends in an unexpected way.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _pod(spec: WorkerSpec, component: str, container: Object) -> Object:
    given = deepcopy(dict(spec.template))
    metadata = given.get("metadata") or {}
    pod: Object = given.get("spec") or {}
    theirs = template_container(spec.template)
    others = [other for other in pod.get("containers") or [] if other is not None and other != theirs]
    if component == KEEPER:  # it runs no jobs, so it takes only what decides where it runs
        others, theirs = [], {}
        pod = {name: pod[name] for name in _SCHEDULING if name in pod}
    pod["containers"] = [_laid_over(theirs, container), *others]
    pod["volumes"] = [
        *(pod.get("volumes") or []),
        {"name": "womm-bin", "configMap": {"name": root_name(spec.task), "defaultMode": 0o555}},
        {"name": "womm-run", "emptyDir": {"sizeLimit": "16Mi"}},
    ]
    pod.setdefault("automountServiceAccountToken", False)
    pod.setdefault("enableServiceLinks", False)
    pod.setdefault("terminationGracePeriodSeconds", GRACE_S)
    pod.setdefault("securityContext", {}).setdefault("seccompProfile", {"type": "RuntimeDefault"})
    if spec.pull_secret:
        pod.setdefault("imagePullSecrets", []).append({"name": spec.pull_secret})
    if spec.service_account:
        pod["serviceAccountName"] = spec.service_account
    return {
        "metadata": {
            "labels": {**(metadata.get("labels") or {}), **labels(spec.task, spec.about, component)},
            "annotations": {
                **STAY,
                **(metadata.get("annotations") or {}),
                "kubectl.kubernetes.io/default-container": component,
            },
        },
        "spec": pod,
    }


RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
}
_NOBODY: Final = 65534
STAY: Final = {
    # A job may run for hours: it must not move because a node could be emptied.
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}
_SCHEDULING: Final = (
    *("nodeSelector", "tolerations", "affinity", "imagePullSecrets", "serviceAccountName"),
    *("securityContext", "priorityClassName", "runtimeClassName", "automountServiceAccountToken"),
)


def template_container(template: Mapping[str, Any]) -> Object:
    """Return what a pod template says of the worker; empty: nothing."""
    containers = (template.get("spec") or {}).get("containers") or []
    for container in containers:
        if container.get("name") == WORKER:
            return dict(container)
    return dict(containers[0]) if containers else {}


def _laid_over(theirs: Object, ours: Object) -> Object:
    """The user's container with womm's fields on top; lists of named things are joined."""
    result = {name: deepcopy(value) for name, value in theirs.items() if value is not None}
    for name, value in ours.items():
        if name in {"env", "volumeMounts"}:
            result[name] = [*(result.get(name) or []), *value]
        elif name == "securityContext":
            result[name] = {**value, **(result.get(name) or {})}
        else:
            result[name] = value
    return result


def read_template(path: Path) -> dict[str, Any]:
    """Read a `--pod-template` file: YAML or JSON of a Pod, a PodTemplate, or {metadata, spec}.

    Raises ValueError with what is wrong with it.
    """
    try:
        value = yaml.safe_load(path.read_text())
    except OSError as exc:
        raise ValueError(f"cannot be read: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ValueError("is not YAML: " + " ".join(str(exc).split())) from exc
    if isinstance(value, dict) and value.get("kind") == "PodTemplate":
        value = value.get("template")
    if not isinstance(value, dict) or not isinstance(value.get("spec"), dict):
        raise ValueError("is not a pod: it needs `spec:`, as in kind: Pod")
    containers = value["spec"].get("containers") or []
    if not isinstance(containers, list) or not all(isinstance(c, dict) for c in containers):
        raise ValueError("spec.containers must be a list")
    return {name: value[name] for name in ("metadata", "spec") if isinstance(value.get(name), dict)}
