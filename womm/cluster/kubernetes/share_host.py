"""The host of a task's share and of this machine's programs: the file server's pods, and the workers' copies
where nodes cannot mount the share."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from womm.background import Background
from womm.cluster.base import Digests, Place, Pod, TaskSpec
from womm.cluster.kubernetes import share_manifests
from womm.cluster.kubernetes.execs import DIAL_TIMEOUT_S, Execs
from womm.cluster.kubernetes.file_server import FileServerPods, greeted
from womm.cluster.kubernetes.manifests import GRACE_S, Object
from womm.cluster.kubernetes.objects import TaskObjects
from womm.cluster.kubernetes.paths import PROGRAMS_SOCKET, SHARE_SOCKET, server_bridge
from womm.cluster.kubernetes.removal import without_lost_nodes
from womm.cluster.kubernetes.workers import Workers
from womm.errors import ClusterError, WommError
from womm.link.client import Dial

log = logging.getLogger(__name__)

_NOT_PULLED: Final = frozenset(["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"])


class FileServerHost:
    """See womm.cluster.base.ShareHost. `replace` and `apply` take what the watch says of the server's pods.

    server: None when each worker gets a copy from the start. unmounted: the workers' pod with a folder of its
    own in the place of the mount; None: they need the mount. spec: the task, for what its server has.
    """

    def __init__(
        self,
        server: FileServerPods | None,
        workers: Workers,
        objects: TaskObjects,
        execs: Execs,
        *,
        spec: TaskSpec,
        unmounted: Object | None,
        notice: Callable[[str], None],
    ) -> None:
        self.copies_into_pods = server is None
        self._server = server
        self._unmounted = unmounted
        self._workers = workers
        self._objects = objects
        self._execs = execs
        self._spec = spec
        self._notice = notice
        self._background = Background()
        self._before_end: list[Callable[[], Awaitable[None]]] = []
        self._tell_moves: list[Callable[[bool], None]] = []
        self._released = asyncio.Event()
        self._draining = False
        self._image_seen = False

    def __repr__(self) -> str:
        return f"<FileServerHost {self._server!r}>"

    @property
    def where(self) -> Place:
        return Place(self._objects.client.context, self._objects.client.namespace)

    def share_dial(self, command: Sequence[str] = (), *, last: bool = False) -> Dial:
        if self._server is None or self._spec.share is None:
            raise ClusterError("this task has no share")
        return self._dial(self._server, SHARE_SOCKET, command, last=last)

    def programs_dial(self) -> Dial:
        if self._server is None or self._spec.programs is None:
            raise ClusterError("this task does not show this machine's programs")
        return self._dial(self._server, PROGRAMS_SOCKET, (), last=False)

    def release_workers(self) -> None:
        self._released.set()

    def _dial(self, server: FileServerPods, socket: str, command: Sequence[str], *, last: bool) -> Dial:
        """Return what connects to a command beside the file server, or without one to this socket of it."""
        bridge = server_bridge(socket, has_perl=server.image_has_womm)

        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            try:
                async with asyncio.timeout(DIAL_TIMEOUT_S):
                    pod = await (server.oldest_pod() if last else server.live_pod(alone=bool(command)))
            except TimeoutError as exc:
                why = ", ".join(server.reasons()) or "its last pod has not ended"
                raise OSError(f"the file server is not there: {why}") from exc
            run = self._execs.dial(pod, share_manifests.FILE_SERVER, lambda: True, command or bridge)
            return await (run(factory) if command else greeted(run, factory))

        return connect

    def copy_dial(self, pod: Pod, command: Sequence[str]) -> Dial:
        return self._workers.exec_dial(pod, command)

    def before_share_ends(self, work: Callable[[], Awaitable[None]]) -> None:
        self._before_end.append(work)

    def when_share_moves(self, tell: Callable[[bool], None]) -> None:
        self._tell_moves.append(tell)
        if self._server is not None and len(self._tell_moves) == 1:
            self._server.when_it_moves(self._moves)
            self._background.spawn(self._see_servers_go(self._server))

    def _moves(self, goes: bool) -> None:
        for tell in self._tell_moves if not self._draining else ():
            tell(goes)

    # The rest is for the cluster.

    def replace(self, items: Iterable[Object]) -> None:
        if self._server is not None:
            found = list(items)
            for item in found:
                self._see_image(item)
            self._delete(self._server.replace(found))

    def apply(self, kind: str, item: Object) -> None:
        if self._server is not None:
            gone = kind == "DELETED"
            self._see_image(item)
            useless = self._server.remove(item["metadata"]["name"]) if gone else self._server.apply(item)
            self._delete(useless)

    async def no_nfs_client(self, node: str) -> bool:
        """Take note that a node cannot mount NFS: return whether workers do without the mount from now on.

        They do where the share can be copied and no worker has come up yet: all are made again. Raises
        ClusterError.
        """
        if self._unmounted is not None and not self._workers.any_lives:
            await self._objects.replace_workers(self._unmounted)
            self._unmounted, self.copies_into_pods = None, True
            self._notice(
                f"{node} has no NFS client: each pod gets a copy of its own, and what jobs write stays there"
            )
        return self.copies_into_pods

    async def until_released(self) -> None:
        """Wait until workers may come."""
        if self._spec.programs is not None:
            await self._released.wait()

    async def end(self) -> None:
        """Do what the share wants done before its file server goes. The share itself tells of a failure."""
        await asyncio.gather(*map(_attempt, self._before_end))

    def drain(self) -> None:
        """Replace no pods any more."""
        self._draining = True

    async def close(self) -> None:
        await self._background.close()

    def _delete(self, useless: Iterable[str]) -> None:
        for name in useless if not self._draining else ():
            log.debug("pod %s of the file server is replaced", name)
            self._background.spawn(self._objects.delete_pod(name, GRACE_S))

    def _see_image(self, item: Object) -> None:
        """Keep the digest of the image, once; or go back to its tag if it cannot be pulled by its digest."""
        server = self._spec.server
        if self._image_seen or self._draining or server is None or server.digests is None:
            return
        for container in (item.get("status") or {}).get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if image_id := str(container.get("imageID") or ""):
                self._image_seen = True
                self._background.spawn(asyncio.to_thread(server.digests.learn, server.image, image_id))
            elif server.by_digest and waiting.get("reason") in _NOT_PULLED:
                self._image_seen = True
                self._background.spawn(self._use_tag(server.image, server.digests))

    async def _use_tag(self, image: str, digests: Digests) -> None:
        log.debug("%s cannot be pulled by its digest", image)
        await asyncio.to_thread(digests.refuse, image)
        with suppress(ClusterError):
            await self._objects.use_server_image(image)

    async def _see_servers_go(self, server: FileServerPods) -> None:
        """Force the end of a file server's pod on a lost node: the next one serves only once it is alone."""
        client, task = self._objects.client, self._objects.task
        while True:
            await server.until_one_leaves()
            async with without_lost_nodes(client, task, self._notice, share_manifests.FILE_SERVER):
                await server.until_none_leaves()


async def _attempt(work: Callable[[], Awaitable[None]]) -> None:
    with suppress(WommError, TimeoutError, OSError):
        await work()
