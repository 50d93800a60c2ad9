"""Reads of clients: unsent writes over the blocks of the user's side."""

from womm.fileserver import sftp
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.fileserver.contents.fetch import Changed, Fetcher, OpenFile
from womm.fileserver.contents.uses import Uses
from womm.fileserver.tree.lookup import TRIES, Lookup
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import ask
from womm.nfs.status import NFSError, Status


class Reader:
    """Answers the reads of files; `fetcher` has their blocks; `uses` hears of what is read."""

    def __init__(self, lookup: Lookup, fetcher: Fetcher, uses: Uses) -> None:
        self._lookup = lookup
        self._fetcher = fetcher
        self._uses = uses
        self.reads = 0

    def __repr__(self) -> str:
        return f"<Reader {self.reads} reads>"

    async def read(self, file: OpenFile, offset: int, count: int) -> tuple[bytes, bool]:
        """Return up to `count` bytes, and whether they reach the end. Raises NFSError, OSError."""
        node = file.node
        self.reads += 1
        for _ in range(TRIES):
            if not self._lookup.is_fresh(node):
                await self._lookup.fresh(node)
            assert node.stat is not None
            size = node.stat.size
            end = min(offset + count, size)
            if end <= offset:
                return b"", offset >= size
            self._uses.read(node, offset, end)
            try:
                return await self._range(file, offset, end), end >= size
            except Changed:
                continue
        if node.gone or node.use.log is not None:
            raise NFSError(Status.DELAY)
        return await self._fetcher.as_it_is(node, offset, count)

    async def _range(self, file: OpenFile, offset: int, end: int) -> bytes:
        node = file.node
        over: list[tuple[int, bytes]] = []
        log = node.use.log
        if log is not None:
            # Read now: what is sent while the blocks come is no longer in the log.
            over = [(piece.offset, log.read(piece)) for piece in log.pieces.within(offset, end)]
            if sum(len(data) for _, data in over) == end - offset:
                return over[0][1] if len(over) == 1 else b"".join(data for _, data in over)
        if node.gone:
            base = await self._from_handle(node, offset, end)
        else:
            base = await self._fetcher.read(file, offset, end)
        if not over and len(base) == end - offset:
            return base
        data = bytearray(base)
        data += bytes(end - offset - len(data))
        for start, piece_data in over:
            data[start - offset : start - offset + len(piece_data)] = piece_data
        return bytes(data)

    async def _from_handle(self, node: FileNode, offset: int, end: int) -> bytes:
        """Read a removed file, as long as the user's side holds it open."""
        handle = node.use.held
        if handle is None:
            raise NFSError(Status.STALE)
        data = b""
        while len(data) < end - offset:
            at = offset + len(data)
            more = sftp.as_data(await ask(handle.session.read(handle.raw, at, min(BLOCK_BYTES, end - at))))
            if not more:
                break
            data += more
        return data
