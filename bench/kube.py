"""The Kubernetes for the measurements: the tests' own, started when the first benchmark wants it.

With WOMM_TEST_KUBECONFIG it is the cluster of that file, its images pushed to WOMM_TEST_REGISTRY (see
tests.realcluster.fixtures). WOMM_TEST_INSTANCE says which of this machine's the tests' own is.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.run import Place
from tests.realcluster import images, requirements
from tests.realcluster.cluster import Cluster, remove
from tests.realcluster.instances import claim
from tests.realcluster.kubectl import Kubectl
from tests.realcluster.startup import KUBE

NFS_TAINT = "womm.test/nfs"
"""The taint of nodes that can mount NFS, see CONTRIBUTING.md."""


class Unable(Exception):
    """This machine cannot run a benchmark: the reason, in a sentence."""


@dataclass(frozen=True, slots=True)
class Kube:
    """A cluster and the image of its pods. `own`: the benchmark started it, and removes it at the end.

    `add_nfs_nodes` adds nodes that can mount NFS, where it can.
    """

    kubectl: Kubectl
    image: str
    own: bool
    registry: str
    add_nfs_nodes: Callable[[int], object] = lambda _: None

    def nfs_nodes(self, count: int) -> list[str]:
        """Return the names of nodes that can mount NFS: those with the taint. Raises Unable."""
        if lacking := requirements.lacking_for_nfs():
            raise Unable(lacking)
        self.add_nfs_nodes(count)
        nodes = self.kubectl.json("get", "nodes")["items"]
        found = [
            node["metadata"]["name"]
            for node in nodes
            if any(taint["key"] == NFS_TAINT for taint in node["spec"].get("taints", ()))
        ]
        if len(found) < count:
            raise Unable(f"{count} nodes with the taint {NFS_TAINT} are needed, there are {len(found)}")
        return sorted(found)[:count]

    @contextmanager
    def project(self, place: Place, **changes: str) -> Iterator["Project"]:
        """Make a folder with a `.womm` for a namespace of its own; in a name of a setting _ stands for -."""
        with self.kubectl.namespace() as namespace:
            folder = place.folder / namespace
            folder.mkdir()
            values = {
                "cluster": "kubernetes",
                "kubeconfig": str(self.kubectl.kubeconfig),
                "namespace": namespace,
                "image": self.image,
                "share": "none",
                "kube-mem": "64Mi",
                **{name.replace("_", "-"): value for name, value in changes.items()},
            }
            lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
            (folder / ".womm").write_text("\n".join(["version = 1", *lines, ""]))
            subprocess.run([place.womm, "-q", "trust", "--yes"], cwd=folder, env=place.env, check=True)
            yield Project(replace(place, folder=folder), self, namespace)


@dataclass(frozen=True, slots=True)
class Project:
    """A namespace, and a folder whose `.womm` leads to it."""

    place: Place
    kube: Kube
    namespace: str

    def kubectl(self, *words: str) -> list[str]:
        return self.kube.kubectl.words("-n", self.namespace, *words)

    def pods(self) -> list[str]:
        """The workers of the one task that runs in it."""
        words = [
            "get",
            "pods",
            "-n",
            self.namespace,
            "-l",
            "app.kubernetes.io/component=worker",
            "-o",
            "name",
        ]
        return [name.removeprefix("pod/") for name in self.kube.kubectl.text(*words).split()]


class Kubes:
    """Starts the cluster at the first use; the stack closes it."""

    def __init__(self, stack: ExitStack, home: Path) -> None:
        self._stack = stack
        self._home = home
        self._found: Kube | Unable | None = None

    def get(self) -> Kube:
        """Raises Unable."""
        if self._found is None:
            try:
                self._found = self._foreign() or self._stack.enter_context(_own())
            except Unable as exc:
                self._found = exc
        if isinstance(self._found, Unable):
            raise self._found
        return self._found

    def _foreign(self) -> Kube | None:
        kubeconfig = os.environ.get("WOMM_TEST_KUBECONFIG")
        if not kubeconfig:
            return None
        registry = os.environ.get("WOMM_TEST_REGISTRY")
        program = (str(KUBE.resolve()), "kubectl") if KUBE.exists() else (shutil.which("kubectl") or "",)
        if not registry or not program[0]:
            raise Unable("WOMM_TEST_KUBECONFIG is set, but there is no WOMM_TEST_REGISTRY or no kubectl")
        pushed = images.worker_images(registry)
        kubectl = Kubectl(program, Path(kubeconfig), self._home)
        return Kube(kubectl, pushed["worker"].pinned, own=False, registry=registry)


@contextmanager
def _own() -> Iterator[Kube]:
    lacking = requirements.lacking()
    if lacking:
        raise Unable(lacking)
    number = os.environ.get("WOMM_TEST_INSTANCE")
    cluster = Cluster(claim(int(number) if number else None, remove))
    try:
        took_s = cluster.up()
        print(f"bench: a cluster, up in {took_s:.0f} s", file=sys.stderr)
        image = cluster.images["worker"].pinned
        yield Kube(cluster.kubectl, image, True, cluster.registry, cluster.add_nfs_nodes)
    finally:
        cluster.down()
