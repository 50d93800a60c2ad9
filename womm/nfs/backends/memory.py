"""A filesystem in memory: what the tests of the server run on, and scratch space.

Strategy: it is the plainest thing that keeps every promise of `Filesystem`, so that the contract can be
read here. Contents are sparse: blocks of 64 KiB by their number. Cookies number the entries of a directory
in the order in which they were made, so they never move.
"""

import itertools
import stat
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from womm.nfs.constants import FileType
from womm.nfs.filesystem import (
    Attributes,
    Change,
    Entry,
    File,
    Limits,
    Listing,
    Node,
    Now,
    Settings,
    Space,
)
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


class MemoryFile:
    """An open file."""

    __slots__ = ("access", "closed", "node")

    def __init__(self, node: MemoryNode, access: int) -> None:
        self.node = node
        self.access = access
        self.closed = False


class MemoryFilesystem:
    """Files in memory, gone with the object. `clock_ns` is the time of files; `away`: everything is DELAY.

    `open_files` counts what is open: tests see leaks by it.
    """

    inline = True

    def __init__(self, *, clock_ns: Callable[[], int] = time.time_ns, limits: Limits | None = None) -> None:
        self.limits = limits or Limits(xattrs=True)
        self.away = False
        self.open_files = 0
        self._clock_ns = clock_ns
        self._numbers = itertools.count(2)
        self._cookies = itertools.count(_FIRST_COOKIE)
        self._root = MemoryNode(1, FileType.DIRECTORY, 0o755, clock_ns())
        self._root.nlink = 2
        self._nodes: dict[bytes, MemoryNode] = {self._root.key: self._root}

    def __repr__(self) -> str:
        return f"<MemoryFilesystem {len(self._nodes)} nodes, {self.open_files} open>"

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def root(self) -> MemoryNode:
        return self._root

    def find(self, key: bytes) -> MemoryNode | None:
        return None if self.away else self._nodes.get(key)

    async def resolve(self, key: bytes) -> MemoryNode:
        self._here()
        found = self._nodes.get(key)
        if found is None:
            raise NFSError(Status.STALE)
        return found

    # -- helpers ----------------------------------------------------------------------------------
    def _here(self) -> None:
        if self.away:
            raise NFSError(Status.DELAY)

    def _node(self, node: Node) -> MemoryNode:
        self._here()
        assert isinstance(node, MemoryNode)
        if node.key not in self._nodes:
            raise NFSError(Status.STALE)
        return node

    def _changed(self, node: MemoryNode, *, content: bool = False) -> None:
        node.change += 1
        node.ctime_ns = self._clock_ns()
        if content:
            node.mtime_ns = node.ctime_ns

    def _enter(self, directory: MemoryNode, name: bytes, node: MemoryNode) -> None:
        cookie = next(self._cookies)
        directory.entries[name] = (cookie, node)
        directory.cookies[cookie] = name
        if node.kind is FileType.DIRECTORY:
            node.above = directory
            directory.nlink += 1
        self._changed(directory, content=True)

    def _leave(self, directory: MemoryNode, name: bytes) -> MemoryNode:
        cookie, node = directory.entries.pop(name)
        del directory.cookies[cookie]
        if node.kind is FileType.DIRECTORY:
            directory.nlink -= 1
        self._changed(directory, content=True)
        return node

    def _unlink(self, node: MemoryNode) -> None:
        node.nlink = 0 if node.kind is FileType.DIRECTORY else node.nlink - 1
        self._changed(node)
        if node.nlink == 0 and not node.opens:
            self._nodes.pop(node.key, None)

    def _make(
        self, directory: Node, name: bytes, kind: FileType, settings: Settings, default: int
    ) -> tuple[MemoryNode, Change]:
        above = self._node(directory)
        if above.nlink == 0:
            raise NFSError(Status.STALE)
        if name in above.entries:
            raise NFSError(Status.EXIST)
        node = MemoryNode(next(self._numbers), kind, default, self._clock_ns())
        if kind is FileType.DIRECTORY:
            node.nlink = 2
        self._nodes[node.key] = node
        self._set(node, settings)
        if above.mode & stat.S_ISGID:
            # As Linux has it: the group, and in directories the bit, are passed on.
            node.gid = above.gid if settings.gid is None else settings.gid
            node.mode |= stat.S_ISGID if kind is FileType.DIRECTORY else 0
        before = above.change
        self._enter(above, name, node)
        return node, Change(before, above.change, True)

    def _set(self, node: MemoryNode, settings: Settings) -> None:
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

    # -- attributes -------------------------------------------------------------------------------
    async def getattr(self, node: Node, want: int) -> Attributes:
        return self._attributes(self._node(node))

    @staticmethod
    def _attributes(node: MemoryNode) -> Attributes:
        size = {FileType.DIRECTORY: len(node.entries), FileType.SYMLINK: len(node.target)}.get(
            node.kind, node.content.size
        )
        return Attributes(
            node.kind,
            node.ino,
            node.change,
            size,
            node.mode,
            node.nlink,
            node.uid,
            node.gid,
            len(node.content.blocks) * BLOCK_BYTES,
            *node.device,
            node.atime_ns,
            node.mtime_ns,
            node.ctime_ns,
        )

    async def setattr(self, node: Node, settings: Settings, file: File | None) -> None:
        found = self._node(node)
        self._set(found, settings)
        self._changed(found)

    # -- names ------------------------------------------------------------------------------------
    async def lookup(self, directory: Node, name: bytes) -> MemoryNode:
        found = self._node(directory).entries.get(name)
        if found is None:
            raise NFSError(Status.NOENT)
        return found[1]

    async def parent(self, directory: Node) -> MemoryNode:
        above = self._node(directory).above
        if above is None:
            raise NFSError(Status.NOENT)
        return above

    async def readdir(self, directory: Node, cookie: int, want: int, count: int) -> Listing:
        found = self._node(directory)
        order = list(found.cookies)
        rest = order[bisect_right(order, cookie) :]
        entries = []
        for number in rest[:count]:
            name = found.cookies[number]
            node = found.entries[name][1]
            entries.append(Entry(number, name, node.key, self._attributes(node)))
        return Listing(entries, len(rest) <= count)

    async def readlink(self, node: Node) -> bytes:
        return self._node(node).target

    async def create(
        self,
        directory: Node,
        name: bytes,
        settings: Settings,
        *,
        verifier: bytes | None,
        exclusive: bool,
        access: int,
    ) -> tuple[MemoryNode, MemoryFile, Change, bool]:
        above = self._node(directory)
        found = above.entries.get(name)
        if found is None:
            node, change = self._make(directory, name, FileType.REGULAR, settings, 0o644)
            node.verifier = verifier
            return node, self._open(node, access), change, True
        node = found[1]
        if exclusive and (verifier is None or node.verifier != verifier):
            raise NFSError(Status.EXIST)
        if node.kind is not FileType.REGULAR:
            raise NFSError(Status.ISDIR if node.kind is FileType.DIRECTORY else Status.SYMLINK)
        return node, self._open(node, access), Change(above.change, above.change, True), False

    async def mkdir(self, directory: Node, name: bytes, settings: Settings) -> tuple[MemoryNode, Change]:
        return self._make(directory, name, FileType.DIRECTORY, settings, 0o755)

    async def symlink(
        self, directory: Node, name: bytes, target: bytes, settings: Settings
    ) -> tuple[MemoryNode, Change]:
        node, change = self._make(directory, name, FileType.SYMLINK, settings, 0o777)
        node.target = target
        return node, change

    async def mknod(
        self, directory: Node, name: bytes, kind: FileType, device: tuple[int, int], settings: Settings
    ) -> tuple[MemoryNode, Change]:
        node, change = self._make(directory, name, kind, settings, 0o644)
        node.device = device
        return node, change

    async def link(self, node: Node, directory: Node, name: bytes) -> Change:
        found, above = self._node(node), self._node(directory)
        if name in above.entries:
            raise NFSError(Status.EXIST)
        if found.nlink == 0:
            raise NFSError(Status.STALE)
        before = above.change
        self._enter(above, name, found)
        found.nlink += 1
        self._changed(found)
        return Change(before, above.change, True)

    async def remove(self, directory: Node, name: bytes) -> Change:
        above = self._node(directory)
        found = above.entries.get(name)
        if found is None:
            raise NFSError(Status.NOENT)
        if found[1].entries:
            raise NFSError(Status.NOTEMPTY)
        before = above.change
        self._unlink(self._leave(above, name))
        return Change(before, above.change, True)

    async def rename(self, source: Node, old: bytes, target: Node, new: bytes) -> tuple[Change, Change]:
        above, below = self._node(source), self._node(target)
        found, there = above.entries.get(old), below.entries.get(new)
        if found is None:
            raise NFSError(Status.NOENT)
        node = found[1]
        before, target_before = above.change, below.change
        step: MemoryNode | None = below
        while step is not None:
            if step is node:
                raise NFSError(Status.INVAL)  # into itself
            step = step.above
        if there is not None:
            replaced = there[1]
            if replaced is node:
                return Change(before, before, True), Change(target_before, target_before, True)
            if (replaced.kind is FileType.DIRECTORY) != (node.kind is FileType.DIRECTORY) or replaced.entries:
                raise NFSError(Status.EXIST)
            self._unlink(self._leave(below, new))
        self._leave(above, old)
        self._enter(below, new, node)
        self._changed(node)
        return Change(before, above.change, True), Change(target_before, below.change, True)

    # -- open files -------------------------------------------------------------------------------
    def _open(self, node: MemoryNode, access: int) -> MemoryFile:
        node.opens += 1
        self.open_files += 1
        return MemoryFile(node, access)

    def _file(self, file: File) -> MemoryNode:
        self._here()
        assert isinstance(file, MemoryFile)
        assert not file.closed
        return file.node

    async def open(self, node: Node, access: int) -> MemoryFile:
        found = self._node(node)
        if found.kind is not FileType.REGULAR:
            raise NFSError(Status.INVAL)
        return self._open(found, access)

    async def close(self, file: File) -> None:
        assert isinstance(file, MemoryFile)
        assert not file.closed
        file.closed = True
        file.node.opens -= 1
        self.open_files -= 1
        if file.node.nlink == 0 and not file.node.opens:
            self._nodes.pop(file.node.key, None)

    async def read(self, file: File, offset: int, count: int) -> tuple[bytes, bool]:
        content = self._file(file).content
        data = content.read(offset, count)
        return data, offset + len(data) >= content.size

    async def write(self, file: File, offset: int, data: memoryview, sync: bool) -> int:
        node = self._file(file)
        node.content.write(offset, data)
        node.verifier = None
        self._changed(node, content=True)
        return len(data)

    async def commit(self, node: Node, file: File | None) -> None:
        self._node(node)

    async def seek(self, file: File, offset: int, data: bool) -> int | None:
        content = self._file(file).content
        if offset >= content.size:
            raise NFSError(Status.NXIO)
        return content.seek(offset, data)

    async def allocate(self, file: File, offset: int, length: int) -> None:
        node = self._file(file)
        node.content.size = max(node.content.size, offset + length)
        self._changed(node, content=True)

    async def deallocate(self, file: File, offset: int, length: int) -> None:
        node = self._file(file)
        node.content.punch(offset, length)
        self._changed(node, content=True)

    async def copy(self, source: File, offset: int, target: File, target_offset: int, count: int) -> int:
        data = self._file(source).content.read(offset, min(count, 1 << 20))
        node = self._file(target)
        node.content.write(target_offset, data)
        self._changed(node, content=True)
        return len(data)

    async def statfs(self) -> Space:
        self._here()
        return Space(1 << 40, 1 << 39, 1 << 39, 1 << 20, 1 << 19, 1 << 19)

    # -- extended attributes ----------------------------------------------------------------------
    async def getxattr(self, node: Node, name: bytes) -> bytes:
        value = self._node(node).xattrs.get(name)
        if value is None:
            raise NFSError(Status.NOXATTR)
        return value

    async def setxattr(self, node: Node, name: bytes, value: bytes, how: int) -> Change:
        found = self._node(node)
        if how == 1 and name in found.xattrs:
            raise NFSError(Status.EXIST)
        if how == 2 and name not in found.xattrs:
            raise NFSError(Status.NOXATTR)
        before = found.change
        found.xattrs[name] = value
        self._changed(found)
        return Change(before, found.change, True)

    async def listxattr(self, node: Node) -> Sequence[bytes]:
        return list(self._node(node).xattrs)

    async def removexattr(self, node: Node, name: bytes) -> Change:
        found = self._node(node)
        if name not in found.xattrs:
            raise NFSError(Status.NOXATTR)
        before = found.change
        del found.xattrs[name]
        self._changed(found)
        return Change(before, found.change, True)
