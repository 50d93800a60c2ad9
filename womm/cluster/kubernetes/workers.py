"""The workers of a task: what the watch says of their pods is carried out here.

Strategy: a PodBook decides what an event means; this module tells the observer, deletes useless pods, and
makes the first connection to a new worker early (see early). Nothing is polled, except for the events of pods
that are being created for long.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from womm.background import Background
from womm.cluster.base import Pod, PodObserver
from womm.cluster.kubernetes import events
from womm.cluster.kubernetes.channel import ExecTransport
from womm.cluster.kubernetes.early import EarlyDials
from womm.cluster.kubernetes.execs import Execs
from womm.cluster.kubernetes.manifests import GRACE_S, WORKER, Object
from womm.cluster.kubernetes.missing import MissingWorkers
from womm.cluster.kubernetes.objects import TaskObjects
from womm.cluster.kubernetes.pods import Gone, PodBook, PodChange, Started, Vanished
from womm.errors import ClusterError
from womm.link.client import Dial

log = logging.getLogger(__name__)

GONE_TIMEOUT_S: Final = 10.0
"""How long a pod may take to end before it counts as gone, whatever its node says."""
EVENTS_AFTER_S: Final = 5.0
EVENTS_PODS: Final = 3


class Workers:
    """The pods of a task in which jobs run. `replace` and `apply` take what the watch says of them.

    bridge: the command in a worker that connects to its agent. changed: is set after each change. `drain`,
    `mute` and `close` are the steps of its end.
    """

    def __init__(
        self,
        book: PodBook,
        missing: MissingWorkers,
        objects: TaskObjects,
        execs: Execs,
        *,
        bridge: Sequence[str],
        observer: PodObserver,
        changed: asyncio.Event,
    ) -> None:
        self._book = book
        self._missing = missing
        self._objects = objects
        self._execs = execs
        self._bridge = bridge
        self._observer = observer
        self._changed = changed
        self._early = EarlyDials(self._dial_early, book.is_creating, self._answered)
        self._background = Background()
        self._left: set[str] = set()
        self._draining = False
        self._muted = False

    def __repr__(self) -> str:
        return f"<Workers {self._book!r}>"

    @property
    def names(self) -> list[str]:
        """All pods that the cluster has of them, also those that are on their way out."""
        return self._book.names

    @property
    def any_lives(self) -> bool:
        return bool(self._book.live)

    def dial(self, pod: Pod) -> Dial:
        """Return what connects to the agent; the exec that was made early is used first."""
        fresh = self.exec_dial(pod, self._bridge)

        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            opened = self._early.take(pod.name)
            if opened is None:
                return await fresh(factory)
            opened.set_protocol(factory())
            return opened

        return connect

    def exec_dial(self, pod: Pod, command: Sequence[str]) -> Dial:
        """Return what connects to stdin and stdout of a command in the pod."""
        return self._execs.dial(pod.name, WORKER, lambda: self._book.is_live(pod), command)

    def replace(self, items: Iterable[Object]) -> None:
        self._carry_out(self._book.replace(items))

    def apply(self, kind: str, item: Object) -> None:
        changes = self._book.apply(item)
        if kind == "DELETED":
            changes += self._book.remove(item["metadata"]["name"])
        self._carry_out(changes)

    async def end(self, pod: Pod, reason: str) -> None:
        """See Cluster.end_pod."""
        # The watch may be about to say that it has ended by itself.
        if await until(self._changed, lambda: not self._book.is_live(pod), 1.0):
            return
        self._book.expect_end(pod, reason)
        await self._objects.delete_pod(pod.name, 1)
        if not await until(self._changed, lambda: not self._book.is_live(pod), GONE_TIMEOUT_S):
            # Its node does not answer. A second execution says so (WOMM_ATTEMPT), the late result of
            # the first is dropped with its link.
            await self._objects.delete_pod(pod.name, 0)
            self._carry_out(self._book.give_up(pod))

    def leave(self, name: str, reason: str) -> None:
        """See Cluster.leave."""
        if name in self._left:
            return
        self._left.add(name)
        self._missing.wanted = max(0, self._missing.wanted - 1)
        self._observer.pod_left(name, reason)
        self._background.spawn(self._objects.shrink(name, self._missing.wanted))

    async def ask_events(self, no_nfs_client: Callable[[str], Awaitable[bool]]) -> None:
        """Ask the events of pods that are being created for long, for ever: nothing else says why.

        no_nfs_client: is called with a node that cannot mount NFS; it returns whether workers do without.
        """
        while True:
            self._changed.clear()
            if not self._book.creating:
                await self._changed.wait()
                continue
            await asyncio.sleep(EVENTS_AFTER_S)
            for name in self._book.creating[:EVENTS_PODS]:
                with suppress(ClusterError):  # the right to read events is not needed for more than this
                    await self._ask_events_of(name, no_nfs_client)
            self._missing.tell_soon()

    def drain(self) -> None:
        """Replace no pods any more."""
        self._draining = True

    def mute(self) -> None:
        """Tell the observer nothing any more."""
        self._draining = self._muted = True
        self._missing.close()

    async def close(self) -> None:
        await self._early.close()
        await self._background.close()

    async def _ask_events_of(self, pod: str, no_nfs_client: Callable[[str], Awaitable[bool]]) -> None:
        why = events.why(await self._objects.warnings(pod), self._book.node(pod))
        if why is None or self._draining:
            return
        is_on_its_way_out = bool(why.lacks_nfs) and await no_nfs_client(why.lacks_nfs)
        if not is_on_its_way_out:
            self._missing.explain(pod, why)

    async def _dial_early(self, pod: str, factory: Callable[[], asyncio.BaseProtocol]) -> ExecTransport:
        return await self._execs.agent(pod, factory, self._bridge)

    def _answered(self, pod: str) -> None:
        self._carry_out(self._book.answered(pod))

    def _carry_out(self, changes: Iterable[PodChange]) -> None:
        for change in changes if not self._muted else ():
            if isinstance(change, Started):
                self._missing.started(change.pod.name)
                self._observer.pod_started(change.pod)
            elif isinstance(change, Gone):
                self._observer.pod_gone(change.pod, change.loss, change.detail)
            elif isinstance(change, Vanished):
                self._observer.pod_vanished(change.name)
            elif not self._draining:
                log.debug("pod %s is replaced: %s", change.name, change.why)
                self._background.spawn(self._objects.delete_pod(change.name, GRACE_S))
        if not self._draining:
            self._early.consider(self._book.creating)
        self._missing.tell_soon()
        self._changed.set()


async def until(changed: asyncio.Event, done: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for what a watch will tell, which sets `changed`. False: it did not in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not done():
                changed.clear()
                await changed.wait()
    return done()
