"""A channel of the SFTP server over a folder, spoken to in packets."""

import asyncio
from pathlib import Path

from tests.loop import until
from womm.share.fence import Fence
from womm.share.ignore import Ignore
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.guard import Guard
from womm.share.lazy.sftp_server.channel import SftpChannel
from womm.wire.extensions import ExtendedRequest, pack_request
from womm.wire.fields import U32, read_string, string
from womm.wire.replies import BODY_AT, init, message, read_number
from womm.wire.sftp import READ_DATA, WRITE_DATA, Kind

NO_ATTRIBUTES = U32.pack(0) + b"\0"


class Recorder:
    """An SSH channel that keeps what is written, and whether it is read."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.reading = True
        self.aborted = False

    def write(self, data: bytes | bytearray) -> None:
        self.writes.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


class Client:
    """Asks the server, over a channel whose link has `backlog` bytes to send."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        fence = Fence(folder)
        guard = Guard(fence, Ignore(fence), None, lambda line: None)
        self.export = ExportedFolder(fence, guard=guard)
        self.channel = Recorder()
        self.backlog = 0
        self.it = SftpChannel(self.export, self.channel, lambda: self.backlog)
        self.number = 0

    async def __aenter__(self) -> "Client":
        self.it.received(init())
        self.channel.writes.clear()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.it.closed()
        await asyncio.to_thread(self.export.close)

    @property
    def packets(self) -> dict[int, bytes]:
        """All answers, by the number of their request, without their length."""
        data, found = b"".join(self.channel.writes), {}
        while data:
            packet, at = read_string(data, 0)
            data = data[at:]
            assert read_number(packet) not in found
            found[read_number(packet)] = packet
        return found

    def pack(self, kind: Kind, body: bytes) -> bytes:
        """Return the next request, with its length."""
        self.number += 1
        return message(kind, self.number, body)

    def begin(self, kind: Kind, body: bytes) -> int:
        """Send a request; return its number."""
        self.it.received(self.pack(kind, body))
        return self.number

    async def answer(self, number: int) -> bytes:
        await until(lambda: number in self.packets, f"the answer to request {number}")
        return self.packets[number]

    async def ask(self, kind: Kind, body: bytes) -> bytes:
        return await self.answer(self.begin(kind, body))

    async def extended(self, request: ExtendedRequest) -> bytes:
        return await self.ask(Kind.EXTENDED, pack_request(request))

    async def open(self, path: bytes, how: int = 2) -> bytes:
        """Open a file for reading and writing; return its handle. how: see Disposition."""
        body = string(path) + U32.pack(READ_DATA | WRITE_DATA) + U32.pack(how) + NO_ATTRIBUTES
        packet = await self.ask(Kind.OPEN, body)
        assert packet[0] == Kind.HANDLE, packet
        return read_string(packet, BODY_AT)[0]
