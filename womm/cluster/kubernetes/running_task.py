"""A task that runs in the cluster: its parts, and which of them hears of an object that has changed."""

import asyncio
from collections.abc import Iterable

from womm.cluster.base import PodObserver, TaskSpec
from womm.cluster.kubernetes import manifests, share_manifests
from womm.cluster.kubernetes.advice import readable
from womm.cluster.kubernetes.client import KubeClient
from womm.cluster.kubernetes.execs import Execs
from womm.cluster.kubernetes.file_server import FileServerPods
from womm.cluster.kubernetes.filling import Filling
from womm.cluster.kubernetes.keeper import Keepers, lacks_perl
from womm.cluster.kubernetes.manifests import Object, WorkerSpec
from womm.cluster.kubernetes.missing import MissingWorkers
from womm.cluster.kubernetes.objects import TaskObjects
from womm.cluster.kubernetes.paths import AGENT_BRIDGE
from womm.cluster.kubernetes.pods import PodBook
from womm.cluster.kubernetes.share_host import FileServerHost
from womm.cluster.kubernetes.workers import Workers

_HELD = "programs: what workers start with is on its way to the cluster"
_REMOVED = "removed from the cluster: finished elsewhere, or left alone for too long"


class RunningTask:
    """The parts of one task. `drain`, `mute` and `close` are the steps of its end.

    host: None: the task has neither a share nor programs. server: None: no pod mounts one. filling: None: its
    image has womm. changed: is set after each change of what the cluster has.
    """

    def __init__(
        self, client: KubeClient, execs: Execs, spec: TaskSpec, workers: WorkerSpec, observer: PodObserver
    ) -> None:
        share = spec.share
        is_served = share is not None or spec.programs is not None
        objects = TaskObjects(client, spec.task)
        book = PodBook(spec.slots, spec.mem)
        can_copy = share is not None and spec.programs is None and share_manifests.can_copy_into_pods(share)
        self.spec = spec
        self.observer = observer
        self.copies_into_pods = workers.copies_into_pods or can_copy
        """Workers get a copy of the share each, or may come to need one."""
        self.changed = asyncio.Event()
        self.draining = False
        bundles = spec.server.bundles if spec.server is not None else None
        self.server: FileServerPods | None = None
        if is_served and not workers.copies_into_pods:
            self.server = FileServerPods(image_has_womm=bundles is None)
        no_copy_helps = can_copy or spec.programs is not None
        self.missing = MissingWorkers(spec.pods, book, self.server, observer, copied=no_copy_helps)
        self.filling: Filling | None = None
        if self.server is not None and bundles is not None:
            self.filling = Filling(
                self.server,
                bundles,
                execs,
                image=share_manifests.server_image(spec),
                tell=self.missing.tell_soon,
                give_up=self.missing.give_up,
            )
        self.missing.held = _HELD if spec.programs is not None else ""
        bridge = AGENT_BRIDGE if spec.programs is None else (spec.programs.perl, *AGENT_BRIDGE[1:])
        self.workers = Workers(
            book, self.missing, objects, execs, bridge=bridge, observer=observer, changed=self.changed
        )
        self.keepers = Keepers(execs, self.changed)
        self.host: FileServerHost | None = None
        if is_served:
            unmounted = (
                share_manifests.filled(manifests.worker_pod(workers), share) if share and can_copy else None
            )
            self.host = FileServerHost(
                self.server,
                self.workers,
                objects,
                execs,
                spec=spec,
                unmounted=unmounted,
                notice=observer.notice,
            )

    def __repr__(self) -> str:
        return f"<RunningTask {self.spec.task} {self.missing!r}>"

    @property
    def pods(self) -> list[str]:
        """The names of workers and keepers that the cluster has."""
        return sorted([*self.workers.names, *self.keepers.names])

    async def no_nfs_client(self, node: str) -> bool:
        """See FileServerHost.no_nfs_client."""
        return self.host is not None and await self.host.no_nfs_client(node)

    def keeper_seen(self, item: Object) -> None:
        """Give the task up if its keeper, which runs in the file server's image, can never run there."""
        if self.spec.programs is not None and not self.draining and lacks_perl(item):
            image = share_manifests.server_image(self.spec)
            self.missing.give_up(
                f"{image}, the file server's image, has no perl, and the task's keeper needs it"
            )

    def watch_refused(self, message: str) -> None:
        """Take what the API server says to a watch that it does not allow."""
        self.missing.refusal = readable(message)
        self.missing.tell_soon()

    def drain(self) -> None:
        """Make nothing any more."""
        self.draining = True
        self.workers.drain()
        self.keepers.drain()
        if self.host is not None:
            self.host.drain()

    def mute(self) -> None:
        """Tell the observer of no pod any more."""
        self.drain()
        self.workers.mute()

    async def close(self) -> None:
        await self.workers.close()
        if self.host is not None:
            await self.host.close()
        await self.keepers.close()


class PodWatcher:
    """Hears of the task's pods (see watch.Watcher)."""

    def __init__(self, task: RunningTask) -> None:
        self._task = task

    def replace(self, items: list[Object]) -> None:
        keepers = _of(items, manifests.KEEPER)
        self._task.keepers.replace(keepers)
        for keeper in keepers:
            self._task.keeper_seen(keeper)
        if self._task.host is not None:
            self._task.host.replace(_of(items, share_manifests.FILE_SERVER))
        self._task.workers.replace(_of(items, manifests.WORKER))

    def event(self, kind: str, item: Object) -> None:
        component = _component(item)
        if component == manifests.KEEPER:
            self._task.keepers.apply(kind, item)
            self._task.keeper_seen(item)
        elif component != share_manifests.FILE_SERVER:
            self._task.workers.apply(kind, item)
        elif self._task.host is not None:
            self._task.host.apply(kind, item)
            self._task.missing.tell_soon()
        self._task.changed.set()

    def refused(self, message: str) -> None:
        self._task.watch_refused(message)


class DeploymentWatcher:
    """Hears of the task's Deployments: what keeps pods from being created, and that the task has ended."""

    def __init__(self, task: RunningTask) -> None:
        self._task = task
        self._seen: set[str] = set()
        """Components whose Deployment has been there."""

    def replace(self, items: list[Object]) -> None:
        for item in items:
            self._changed(_component(item), item)
        for component in self._seen - {_component(item) for item in items}:
            self._deleted(component)

    def event(self, kind: str, item: Object) -> None:
        if kind == "DELETED":
            self._deleted(_component(item))
        else:
            self._changed(_component(item), item)

    def refused(self, message: str) -> None:
        self._task.watch_refused(message)

    def _changed(self, component: str, item: Object) -> None:
        self._seen.add(component)
        conditions = (item.get("status") or {}).get("conditions") or ()
        failures = [c for c in conditions if c["type"] == "ReplicaFailure" and c["status"] == "True"]
        self._refusal(component, readable(failures[0].get("message") or "") if failures else "")

    def _deleted(self, component: str) -> None:
        if not self._task.draining:
            self._task.missing.give_up(_REMOVED)
        if component == share_manifests.FILE_SERVER and self._task.server is not None:
            self._task.server.deployment_gone(_REMOVED)
        self._refusal(component, "")

    def _refusal(self, component: str, words: str) -> None:
        if component == share_manifests.FILE_SERVER and self._task.server is not None:
            self._task.server.refusal = words
        else:
            self._task.missing.refusal = words
        self._task.missing.tell_soon()
        self._task.changed.set()


def _of(items: Iterable[Object], component: str) -> list[Object]:
    return [item for item in items if _component(item) == component]


def _component(item: Object) -> str:
    return str((item["metadata"].get("labels") or {}).get(manifests.COMPONENT, ""))
