"""A file server with womm's own image, beside one whose image is any python and that gets womm by exec.

The pods are on node1, with an image that the node has already. The clock starts with the task's. It stops
when the cluster says that the file server is ready, and workers would be made. No worker is waited for.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench.kube import Kube
from bench.poddriver import about
from bench.report import Figure, Section, absolute
from bench.run import Place
from bench.slowlink import SlowLink, slow_link
from bench.stats import Target, spread
from tests.realcluster import images
from womm.cluster.base import Loss, Pod, PodPython, ServerSpec, ShareSpec, TaskSpec
from womm.cluster.kubernetes.client import KubeClient
from womm.cluster.kubernetes.client import Target as Where
from womm.cluster.kubernetes.cluster import KubernetesCluster, PodOptions
from womm.image.bundle import WommBundles

READY_S: Final = 300.0
LINK_MB_PER_S: Final = 2.0
ROUND_TRIP_S: Final = 0.05
_LATER: Final = Target(most=1.5, unit="s")
_SIZE: Final = Target(most=8.0, unit="MB")
_SENT: Final = Target(most=1.05, unit="x")


@dataclass(frozen=True, slots=True)
class Started:
    """seconds: until it was ready. up_bytes: what went to the cluster meanwhile."""

    seconds: float
    up_bytes: int


class _Bundles(WommBundles):
    """size_bytes: of the last one."""

    size_bytes = 0

    def provide(self, python: PodPython, **how: Any) -> Path:
        found = super().provide(python, **how)
        self.size_bytes = found.stat().st_size
        return found


class _Nobody:
    """An observer that only notices that the file server is awaited no more."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._awaited = False

    def pod_started(self, pod: Pod) -> None:
        pass

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        pass

    def pod_left(self, name: str, reason: str) -> None:
        pass

    def pod_vanished(self, name: str) -> None:
        pass

    def job_processes(self, pod: Pod) -> list[int]:
        return []

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        now = any("file server" in reason for reason in reasons)
        if self._awaited and not now:
            self.ready.set()
        self._awaited = now

    def notice(self, text: str) -> None:
        pass


def ready(place: Place, kube: Kube) -> Section:
    """In turns, over a link without limit and over a slow one."""
    rounds = 1 if place.quick else 5
    own, python = images.file_server_image(kube.registry).pinned, images.python_image(kube.registry).pinned
    bundles = _Bundles(place.folder / "bundles")
    figures: list[Figure] = []
    with kube.kubectl.namespace() as namespace, slow_link(place, kube.kubectl.kubeconfig) as link:

        def start(server: ServerSpec) -> Started:
            return asyncio.run(_start(server, kube.image, namespace, link, place.folder))

        # The nodes have the images then, and the bundle is made.
        start(ServerSpec(own)), start(ServerSpec(python, bundles))
        size_mb = bundles.size_bytes / 1e6
        figures.append(absolute("the bundle", spread([size_mb]), "MB", _SIZE))
        for mb_per_s, round_trip_s in ((0.0, 0.0), (LINK_MB_PER_S, ROUND_TRIP_S)):
            link.set(mb_per_s=mb_per_s, round_trip_s=round_trip_s)
            found: dict[str, list[Started]] = {"own": [], "python": []}
            for number in range(rounds):
                for which in ("own", "python") if number % 2 else ("python", "own"):
                    server = ServerSpec(own) if which == "own" else ServerSpec(python, bundles)
                    found[which].append(start(server))
            figures += _figures(found, size_mb, mb_per_s, round_trip_s)
    return Section(
        "Kubernetes: the file server without an image of its own",
        "A file server whose image has womm, beside one whose image has python3 alone and that gets womm by"
        " an exec: from the task's start until it is ready. The images are on the node. The time that the"
        " bundle takes at the link's speed is taken off.",
        figures,
    )


def _figures(
    found: dict[str, list[Started]], size_mb: float, mb_per_s: float, round_trip_s: float
) -> list[Figure]:
    over = f", {mb_per_s:g} MB/s and {round_trip_s * 1000:g} ms" if mb_per_s else ""
    link_s = size_mb / mb_per_s if mb_per_s else 0.0
    pairs = list(zip(found["own"], found["python"], strict=True))
    later = [python.seconds - own.seconds - link_s for own, python in pairs]
    sent = [(python.up_bytes - own.up_bytes) / (size_mb * 1e6) for own, python in pairs]
    return [
        absolute(f"ready with womm's image{over}", spread([own.seconds for own, _ in pairs]), "s"),
        absolute(f"ready with python alone{over}", spread([python.seconds for _, python in pairs]), "s"),
        absolute(f"later by, without the link's time{over}", spread(later), "s", _LATER),
        absolute(f"more bytes sent, in bundles{over}", spread(sent), "x", _SENT),
    ]


async def _start(server: ServerSpec, image: str, namespace: str, link: SlowLink, folder: Path) -> Started:
    """Start a task until its file server is ready, and remove it."""
    client = await KubeClient.connect(Where(namespace=namespace, kubeconfig=str(link.kubeconfig)), folder)
    cluster = KubernetesCluster(client, PodOptions(image), about)
    share = ShareSpec("eager-syncback", Path("/proj"), {"export": secrets.token_hex(16).encode()})
    task = TaskSpec(f"bench{secrets.token_hex(2)}", share.folder, 1, 1, "50m", "64Mi", "/bin/sh", 60.0)
    observer = _Nobody()
    try:
        before, began = link.passed()[0], time.monotonic()
        await cluster.start(replace(task, share=share, server=server), observer)
        async with asyncio.timeout(READY_S):
            await observer.ready.wait()
        return Started(time.monotonic() - began, link.passed()[0] - before)
    finally:
        await cluster.stop()
