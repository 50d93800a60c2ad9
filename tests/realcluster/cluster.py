"""A real Kubernetes on this machine: up, down, and the faults that tests want.

node1 runs everything: etcd, API server, controllers, scheduler, registry, containerd with the bridge
plugin, kubelet and kube-proxy. It is a network namespace and a mount namespace, held by one sleeping
process: what its daemons mount, and what they write to /run, /var/lib and /var/log, is not seen outside,
and goes with them. It has the kernel of this machine, whatever control groups that has. With `nfs_nodes`
there are node2 and node3, too, with kernels of their own (see `uml`).

Going down is the same as clearing up after a crash: all processes of the control group are killed, and with
them go mounts and namespaces. Nothing of a cluster is worth an orderly end.
"""

import base64
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.realcluster import cgroups
from tests.realcluster.api import Api
from tests.realcluster.configs import ETCD
from tests.realcluster.daemons import ClusterError, Daemons
from tests.realcluster.debian import node_disk, worker_layer
from tests.realcluster.images import Image
from tests.realcluster.instances import BASE, Instance
from tests.realcluster.kubectl import Kubectl
from tests.realcluster.pki import Authority
from tests.realcluster.startup import KUBE, TIMEOUT_S, Startup
from womm import process

MAX_NFS_NODES = 2


class Cluster:
    """A cluster of this machine, running or not. `daemons.names()` are the names of its daemons and nodes."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.network = instance.network
        self.folder = instance.folder
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.kubectl = Kubectl((str(KUBE.resolve()), "kubectl"), self.kubeconfig, self.folder)
        self.registry = self.network.registry
        self.daemons = Daemons(
            folder=self.folder / "daemons",
            logs=self.folder / "log",
            group=cgroups.daemons_file(instance.group),
            home=self.folder,
        )
        self._authority = Authority(self.folder / "pki", self.network.api)
        self._api = Api(self.network.api, self._authority.folder)
        self._startup = Startup(instance, self.daemons, self._authority, self._api)

    def up(self, nfs_nodes: int = 0) -> float:
        """Start everything and wait until all nodes are ready; return how many seconds it took.

        What a crash has left is removed first. What the cache lacks is made before the clock starts: that
        takes a minute, once.
        """
        if not 0 <= nfs_nodes <= MAX_NFS_NODES:
            raise ValueError(f"{nfs_nodes} NFS nodes: 0 to {MAX_NFS_NODES}")
        worker_layer()
        if nfs_nodes:
            node_disk()
        self._clear()
        began = time.monotonic()
        try:
            self._startup.start(range(2, 2 + nfs_nodes))
        except BaseException:
            self._end_processes()
            raise
        return time.monotonic() - began

    def add_nfs_nodes(self, count: int) -> list[str]:
        """See that the running cluster has so many nodes that can mount NFS; return their names."""
        if not 0 <= count <= MAX_NFS_NODES:
            raise ValueError(f"{count} NFS nodes: 0 to {MAX_NFS_NODES}")
        node_disk()
        names = [f"node{number}" for number in range(2, 2 + count)]
        for number, name in enumerate(names, start=2):
            if name not in self.daemons.names():
                self._startup.start_nfs_node(number)
        self.wait_ready()
        return names

    def down(self) -> None:
        """End everything and leave nothing on the machine, after whatever happened."""
        self._clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # there are others
            BASE.rmdir()

    def is_running(self) -> bool:
        """Whether all that should run does."""
        names = self.daemons.names()
        return bool(names) and all(map(self.daemons.is_alive, names))

    def wait_ready(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the API server answers and all nodes are ready."""
        self._startup.wait_ready(timeout_s)

    @property
    def images(self) -> dict[str, Image]:
        """What pods can run, by name: worker, worker-user, worker-noperl."""
        noted = json.loads((self.folder / "images.json").read_text())
        return {name: Image(**image) for name, image in noted.items()}

    def import_image(self, archive: Path) -> None:
        """Import what `docker save` wrote to node1."""
        self._startup.import_image(archive)

    def user_kubeconfig(self, user: str, namespace: str, *groups: str) -> Path:
        """Return the kubeconfig of a user who has the rights that RBAC gives to him or his groups."""
        subject = "".join(f"/O={group}" for group in groups)
        name = f"user-{user}"
        self._authority.issue(name, f"{subject}/CN={user}")
        return self._authority.kubeconfig(name, self.folder / f"{name}.kubeconfig", namespace)

    def api(self, path: str, timeout_s: float = 5.0) -> Any:
        """Ask the API server as the administrator; raises OSError."""
        return self._api.get(path, timeout_s)

    def compact(self) -> int:
        """Have etcd forget all but the present; return the oldest version that is left."""
        key = base64.b64encode(b"/registry/").decode()
        version = int(self._etcd("range", {"key": key, "limit": 1})["header"]["revision"])
        self._etcd("compaction", {"revision": version, "physical": True})
        return version

    def _etcd(self, call: str, body: Mapping[str, Any]) -> Any:
        """Ask etcd, which listens in node1 alone."""
        program = (
            "import sys, urllib.request as r;"
            "print(r.urlopen(sys.argv[1], sys.stdin.buffer.read()).read().decode())"
        )
        words = [*self.network.inside(), sys.executable, "-c", program, f"{ETCD}/v3/kv/{call}"]
        result = subprocess.run(words, input=json.dumps(body), capture_output=True, text=True, check=False)
        if result.returncode:
            raise ClusterError(f"etcd: {call}: {result.stderr.strip()}")
        return json.loads(result.stdout)

    def pod_processes(self, namespace: str, pod: str) -> list[process.ProcessIdentity]:
        """Return the processes of a pod on node1, for `womm.process.kill`; not the one that holds the pod."""
        uid = self.api(f"/api/v1/namespaces/{namespace}/pods/{pod}")["metadata"]["uid"]
        members = cgroups.pod_members(self.instance.group, uid)
        return [one for one in members if b"2147483647" not in Path(f"/proc/{one.pid}/cmdline").read_bytes()]

    def kill(self, name: str) -> None:
        """Kill a daemon, or a node with a kernel of its own; pods of a killed containerd or kubelet go on."""
        if _is_kernel(name):
            self.freeze(name)  # else it could say how the first of its processes have ended
        self.daemons.kill(name, session=_is_kernel(name))

    def start(self, name: str) -> None:
        """Start what was killed once more, with what it had on disk."""
        self.daemons.start_again(name)

    def restart(self, name: str, away_s: float = 0.0) -> None:
        """Kill a daemon, and start it again after a while."""
        self.kill(name)
        time.sleep(away_s)
        self.start(name)

    def freeze(self, name: str) -> None:
        """Stop a daemon or a node as SIGSTOP does."""
        # Of a node the kernel alone: what runs in it stops at its next system call, and must get no signal.
        self.daemons.send(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let what was frozen go on."""
        self.daemons.send(name, signal.SIGCONT)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Freeze a daemon or a node for the time being."""
        self.freeze(name)
        try:
            yield
        finally:
            self.thaw(name)

    def crash(self) -> None:
        """Kill all processes at once and clear nothing up, as a power cut would."""
        for identity in cgroups.members(self.instance.group):
            process.kill(identity, signal.SIGKILL)
        self.daemons.reap()

    def _end_processes(self) -> None:
        cgroups.end(self.instance.group)
        self.daemons.reap()

    def _clear(self) -> None:
        """Remove what is left of the last time, but the owner's note."""
        self._end_processes()
        self.network.down()
        for mount in reversed(_mounts()):
            if mount.is_relative_to(self.folder):  # none, unless somebody has mounted one by hand
                subprocess.run(["umount", "--lazy", str(mount)], check=True)
        for entry in self.folder.iterdir() if self.folder.exists() else []:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != "owner.json":
                entry.unlink()


def remove(instance: Instance) -> None:
    """Remove an instance that nobody owns any more."""
    Cluster(instance).down()


def _is_kernel(name: str) -> bool:
    """Whether it is a user-mode Linux: many processes, of which the first is the kernel."""
    return name.startswith("node") and name != "node1"


def _mounts() -> list[Path]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    # Blanks and the like are written as \\040.
    return [Path(line.split()[1].encode().decode("unicode_escape")) for line in lines]
