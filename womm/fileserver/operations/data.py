"""SEEK, ALLOCATE, DEALLOCATE and COPY: `FileData`."""

import errno
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.contents.contents import Contents
from womm.fileserver.contents.fetch import OpenFile
from womm.fileserver.operations.attributes import AttributeChanges
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.questions import ask
from womm.nfs.filesystem import Settings
from womm.nfs.status import NFSError, Status
from womm.wire.extensions import Position, Seek

COPY_BYTES: Final = 1 << 20
PUNCH_BYTES: Final = 1 << 26
"""A hole is written as zeros: larger ones are refused."""


class FileData:
    """What clients do with the data of files, in terms of reads, writes and sizes."""

    def __init__(self, lookup: Lookup, contents: Contents, attributes: AttributeChanges) -> None:
        self._lookup, self._link = lookup, lookup.link
        self._contents = contents
        self._attributes = attributes

    async def seek(self, file: OpenFile, offset: int, data: bool) -> int | None:
        node = file.node
        await self._lookup.fresh(node)
        assert node.stat is not None
        if offset >= node.stat.size:
            raise NFSError(Status.NXIO)
        if not node.gone and b"seek@womm" in self._link.session().extensions:
            await self._contents.flusher.settle(node)
            if node.gone:
                raise NFSError(Status.DELAY)
            try:
                reply = await ask(self._link.session().extended(Seek(node.path(), offset, data)))
                return sftp.as_extended(reply, Position).offset
            except OSError as exc:
                if exc.errno == errno.ENXIO:
                    return None
                raise
        return offset if data else node.stat.size

    async def allocate(self, file: OpenFile, offset: int, length: int) -> None:
        await self._lookup.fresh(file.node)
        assert file.node.stat is not None
        if offset + length > file.node.stat.size:
            await self._attributes.set(file.node, Settings(size=offset + length), grow=True)

    async def deallocate(self, file: OpenFile, offset: int, length: int) -> None:
        await self._lookup.fresh(file.node)
        assert file.node.stat is not None
        end = min(offset + length, file.node.stat.size)
        if end - offset > PUNCH_BYTES:
            raise NFSError(Status.NOTSUPP)
        zeros = memoryview(bytes(min(COPY_BYTES, max(0, end - offset))))
        while offset < min(end, file.node.stat.size):  # another client may cut it meanwhile
            offset += await self._contents.writer.write(file, offset, zeros[: end - offset], False)

    async def copy(
        self, source: OpenFile, offset: int, target: OpenFile, target_offset: int, count: int
    ) -> int:
        done = 0
        while done < count:
            data, eof = await self._contents.reader.read(source, offset + done, min(COPY_BYTES, count - done))
            if data:
                done += await self._contents.writer.write(
                    target, target_offset + done, memoryview(data), False
                )
            if eof or not data:
                break
        return done
