"""The other end of a link, without a process for a job: the frames are real, the jobs are not."""

import asyncio
from typing import Final

from womm.link.frames import EndKind, EndRecord, FrameType, encode, encode_ended
from womm.link.session import MAGIC, Session

_SESSION_ID: Final = slice(10, 26)  # of a hello: after magic number and version


class FakeAgent(asyncio.Protocol):
    """One connection, and so one agent: jobs end at once, with exit status 0."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._session: Session | None = None
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._session is None:
            self._first += data
            at = self._first.find(MAGIC)
            if at < 0 or len(self._first) < at + _SESSION_ID.stop:
                return
            self._session = Session(self._first[at:][_SESSION_ID], connector=False)
            self._session.connection_made()
            data = self._first
            self._session.send(encode(FrameType.READY, 0, b"pid=1"))
        ends = False
        for kind, job, _ in self._session.receive_data(data):
            if kind == FrameType.PING:
                self._session.send(encode(FrameType.PONG))
            elif kind == FrameType.RUN:
                self.run(self._session, job)
            ends = ends or kind == FrameType.BYE
        self.flush()
        if ends:
            self._transport.close()

    def run(self, session: Session, job: int) -> None:
        """Take a job; what is sent leaves after this call."""
        session.send(encode_ended(job, EndRecord(EndKind.EXITED, 0, 0, 0, 0, 0, 0)))

    def flush(self) -> None:
        """Send what waits."""
        assert self._session is not None
        while out := self._session.data_to_send():  # the hello, then what follows it
            self._transport.write(out)
