"""A task with a lazy share for benchmarks: file server on node1, one worker on each node that mounts NFS."""

import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.kube import NFS_TAINT, Project
from bench.run import BenchError, Talk, talking
from bench.sharedriver import JOB_S, READY_S, Options
from tests.realcluster import images
from womm.cluster.kubernetes.share_manifests import FILE_SERVER

TASK = "benchlzy"
MEMORY = "/womm-bench"
"""Where workers see the folder that an NFS server on node1 has in its memory."""
LINE_S = 0.5
"""A job's line has come by then: times that begin with it begin so much later."""
_POLL_S = 0.2


class Ran(NamedTuple):
    """A job in some pods: what it printed in each, and its time with the share's barrier and flush."""

    out: list[str]
    wall_s: float


class Shared:
    """The task. `folder` is the user's, and the pods' working folder."""

    def __init__(self, project: Project, folder: Path, talk: Talk) -> None:
        self.project = project
        self.folder = folder
        self._talk = talk
        self._made = 0

    def run(self, command: str, *pods: int) -> Ran:
        """Run a job in pods (the first) at once. Raises BenchError."""
        return Ran(**self._ask({"run": command, "pods": pods or (0,)}))

    def seconds(self, command: str, pod: int = 0) -> float:
        """Run a command in a pod; return how long it took by the pod's clock."""
        (out,) = self.run(f"a=$(date +%s%N); {command} >/dev/null || exit 1; echo $a $(date +%s%N)", pod).out
        began, ended = out.split()[-2:]
        return (int(ended) - int(began)) / 1e9

    def arrival_s(self, name: str, size: int) -> tuple[float, float]:
        """Write a file in a pod; return the time from before its close to all of it being in the folder, and
        that of the close itself."""
        write = (
            f'$| = 1; open F, ">", "{name}" or die; $left = {size}; while ($left) {{ '
            '$n = syswrite F, "x" x ($left < 1048576 ? $left : 1048576) or die; $left -= $n } '
            f'print "closing\\n"; select undef, undef, undef, {LINE_S}; close F or die; print "closed\\n"'
        )
        found = self._ask({"arrive": f"perl -e '{write}'", "file": name, "bytes": size})
        return found["s"] - LINE_S, found["closed_s"] - LINE_S

    def listing(self, folder: str) -> tuple[int, float]:
        """Names in a folder and below, and the seconds of one SFTP client for them."""
        found = self._ask({"list": folder})
        return found["names"], found["s"]

    def stats(self) -> dict[str, Any]:
        """See bench.sharedriver."""
        return dict(self._ask({"stats": True}))

    def new_file(self, size: int) -> Path:
        """Make a file in the folder that nobody has seen."""
        self._made += 1
        path = self.folder / f"file{self._made}"
        block = random.randbytes(1 << 20)
        with path.open("wb") as file:
            while size:
                size -= file.write(block[:size])
        return path

    def new_name(self, what: str) -> Path:
        self._made += 1
        return self.folder / f"{what}{self._made}"

    def _ask(self, question: dict[str, Any]) -> Any:
        return self._talk.ask(json.dumps(question), JOB_S)


@contextmanager
def shared(
    project: Project, *, pods: int = 2, kubeconfig: Path | None = None, memory: str = ""
) -> Iterator[Shared]:
    """Start the task in a project's namespace, and end it. `memory`: see `memory_server`.

    Raises Unable, BenchError.
    """
    kube = project.kube
    nodes = kube.nfs_nodes(pods)
    folder = project.place.folder / "folder"
    folder.mkdir()
    runtime = project.place.folder / "r"
    runtime.mkdir()
    options = Options(
        str(kubeconfig or kube.kubectl.kubeconfig),
        project.namespace,
        TASK,
        str(folder),
        str(runtime),
        images.tools_image(kube.registry).pinned,
        images.file_server_image(kube.registry).pinned,
        pods,
        _template(nodes, memory),
    )
    (runtime / "options").write_text(options.as_json())
    where = replace(project.place, folder=runtime)
    # The file server has the toleration, too, but it must not run beside the workers.
    kube.kubectl.run("cordon", *nodes)
    try:
        with talking(where, [sys.executable, "-m", "bench.sharedriver", str(runtime / "options")]) as talk:
            try:
                _await_server(project)
            finally:
                kube.kubectl.run("uncordon", *nodes)
            talk.hear(READY_S)
            yield Shared(project, folder, talk)
    finally:
        kube.kubectl.run("uncordon", *nodes)
        shutil.rmtree(folder, ignore_errors=True)


def _template(nodes: list[str], memory: str) -> dict[str, Any]:
    """Of the workers: one on each of the nodes."""
    hosts = {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}
    required = {"nodeSelectorTerms": [{"matchExpressions": [hosts]}]}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/component": "worker"}},
    }
    spec: dict[str, Any] = {
        "tolerations": [{"key": NFS_TAINT, "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        "topologySpreadConstraints": [spread],
    }
    if memory:
        spec["volumes"] = [{"name": "memory", "nfs": {"server": memory, "path": "/"}}]
        mount = {"name": "memory", "mountPath": MEMORY}
        spec["containers"] = [{"name": "worker", "volumeMounts": [mount]}]
    return {"spec": spec}


def _await_server(project: Project) -> None:
    """Wait until the file server's pod has a node."""
    words = ["get", "pods", "-n", project.namespace, "-l", f"app.kubernetes.io/component={FILE_SERVER}"]
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if any(pod["spec"].get("nodeName") for pod in project.kube.kubectl.json(*words)["items"]):
            return
        time.sleep(_POLL_S)
    raise BenchError("the file server of the share is not scheduled")


def memory_server(project: Project) -> str:
    """Start womm's NFS server with files in memory in a pod on node1; return its address."""
    kubectl, namespace = project.kube.kubectl, project.namespace
    image = images.file_server_image(project.kube.registry).pinned
    words = ["python3", "-m", "womm.nfs", "--host", "", "--port", "2049", "--grace", "0", "--owner", "0"]
    probe = {"tcpSocket": {"port": 2049}, "periodSeconds": 1}
    container = {
        "name": "main",
        "image": image,
        "command": words,
        "readinessProbe": probe,
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
    }
    labels = {"app": "memory"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "memory", "labels": labels},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "memory"},
        "spec": {"selector": labels, "ports": [{"port": 2049}]},
    }
    kubectl.apply(namespace, pod, service)
    kubectl.wait_ready(namespace, "memory")
    return str(kubectl.json("get", "service", "memory", "-n", namespace)["spec"]["clusterIP"])
