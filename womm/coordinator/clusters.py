"""Which cluster a task runs on: made here from the settings, for `womm parallel` and `womm shell` alike.

The Kubernetes driver is imported only when it is wanted: it costs 0.4 s.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from womm.cluster.base import Cluster, Place, Pod, PodObserver, TaskSpec
from womm.cluster.local import LocalCluster
from womm.coordinator.tasks import target_of
from womm.errors import SettingsError
from womm.journal.observe import this_host, this_user
from womm.link.client import Dial
from womm.settings import KUBERNETES, Settings


@dataclass(frozen=True, slots=True)
class Origin:
    """Who starts a task, with what words, and from where."""

    kind: str
    argv: tuple[str, ...]

    @property
    def host(self) -> str:
        return this_host()

    @property
    def user(self) -> str:
        return this_user()


async def make_cluster(settings: Settings, runtime: Path, perl: str, origin: Origin) -> Cluster:
    """Return the cluster that the settings name, not started: nothing is made, nothing is sent.

    To be stopped, started or not. Raises SettingsError, ClusterError.
    """
    local = LocalCluster(runtime, perl)
    if settings.cluster != KUBERNETES:
        return local
    from womm.cluster.kubernetes.client import KubeClient
    from womm.cluster.kubernetes.driver import KubernetesCluster, PodOptions
    from womm.cluster.kubernetes.manifests import About

    if not settings.image:
        raise SettingsError(
            "which image do the pods run? The project names none",
            "womm setup --image NAME --share none --yes",
        )

    def about(spec: TaskSpec) -> About:
        return About(
            kind=origin.kind,
            argv=origin.argv,
            folder=str(spec.folder),
            host=origin.host,
            user=origin.user,
            pods=spec.pods,
            procs_per_pod=spec.slots,
            cpu=spec.cpu,
            mem=spec.mem,
            started=time.time(),
        )

    options = PodOptions(
        image=settings.image,
        pull_secret=settings.pull_secret,
        service_account=settings.service_account,
        template=pod_template(settings),
    )
    remote = KubernetesCluster(await KubeClient.connect(target_of(settings), runtime), options, about)
    return BothClusters(remote, local) if settings.local_procs else remote


def pod_template(settings: Settings) -> Mapping[str, Any]:
    """Return the pod that the project wants laid under womm's. Raises SettingsError."""
    from womm.cluster.kubernetes.manifests import read_template

    template: dict[str, Any] = {}
    if settings.pod_template:
        base = settings.project or Path()
        path = base / Path(settings.pod_template).expanduser()
        try:
            template = read_template(path)
        except ValueError as exc:
            raise SettingsError(f"the pod template {path} {exc}", f"ls -l {path}") from exc
    pod = template.setdefault("spec", {})
    if settings.node_selector:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **settings.node_selector}
    if settings.tolerations:
        pod["tolerations"] = [*pod.get("tolerations", []), *map(dict, settings.tolerations)]
    if settings.gpus:
        containers = pod.setdefault("containers", [{}])
        resources = containers[0].setdefault("resources", {})
        for kind in ("requests", "limits"):
            resources.setdefault(kind, {})[settings.gpu_resource] = str(settings.gpus)
    return template


class BothClusters:
    """Pods of one cluster, and the local jobslots of another (`--local-procs`). See Cluster."""

    def __init__(self, remote: Cluster, local: Cluster) -> None:
        self.name = remote.name
        self._remote, self._local = remote, local
        self._local_pod = ""

    @property
    def window_bytes(self) -> int:
        return self._remote.window_bytes

    @property
    def wanted(self) -> int:
        return self._remote.wanted + self._local.wanted

    @property
    def where(self) -> Place:
        return self._remote.where

    def advice(self) -> str:
        return self._remote.advice()

    async def start(self, spec: TaskSpec, observer: PodObserver) -> None:
        view = _LocalObserver(observer, lambda name: setattr(self, "_local_pod", name))
        await self._remote.start(replace(spec, local_slots=0), observer)
        await self._local.start(replace(spec, pods=0), view)

    def dial(self, pod: Pod) -> Dial:
        return self._of(pod.name).dial(pod)

    async def end_pod(self, pod: Pod, reason: str) -> None:
        await self._of(pod.name).end_pod(pod, reason)

    def leave(self, name: str, reason: str) -> None:
        self._of(name).leave(name, reason)

    def drain(self) -> None:
        self._remote.drain()
        self._local.drain()

    async def stop(self) -> None:
        try:
            await self._local.stop()
        finally:
            await self._remote.stop()

    def _of(self, name: str) -> Cluster:
        return self._local if name == self._local_pod else self._remote


class _LocalObserver:
    """Tells the task of the local jobslots; why pods are missing is the other cluster's to say."""

    def __init__(self, observer: PodObserver, found: Callable[[str], None]) -> None:
        self._observer = observer
        self._found = found
        self.pod_gone = observer.pod_gone
        self.pod_left = observer.pod_left
        self.job_processes = observer.job_processes

    def pod_started(self, pod: Pod) -> None:
        self._found(pod.name)
        self._observer.pod_started(pod)

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        pass
