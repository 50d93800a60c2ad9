"""The Kubernetes objects of a share: a file server, what leads to it, and the workers' mounts, as data.

The file server is one unprivileged pod that Pod Security `restricted` takes. Workers mount it by an
inline `nfs:` volume, which is kubelet's own doing on the node: so by address, since nodes cannot
resolve the names of services, and without mount options, since such volumes have none. The path that
is mounted is the export's only lock.
"""

import base64
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from womm.cluster.base import ProgramsSpec, ShareSpec, TaskSpec
from womm.cluster.kubernetes import manifests
from womm.cluster.kubernetes.manifests import COMPONENT, TASK, Object, WorkerSpec, root_name
from womm.cluster.kubernetes.paths import (
    CACHE,
    LIB,
    PROGRAMS_CACHE,
    PROGRAMS_SECRET,
    PROGRAMS_SOCKET,
    PYTHONPATH,
    RUN,
    RUN_SERVER,
    SCRIPTS,
    SECRET,
    SHARE_SOCKET,
    STATE,
    STORE,
)
from womm.settings import EAGER

FILE_SERVER: Final = "fileserver"
PORT: Final = 2049
LAZY: Final = "lazy"
GRACE_S: Final = 60
"""It serves on for 40 s at most after SIGTERM, until its clients have unmounted."""
VOLUME: Final = "womm-share"
USER: Final = 65532
"""The file server's user: never root, and of no image."""
_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "4", "memory": "1Gi"},
}
_ROOM_BYTES: Final = 256 << 20
"""Beside the cache's blocks: a volume that is overfull has the pod evicted."""
_PROGRAMS: Final = "programs."
"""What the names of the programs' files in the secret begin with."""
_READ_ONLY: Final = frozenset(["womm-bin", "womm-secret", "womm-programs-secret"])
_PROBE: Final = {"tcpSocket": {"port": PORT}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 30}
_EVERYWHERE: Final = ("tolerations", "imagePullSecrets", "priorityClassName")
_MACHINE: Final = ("kubernetes.io/arch", "kubernetes.io/os")
"""Labels of a user's node selector that hold for any image; the others choose a node for jobs."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A worker's mount of the share. `server` is an address that nodes reach."""

    server: str
    share: ShareSpec
    working_folder: str


def server_name(task: str) -> str:
    """The name of the file server's Deployment; Secret and Service are called as the root is."""
    return f"{root_name(task)}-files"


def secret(spec: WorkerSpec, task: TaskSpec, owner: Object) -> Object:
    """The keys and the names of both exports, each set for a folder of its own."""
    files = {**(task.share.secret if task.share is not None else {})}
    if task.programs is not None:
        files |= {_PROGRAMS + name: value for name, value in task.programs.secret.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": manifests.owned(spec, FILE_SERVER, owner),
        "immutable": True,
        "data": {name: base64.b64encode(value).decode("ascii") for name, value in files.items()},
    }


def service(spec: WorkerSpec, owner: Object) -> Object:
    """The Service that gives the file server an address which outlives its pod.

    It leads to pods that are not ready, too: a pod that ends serves on until its clients have unmounted, and
    one late probe must not cut them off.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": manifests.owned(spec, FILE_SERVER, owner),
        "spec": {
            "type": "ClusterIP",
            "publishNotReadyAddresses": True,
            "selector": _selector(spec),
            "ports": [{"name": "nfs", "port": PORT, "protocol": "TCP", "targetPort": PORT}],
        },
    }


def file_server(spec: WorkerSpec, task: TaskSpec, owner: Object) -> Object:
    """The Deployment of the file server: never two pods at once, since neither knows the other's news."""
    metadata = manifests.owned(spec, FILE_SERVER, owner)
    metadata["name"] = server_name(spec.task)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _selector(spec)},
            "template": _pod(spec, task),
        },
    }


def mounted(pod: Object, mount: Mount) -> Object:
    """Return a worker's pod (metadata, spec) with the share in it, as its jobs' working folder."""
    pod = deepcopy(pod)
    spec, share = pod["spec"], mount.share
    source = {"server": mount.server, "path": share.export, "readOnly": share.read_only}
    spec["volumes"].append({"name": VOLUME, "nfs": source})
    container = spec["containers"][0]
    container["volumeMounts"].append(
        {"name": VOLUME, "mountPath": str(share.folder), "readOnly": share.read_only}
    )
    container["workingDir"] = mount.working_folder
    return pod


def can_copy_into_pods(share: ShareSpec) -> bool:
    """Whether each pod may have a copy of its own instead: nothing is brought back, and nothing is kept."""
    return share.kind == EAGER and not share.claim


def filled(pod: Object, share: ShareSpec) -> Object:
    """Return a worker's pod with a folder of its own in the place of the share's, for `copy_into_pod.pl`.

    The folder that jobs run in may lie below it and is not there yet, so it comes with each job.
    """
    pod = deepcopy(pod)
    pod["spec"]["volumes"].append({"name": VOLUME, "emptyDir": {}})
    container = pod["spec"]["containers"][0]
    container["volumeMounts"].append({"name": VOLUME, "mountPath": str(share.folder)})
    container["workingDir"] = str(share.folder)
    return pod


def _selector(spec: WorkerSpec) -> dict[str, str]:
    return {TASK: spec.task, COMPONENT: FILE_SERVER}


def _pod(spec: WorkerSpec, task: TaskSpec) -> Object:
    given: Object = dict(spec.template.get("spec") or {})
    pod: dict[str, Any] = {name: deepcopy(given[name]) for name in _EVERYWHERE if name in given}
    machine = {name: value for name, value in (given.get("nodeSelector") or {}).items() if name in _MACHINE}
    if machine:
        pod["nodeSelector"] = machine
    if spec.pull_secret:
        pod["imagePullSecrets"] = [*(pod.get("imagePullSecrets") or []), {"name": spec.pull_secret}]
    volumes, mounts = _volumes(spec, task)
    pod |= {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
        "containers": [
            {
                "name": FILE_SERVER,
                **_program(task),
                "args": [*_arguments(task), *_owner(spec)],
                "ports": [{"name": "nfs", "containerPort": PORT, "protocol": "TCP"}],
                # Its user is in no list of the image: the ssh library asks for a name and a home.
                "env": [
                    {"name": "WOMM_TASK", "value": spec.task},
                    {"name": "USER", "value": "womm"},
                    {"name": "HOME", "value": "/tmp"},
                    # For what runs beside it; bundles have this path, and images a variable of their own.
                    *([{"name": "PYTHONPATH", "value": PYTHONPATH}] if has_bundle(task) else []),
                ],
                "resources": deepcopy(_RESOURCES),
                "securityContext": {**manifests.RESTRICTED, "readOnlyRootFilesystem": True},
                "readinessProbe": deepcopy(_PROBE),
                "volumeMounts": mounts,
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }
        ],
    }
    return {
        "metadata": {
            "labels": manifests.labels(spec.task, spec.about, FILE_SERVER),
            "annotations": {**manifests.STAY, "kubectl.kubernetes.io/default-container": FILE_SERVER},
        },
        "spec": pod,
    }


def server_image(task: TaskSpec) -> str:
    return task.server.image if task.server is not None else ""


def has_bundle(task: TaskSpec) -> bool:
    """Whether the file server's image has python3 alone."""
    return task.server is not None and task.server.bundles is not None


def _program(task: TaskSpec) -> Object:
    by_digest = task.server.by_digest if task.server is not None else ""
    program: Object = {"image": by_digest or server_image(task)}
    return {**program, "command": list(RUN_SERVER)} if has_bundle(task) else program


def _arguments(task: TaskSpec) -> list[str]:
    """Return the arguments of womm.fileserver, which is the entrypoint of womm's own image."""
    words = ["--state", STATE, "--port", str(PORT)]
    if task.share is not None:
        words += _share_arguments(task.share)
    if task.programs is not None:
        words += ["--programs", PROGRAMS_SOCKET, "--programs-secret", PROGRAMS_SECRET]
        words += ["--programs-cache", PROGRAMS_CACHE]
        words += ["--programs-cache-bytes", str(task.programs.cache_bytes)]
    return words


def _share_arguments(share: ShareSpec) -> list[str]:
    words = ["--secret", SECRET]
    if share.kind == LAZY:
        words += ["--lazy", SHARE_SOCKET, "--cache", CACHE, "--cache-bytes", str(share.cache_bytes)]
    else:
        words += ["--local", f"{STORE}/{share.store}" if share.store else STORE]
    return [*words, *(["--read-only"] if share.read_only else [])]


def _owner(spec: WorkerSpec) -> list[str]:
    """Return options for the owner of all files (git looks): the workers' user, if the template names it."""
    pod = (spec.template.get("spec") or {}).get("securityContext") or {}
    own = manifests.template_container(spec.template).get("securityContext") or {}
    names = {"--uid": "runAsUser", "--gid": "runAsGroup"}
    found = {option: own.get(name, pod.get(name)) for option, name in names.items()}
    return [word for option, value in found.items() if value is not None for word in (option, str(value))]


def _volumes(spec: WorkerSpec, task: TaskSpec) -> tuple[list[Object], list[Object]]:
    """Volumes of the file server's pod and their mounts."""
    volumes: dict[str, tuple[str, Object]] = {
        "womm-bin": (SCRIPTS, {"configMap": {"name": root_name(spec.task), "defaultMode": 0o555}}),
        "womm-run": (RUN, {"emptyDir": {"sizeLimit": "16Mi"}}),
        "womm-state": (STATE, {"emptyDir": {}}),
        "womm-tmp": ("/tmp", {"emptyDir": {"sizeLimit": "64Mi"}}),
    }
    if has_bundle(task):
        volumes["womm-lib"] = LIB, {"emptyDir": {"sizeLimit": "256Mi"}}
    if task.share is not None:
        volumes |= _share_volumes(spec, task.share)
    if task.programs is not None:
        volumes |= _programs_volumes(spec, task.programs)
    return (
        [{"name": volume, **source} for volume, (_, source) in volumes.items()],
        [
            {"name": volume, "mountPath": path, **({"readOnly": True} if volume in _READ_ONLY else {})}
            for volume, (path, _) in volumes.items()
        ],
    )


def _share_volumes(spec: WorkerSpec, share: ShareSpec) -> dict[str, tuple[str, Object]]:
    volumes = {"womm-secret": (SECRET, _secret_files(spec, {name: name for name in share.secret}))}
    if share.kind == LAZY:
        volumes["womm-cache"] = CACHE, _cache(share.cache_bytes)
    elif share.claim:
        volumes["womm-store"] = STORE, {"persistentVolumeClaim": {"claimName": share.claim}}
    else:
        volumes["womm-store"] = STORE, {"emptyDir": {}}
    return volumes


def _programs_volumes(spec: WorkerSpec, programs: ProgramsSpec) -> dict[str, tuple[str, Object]]:
    names = {_PROGRAMS + name: name for name in programs.secret}
    return {
        "womm-programs-secret": (PROGRAMS_SECRET, _secret_files(spec, names)),
        "womm-programs-cache": (PROGRAMS_CACHE, _cache(programs.cache_bytes)),
    }


def _secret_files(spec: WorkerSpec, names: dict[str, str]) -> Object:
    """A volume with some of the secret's files. `names`: key in the secret, and the file's name."""
    items = [{"key": key, "path": name} for key, name in names.items()]
    return {"secret": {"secretName": root_name(spec.task), "defaultMode": 0o440, "items": items}}


def _cache(size_bytes: int) -> Object:
    return {"emptyDir": {"sizeLimit": str(size_bytes + size_bytes // 8 + _ROOM_BYTES)}}
