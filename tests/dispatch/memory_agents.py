"""Agents in the memory of the test: they run no program, and end a job when the test says so."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from womm.cluster.base import Pod
from womm.link.client import Dial
from womm.link.frames import WINDOW, EndKind, EndRecord, FrameType, encode, encode_ended
from womm.link.session import Session


@dataclass
class Running:
    """A job in an agent: the bytes that it has printed, and whether a SIGKILL has come."""

    printed: int = 0
    killed: bool = False


class Transport(asyncio.Transport):
    """The link's end of a connection with an agent."""

    def __init__(self, agent: "MemoryAgent", protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self._agent = agent
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def is_closing(self) -> bool:
        return self._closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._loop.call_soon(self._agent.received, self, bytes(data))

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def deliver(self, data: bytes) -> None:
        if data and not self._closed:
            memoryview(self._protocol.get_buffer(len(data)))[: len(data)] = data
            self._protocol.buffer_updated(len(data))


class MemoryAgent:
    """The agent of one life of a pod."""

    def __init__(self) -> None:
        self.jobs: dict[int, Running] = {}
        self.gone = False
        self._session: Session | None = None
        self._transport: Transport | None = None

    async def connect(self, factory: Callable[[], asyncio.BaseProtocol]) -> object:
        if self.gone:
            raise OSError("the pod is gone")
        protocol = factory()
        assert isinstance(protocol, asyncio.BufferedProtocol)
        self._transport = transport = Transport(self, protocol)
        if self._session is not None:
            self._session.connection_made()
        protocol.connection_made(transport)
        return transport

    def received(self, transport: Transport, data: bytes) -> None:
        if transport is not self._transport or transport.is_closing():
            return
        if self._session is None:
            self._session = Session(data[10:26], connector=False)  # the hello: magic, version, id
            self._session.connection_made()
            self._session.send(encode(FrameType.READY))
        for kind, job, payload in self._session.receive_data(data):
            if kind == FrameType.RUN:
                assert job not in self.jobs, "started twice"
                self.jobs[job] = Running()
            elif kind == FrameType.SIGNAL and payload[0] == 9 and job in self.jobs:
                self.jobs[job].killed = True
            elif kind == FrameType.BYE:
                self.end()
                return
        self._flush()

    def print(self, job: int) -> None:
        self.jobs[job].printed += 1
        self._send(encode(FrameType.OUT, job, b"x"))

    def end_job(self, job: int, kind: EndKind = EndKind.EXITED) -> None:
        """End a job; of a killed one, the record says so."""
        running = self.jobs.pop(job)
        signaled = running.killed and kind is EndKind.EXITED
        record = EndRecord(
            EndKind.SIGNALED if signaled else kind, 9 if signaled else 0, running.printed, 0, 0, 0, 0
        )
        self._send(encode_ended(job, record))

    def cut(self) -> None:
        """Cut the connection, as a network would."""
        if self._transport is not None:
            self._transport.abort()
        if self._session is not None:
            self._session.connection_lost()

    def end(self) -> None:
        """End the agent and all its jobs."""
        self.gone = True
        self.jobs.clear()
        self.cut()

    def _send(self, frame: bytes) -> None:
        assert self._session is not None
        self._session.send(frame)
        self._flush()

    def _flush(self) -> None:
        if self._transport is not None and self._session is not None and not self._transport.is_closing():
            self._transport.deliver(self._session.data_to_send())


@dataclass
class MemoryCluster:
    """As much of a Cluster as a dispatcher calls."""

    agents: dict[str, MemoryAgent] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    name: str = "memory"
    wanted: int = 1
    window_bytes: int = WINDOW
    share_host: None = None

    def dial(self, pod: Pod) -> Dial:
        return self.agents[pod.name].connect

    def drain(self) -> None:
        pass

    def leave(self, name: str, reason: str) -> None:
        pass

    async def end_pod(self, pod: Pod, reason: str) -> None:
        raise AssertionError(f"{pod.name} is ended: {reason}")


async def turns() -> None:
    """Let everything happen that waits for nothing."""
    for _ in range(12):
        await asyncio.sleep(0)
