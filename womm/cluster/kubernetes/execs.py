"""Execs into a task's pods, as connections of links.

A connection that fails has one of two causes, and links treat them differently: the pod is out of reach
(OSError, and somebody gives it up in the end), or the whole cluster is (Offline, and the pod may be well).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from womm.cluster.kubernetes import manifests
from womm.cluster.kubernetes.channel import ExecTransport
from womm.cluster.kubernetes.client import ApiError, KubeClient
from womm.cluster.kubernetes.paths import AGENT_BRIDGE
from womm.errors import ClusterError
from womm.link.client import Dial, Offline

DIAL_TIMEOUT_S: Final = 8.0
"""Below the link's own limit, so that there is time to ask whose fault it is."""
_PROBE_TIMEOUT_S: Final = 1.5


class Execs:
    """Runs commands in pods; their stdin and stdout are a protocol's."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<Execs {self._client!r}>"

    def dial(
        self, pod: str, container: str, alive: Callable[[], bool], command: Sequence[str] = AGENT_BRIDGE
    ) -> Dial:
        """Return what runs a command in a container. alive: False once the pod is known to have ended.

        To connect raises OSError when the pod is out of reach, Offline when the cluster is.
        """

        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            if not alive():
                raise OSError(f"{pod} has ended")
            if self._client.is_closed:
                raise Offline("the cluster is not connected")
            try:
                async with asyncio.timeout(DIAL_TIMEOUT_S):
                    return await self._client.exec(pod, container, command, factory)
            except (OSError, ClusterError, TimeoutError) as exc:
                if not await self._answers():
                    raise Offline(f"the API server does not answer ({exc})") from exc
                raise OSError(str(exc) or f"no answer from {pod}") from exc

        return connect

    async def agent(
        self, pod: str, factory: Callable[[], asyncio.BaseProtocol], bridge: Sequence[str] = AGENT_BRIDGE
    ) -> ExecTransport:
        """Connect to a worker's agent, once. Raises OSError, ClusterError."""
        return await self._client.exec(pod, manifests.WORKER, bridge, factory)

    async def _answers(self) -> bool:
        """Whether the API server is there."""
        try:
            await self._client.request("GET", "/readyz/ping", timeout_s=_PROBE_TIMEOUT_S)
        except ApiError:
            return True
        except ClusterError:
            return False
        return True
