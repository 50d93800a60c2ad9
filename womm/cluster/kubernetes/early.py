"""The first exec into a worker, made before the cluster says that the worker runs.

Kubelet looks once a second which containers run, so it tells of a start up to a second late; an exec
works at once. Pods that are being created are tried a few times, some of them at a time. The exec that an
agent answers is kept: it becomes the worker's link. For the others there is what the watch says.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, TypeAlias

from womm.background import Background
from womm.cluster.kubernetes.channel import ExecTransport
from womm.errors import ClusterError

log = logging.getLogger(__name__)

TRY_AFTER_S: Final = (0.25, 0.15, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
"""Less often as time goes on: what has not started in 3 s waits for an image or a volume."""
AT_ONCE: Final = 4
"""Jobs begin with the first worker; a try costs the API server and kubelet some milliseconds."""
ANSWER_TIMEOUT_S: Final = 3.0

Exec: TypeAlias = Callable[[str, Callable[[], asyncio.BaseProtocol]], Awaitable[ExecTransport]]
"""Runs the bridge in a pod's worker. Raises OSError, ClusterError."""


class EarlyDials:
    """`creating` says whether a pod is still on its way; `answered` hears of each that has started."""

    def __init__(
        self, bridge: Exec, creating: Callable[[str], bool], answered: Callable[[str], None]
    ) -> None:
        self._bridge = bridge
        self._creating = creating
        self._answered = answered
        self._tried: set[str] = set()
        self._trying = Background()
        self._open: dict[str, ExecTransport] = {}

    def __repr__(self) -> str:
        return f"<EarlyDials {len(self._trying)} tried, {len(self._open)} open>"

    def consider(self, pods: Iterable[str]) -> None:
        """Try those of these pods that have not been, as far as there is room."""
        for pod in pods:
            if len(self._trying) >= AT_ONCE:
                return
            if pod not in self._tried:
                self._tried.add(pod)
                self._trying.spawn(self._try(pod), name=f"early {pod}")

    def take(self, pod: str) -> ExecTransport | None:
        """Return the exec whose agent has answered, once; it is the caller's from now on."""
        transport = self._open.pop(pod, None)
        return None if transport is None or transport.is_closing() else transport

    async def close(self) -> None:
        await self._trying.close()
        for transport in self._open.values():
            transport.abort()
        self._open.clear()

    async def _try(self, pod: str) -> None:
        for delay_s in TRY_AFTER_S:
            await asyncio.sleep(delay_s)
            if not self._creating(pod):
                return
            greeting = _Greeting()
            with suppress(OSError, ClusterError, TimeoutError):
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    transport = await self._bridge(pod, lambda: greeting)  # noqa: B023
                    await greeting.over.wait()
            if greeting.heard and self._creating(pod):
                log.debug("%s answers before it is said to run", pod)
                self._open[pod] = transport
                self._answered(pod)
                return
            greeting.abort()


class _Greeting(asyncio.Protocol):
    """Waits for the first bytes of an exec, which the bridge sends when it has found the agent."""

    def __init__(self) -> None:
        self.heard = False
        self.over = asyncio.Event()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self.over.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard = False
        self.over.set()

    def abort(self) -> None:
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()
