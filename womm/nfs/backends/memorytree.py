"""The files of a filesystem in memory: sparse contents, nodes, and the directories that name them.

Strategy: contents are blocks of 64 KiB by their number. Cookies number the entries of a directory in the
order in which they were made, so they never move.
"""

import itertools
import stat
from collections.abc import Callable, Iterator
from typing import Final

from womm.nfs.constants import FileType
from womm.nfs.filesystem import Attributes, Now, Settings
from womm.nfs.status import NFSError, Status

BLOCK_BYTES: Final = 65536
_FIRST_COOKIE: Final = 3


class Blocks:
    """The content of a file: what was never written is zeros and takes no memory."""

    __slots__ = ("blocks", "size")

    def __init__(self) -> None:
        self.blocks: dict[int, bytearray] = {}
        self.size = 0

    def _pieces(self, offset: int, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Cut a range into block, start in the block, position in the range, length."""
        done = 0
        while done < count:
            number, start = divmod(offset + done, BLOCK_BYTES)
            length = min(count - done, BLOCK_BYTES - start)
            yield number, start, done, length
            done += length

    def read(self, offset: int, count: int) -> bytes:
        count = max(0, min(count, self.size - offset))
        out = bytearray(count)
        for number, start, done, length in self._pieces(offset, count):
            block = self.blocks.get(number)
            if block is not None:
                out[done : done + length] = block[start : start + length]
        return bytes(out)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        for number, start, done, length in self._pieces(offset, len(data)):
            block = self.blocks.get(number)
            if block is None:
                block = self.blocks[number] = bytearray(BLOCK_BYTES)
            block[start : start + length] = data[done : done + length]
        self.size = max(self.size, offset + len(data))

    def punch(self, offset: int, count: int) -> None:
        for number, start, _, length in self._pieces(offset, max(0, min(count, self.size - offset))):
            if length == BLOCK_BYTES:
                self.blocks.pop(number, None)
            elif number in self.blocks:
                self.blocks[number][start : start + length] = bytes(length)

    def truncate(self, size: int) -> None:
        if size < self.size:
            last = -(-size // BLOCK_BYTES)
            for number in [number for number in self.blocks if number >= last]:
                del self.blocks[number]
            rest = size % BLOCK_BYTES
            if rest and last - 1 in self.blocks:
                self.blocks[last - 1][rest:] = bytes(BLOCK_BYTES - rest)
        self.size = size

    def seek(self, offset: int, data: bool) -> int | None:
        while offset < self.size:
            number = offset // BLOCK_BYTES
            if (number in self.blocks) == data:
                return offset
            offset = (number + 1) * BLOCK_BYTES
        return None if data else self.size


class MemoryNode:
    """A file, directory or other object."""

    __slots__ = (
        "above",
        "atime_ns",
        "change",
        "content",
        "cookies",
        "ctime_ns",
        "device",
        "entries",
        "gid",
        "ino",
        "key",
        "kind",
        "mode",
        "mtime_ns",
        "nlink",
        "opens",
        "target",
        "uid",
        "verifier",
        "xattrs",
    )

    def __init__(self, ino: int, kind: FileType, mode: int, now_ns: int) -> None:
        self.ino = ino
        self.key = ino.to_bytes(8, "big")
        self.kind = kind
        self.mode = mode
        self.uid = self.gid = 0
        self.nlink = 1
        self.atime_ns = self.mtime_ns = self.ctime_ns = now_ns
        self.change = 1
        self.opens = 0
        self.content = Blocks()
        self.target = b""
        self.device = (0, 0)
        self.verifier: bytes | None = None
        self.xattrs: dict[bytes, bytes] = {}
        self.above: MemoryNode | None = None
        self.entries: dict[bytes, tuple[int, MemoryNode]] = {}
        self.cookies: dict[int, bytes] = {}
        """Of the entries, in growing order."""

    def __repr__(self) -> str:
        return f"<MemoryNode {self.ino} {self.kind.name} {self.nlink} links {self.opens} opens>"

    def attributes(self) -> Attributes:
        size = {FileType.DIRECTORY: len(self.entries), FileType.SYMLINK: len(self.target)}.get(
            self.kind, self.content.size
        )
        return Attributes(
            self.kind,
            self.ino,
            self.change,
            size,
            self.mode,
            self.nlink,
            self.uid,
            self.gid,
            len(self.content.blocks) * BLOCK_BYTES,
            *self.device,
            self.atime_ns,
            self.mtime_ns,
            self.ctime_ns,
        )


class MemoryTree:
    """All nodes by their keys, and what changes them. `clock_ns` is the time of files."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._numbers = itertools.count(2)
        self._cookies = itertools.count(_FIRST_COOKIE)
        self.root = MemoryNode(1, FileType.DIRECTORY, 0o755, clock_ns())
        self.root.nlink = 2
        self.nodes: dict[bytes, MemoryNode] = {self.root.key: self.root}

    def changed(self, node: MemoryNode, *, content: bool = False) -> None:
        node.change += 1
        node.ctime_ns = self._clock_ns()
        if content:
            node.mtime_ns = node.ctime_ns

    def enter(self, directory: MemoryNode, name: bytes, node: MemoryNode) -> None:
        cookie = next(self._cookies)
        directory.entries[name] = (cookie, node)
        directory.cookies[cookie] = name
        if node.kind is FileType.DIRECTORY:
            node.above = directory
            directory.nlink += 1
        self.changed(directory, content=True)

    def leave(self, directory: MemoryNode, name: bytes) -> MemoryNode:
        cookie, node = directory.entries.pop(name)
        del directory.cookies[cookie]
        if node.kind is FileType.DIRECTORY:
            directory.nlink -= 1
        self.changed(directory, content=True)
        return node

    def unlink(self, node: MemoryNode) -> None:
        """Note that a node has lost a name."""
        node.nlink = 0 if node.kind is FileType.DIRECTORY else node.nlink - 1
        self.changed(node)
        self.forget_unused(node)

    def forget_unused(self, node: MemoryNode) -> None:
        """Drop a node that has no name and is not open."""
        if node.nlink == 0 and not node.opens:
            self.nodes.pop(node.key, None)

    def make(
        self, above: MemoryNode, name: bytes, kind: FileType, settings: Settings, default_mode: int
    ) -> MemoryNode:
        """Make a node and enter it. Raises STALE for a directory that is removed, EXIST for a taken name."""
        if above.nlink == 0:
            raise NFSError(Status.STALE)
        if name in above.entries:
            raise NFSError(Status.EXIST)
        node = MemoryNode(next(self._numbers), kind, default_mode, self._clock_ns())
        if kind is FileType.DIRECTORY:
            node.nlink = 2
        self.nodes[node.key] = node
        self.set_attributes(node, settings)
        if above.mode & stat.S_ISGID:
            # As Linux has it: the group, and in directories the bit, are passed on.
            node.gid = above.gid if settings.gid is None else settings.gid
            node.mode |= stat.S_ISGID if kind is FileType.DIRECTORY else 0
        self.enter(above, name, node)
        return node

    def set_attributes(self, node: MemoryNode, settings: Settings) -> None:
        now = self._clock_ns()
        if settings.mode is not None and node.kind is not FileType.SYMLINK:
            node.mode = settings.mode
        if settings.uid is not None:
            node.uid = settings.uid
        if settings.gid is not None:
            node.gid = settings.gid
        if settings.size is not None:
            node.content.truncate(settings.size)
            node.mtime_ns = now
        if settings.atime_ns is not None:
            node.atime_ns = now if isinstance(settings.atime_ns, Now) else settings.atime_ns
        if settings.mtime_ns is not None:
            node.mtime_ns = now if isinstance(settings.mtime_ns, Now) else settings.mtime_ns
