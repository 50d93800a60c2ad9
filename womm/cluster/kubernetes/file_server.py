"""The file server of a task as the user's side sees it: which pod it is in, and how its socket is reached.

Its Deployment replaces a pod that is lost; the address that workers have mounted stays the same. What
connects to it waits for whichever pod there is.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from womm.cluster.base import Pod, TaskSpec
from womm.cluster.kubernetes import share_manifests
from womm.cluster.kubernetes.channel import ExecTransport
from womm.cluster.kubernetes.client import KubeClient
from womm.cluster.kubernetes.manifests import Object, WorkerSpec
from womm.cluster.kubernetes.pods import PodBook, PodChange, Replace
from womm.cluster.kubernetes.share_manifests import FILE_SERVER
from womm.errors import ShareError
from womm.link.client import Dial

log = logging.getLogger(__name__)

GREETING: Final = b"womm bridge\n"
"""The first words of the bridge, once it has found the socket (womm/worker/bridge.pl)."""
ANSWER_TIMEOUT_S: Final = 8.0


class FileServerPods:
    """Its pods. `apply`, `remove` and `replace` as PodBook's; they return the pods that are to be deleted,
    since the Deployment makes better ones.

    image_has_womm: False: a pod runs the file server once it has a bundle (see filling.Filling).
    """

    def __init__(self, *, image_has_womm: bool = True) -> None:
        self.image_has_womm = image_has_womm
        self.book = PodBook(1, "", FILE_SERVER)
        self.refusal = ""
        """The cluster's reason for not creating its pod, in its own words."""
        self.getting = ""
        """How far a pod is that gets womm, in words."""
        self._removed = ""
        self._has_womm: set[str] = set()
        self._ready: set[str] = set()
        self._leaving: set[str] = set()
        self._changed = asyncio.Event()
        self._tell_move: Callable[[bool], None] = lambda goes: None
        self._stays: str | None = None
        self._has_moved = False

    def __repr__(self) -> str:
        return f"<FileServerPods {self.book!r} ready {sorted(self._ready)}>"

    @property
    def pod(self) -> str | None:
        """The pod whose program runs, if one does."""
        live = [pod.name for pod in self._running]
        ready = [name for name in live if name in self._ready]
        return (ready or live)[-1] if live else None

    @property
    def _running(self) -> list[Pod]:
        return [pod for pod in self.book.live if self.image_has_womm or pod.name in self._has_womm]

    @property
    def without_womm(self) -> list[str]:
        """Pods on a node that need a bundle; some of them may not run yet."""
        if self.image_has_womm:
            return []
        found = [*self.book.creating, *(pod.name for pod in self.book.live)]
        return [name for name in found if name not in self._has_womm and name not in self._leaving]

    def is_creating(self, name: str) -> bool:
        """Whether a pod's container is not said to run yet."""
        return self.book.is_creating(name)

    def got_womm(self, name: str) -> None:
        """Take note that a pod has its bundle; so its container runs, whatever the watch has said so far."""
        self._has_womm.add(name)
        self.getting = ""
        self._did(self.book.answered(name))

    @property
    def is_ready(self) -> bool:
        """Whether it answers on its port."""
        return any(pod.name in self._ready for pod in self.book.live)

    def replace(self, items: Iterable[Object]) -> list[str]:
        found = list(items)
        for item in found:
            self._note(item)
        names = {item["metadata"]["name"] for item in found}
        for known in (self._ready, self._leaving, self._has_womm):
            known.intersection_update(names)
        return self._did(self.book.replace(found))

    def apply(self, item: Object) -> list[str]:
        self._note(item)
        return self._did(self.book.apply(item))

    def remove(self, name: str) -> list[str]:
        for known in (self._ready, self._leaving, self._has_womm):
            known.discard(name)
        return self._did(self.book.remove(name))

    def reasons(self) -> dict[str, str]:
        """Why it is not there, with the cluster's sentence for each; empty once it is ready."""
        if self.is_ready:
            return {}
        texts = self.book.texts()
        found = {reason: texts.get(reason, "") for reason in self.book.reasons()}
        if self.refusal and not self.book.names:
            found[self.refusal] = ""
        return found or {self.getting or "starting": ""}

    def deployment_gone(self, why: str) -> None:
        """No pod follows the one that there is, if there is one."""
        self._removed = why
        self._changed.set()

    @property
    def staying(self) -> str | None:
        """The pod whose disk the next connection finds; None: there is none yet."""
        return next((pod.name for pod in self.book.live if pod.name not in self._leaving), None)

    def when_it_moves(self, tell: Callable[[bool], None]) -> None:
        """See ShareHost.when_share_moves."""
        self._tell_move = tell

    async def until_ready(self) -> None:
        while not self.is_ready:
            await self.change()

    async def live_pod(self, *, alone: bool = False) -> str:
        """Wait for a pod that can be reached; return its name. Raises ShareError when there will be none.

        alone: wait until there is one pod only, and it stays. A pod that is to go serves on for a while.
        """
        while (name := self.pod) is None or (alone and (len(self.book.live) > 1 or name in self._leaving)):
            await self._another()
        return name

    async def oldest_pod(self) -> str:
        """As live_pod, but prefer the pod that is to go, as long as it can be reached."""
        while not (live := self._running):
            await self._another()
        return live[0].name

    async def until_one_leaves(self) -> None:
        while not self._leaving:
            await self.change()

    async def until_none_leaves(self) -> None:
        while self._leaving:
            await self.change()

    async def _another(self) -> None:
        if self._removed:
            raise ShareError(f"the file server is {self._removed}")
        await self.change()

    async def change(self) -> None:
        """Wait until something has changed."""
        self._changed.clear()
        await self._changed.wait()

    def _note(self, item: Object) -> None:
        conditions = (item.get("status") or {}).get("conditions") or ()
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
        name = item["metadata"]["name"]
        if "deletionTimestamp" in item["metadata"]:
            self._leaving.add(name)
            ready = False
        (self._ready.add if ready else self._ready.discard)(name)

    def _did(self, changes: Iterable[PodChange]) -> list[str]:
        self._changed.set()
        before, self._stays = self._stays, self.staying
        if before != self._stays:
            self._has_moved |= before is not None
            if self._has_moved:
                self._tell_move(self._stays is None and bool(self.book.live))
        return [change.name for change in changes if isinstance(change, Replace)]


async def start_server(client: KubeClient, task: TaskSpec, spec: WorkerSpec, root: Object) -> str:
    """Create the file server of a task; return its address, as nodes reach it. Raises ClusterError."""
    # The secret is there before the pod: else kubelet would try again after a while.
    _, service = await asyncio.gather(
        client.request("POST", client.collection("secrets"), body=share_manifests.secret(spec, task, root)),
        client.request("POST", client.collection("services"), body=share_manifests.service(spec, root)),
    )
    await client.request(
        "POST", client.collection("deployments"), body=share_manifests.file_server(spec, task, root)
    )
    return str(service["spec"]["clusterIP"])


async def greeted(run_bridge: Dial, factory: Callable[[], asyncio.BaseProtocol]) -> ExecTransport:
    """Run a bridge; connect the protocol once it has found its socket, so that the first byte that the
    protocol sees is the file server's. Raises OSError with the bridge's last words.
    """
    greeting = _Greeting()
    transport = await run_bridge(lambda: greeting)
    assert isinstance(transport, ExecTransport)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await greeting.over.wait()
        if greeting.error is not None:
            raise greeting.error
    except TimeoutError as exc:
        transport.abort()
        raise OSError("the file server's socket does not answer") from exc
    except BaseException:
        transport.abort()
        raise
    transport.set_protocol(factory(), greeting.seen[len(GREETING) :])
    return transport


class _Greeting(asyncio.Protocol):
    """Waits for the bridge's greeting, and keeps what comes after it."""

    def __init__(self) -> None:
        self.seen = b""
        self.error: OSError | None = None
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if self.seen.startswith(GREETING):
            self.over.set()
        elif not GREETING.startswith(self.seen):
            self.error = OSError("the file server's bridge speaks another language")
            self.over.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = OSError(str(exc) if exc else "the file server's bridge has ended")
        self.over.set()
