"""Two clusters as one: the pods of one, and the local jobslots of another (`--local-procs`)."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from womm.cluster.base import Cluster, Place, Pod, PodObserver, ShareHost, TaskSpec
from womm.link.client import Dial


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
        await self._local.start(replace(spec, pods=0, share=None), view)

    def dial(self, pod: Pod) -> Dial:
        return self._of(pod.name).dial(pod)

    @property
    def share_host(self) -> ShareHost | None:
        return self._remote.share_host

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
        self.pod_vanished = observer.pod_vanished
        self.job_processes = observer.job_processes
        self.notice = observer.notice

    def pod_started(self, pod: Pod) -> None:
        self._found(pod.name)
        self._observer.pod_started(pod)

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        pass
