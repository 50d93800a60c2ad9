"""Writes on their way to the user's side, and how many bytes of all files may be on their way."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from womm.fileserver import sftp
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.fileserver.contents.rate import LinkRate
from womm.fileserver.tree.questions import ask
from womm.fileserver.writelog import Piece, Pieces, WriteLog
from womm.nfs.status import NFSError

MOST_BYTES: Final = 8 << 20
"""20 MB/s need 1 MB at 50 ms; a fast link in Python rather more."""
LEAST_BYTES: Final = 1 << 20
BEHIND_S: Final = 1.0
"""Questions wait no longer than this behind the writes that were sent before."""


class Window:
    """Starts wide, and becomes as wide as what the link carries in BEHIND_S."""

    def __init__(self) -> None:
        self.size_bytes = MOST_BYTES
        self._taken = 0
        self._given_bytes = 0
        self._rate = LinkRate()
        self._room = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Window {self._taken} of {self.size_bytes} bytes>"

    async def take(self, size_bytes: int) -> None:
        """Wait until so much more may be sent."""
        while self._taken and self._taken + size_bytes > self.size_bytes:
            self._rate.limit()
            self._room.clear()
            await self._room.wait()
        self._taken += size_bytes

    def give(self, size_bytes: int) -> None:
        """So much has arrived, or never will."""
        self._taken -= size_bytes
        self._given_bytes += size_bytes
        look = self._rate.look(self._given_bytes)
        if look is not None and look.limited:  # a link that was not kept busy is not slow for that
            self.size_bytes = max(LEAST_BYTES, min(MOST_BYTES, int(look.bytes_s * BEHIND_S)))
        self._room.set()


class _Write(NamedTuple):
    reply: "asyncio.Future[sftp.Reply]"
    offset: int
    size_bytes: int


class Sending:
    """The writes of one turn, in their order. Those that have arrived are not sent again when others fail."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.waiting: deque[_Write] = deque()
        self.arrived: list[tuple[int, int]] = []
        """From where to where, in the file."""
        self.size_bytes = 0
        """That have arrived."""

    def add(self, reply: "asyncio.Future[sftp.Reply]", offset: int, size_bytes: int) -> None:
        """Note a write for which the window had room."""
        reply.add_done_callback(sftp.ignore)
        reply.add_done_callback(lambda _: self._window.give(size_bytes))
        self.waiting.append(_Write(reply, offset, size_bytes))

    async def arrival(self) -> None:
        """Wait for the next one. Raises OSError; NFSError(DELAY) when the link is cut."""
        reply, offset, size = self.waiting.popleft()
        sftp.as_done(await ask(reply))
        self.size_bytes += size
        if self.arrived and self.arrived[-1][1] == offset:
            self.arrived[-1] = self.arrived[-1][0], offset + size
        else:
            self.arrived.append((offset, offset + size))

    async def settle(self) -> None:
        """Wait for all that are left, whatever comes of them."""
        while self.waiting:
            try:
                await self.arrival()
            except (OSError, NFSError):
                pass

    def leave_out_of(self, pieces: Pieces, position: int) -> None:
        """Forget what has arrived and was before `position` in the log."""
        for start, end in self.arrived:
            pieces.leave_out(start, end, position)


def chunks(found: WriteLog) -> Iterator[tuple[int, bytes]]:
    """Yield what is in a log now by blocks, as large as it goes: (offset, bytes)."""
    parts: list[bytes] = []
    start = end = 0
    for piece in found.pieces:
        offset = piece.offset
        while offset < piece.end:
            stop = min(piece.end, (offset // BLOCK_BYTES + 1) * BLOCK_BYTES)
            skip = offset - piece.offset
            data = found.read(Piece(offset, stop - offset, piece.position + skip))
            if parts and offset == end and end % BLOCK_BYTES:
                parts.append(data)
            else:
                if parts:
                    yield start, b"".join(parts)
                parts, start = [data], offset
            end = offset = stop
    if parts:
        yield start, b"".join(parts)
