"""A filesystem in memory: what the tests of the server run on, and scratch space.

Strategy: it is the plainest thing that keeps every promise of `Filesystem`, so that the contract can be
read here.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

from womm.nfs.backends.memorytree import MemoryNode, MemoryTree
from womm.nfs.constants import FileType
from womm.nfs.filesystem import (
    Attributes,
    Change,
    Entry,
    File,
    Limits,
    Listing,
    Node,
    Settings,
    Space,
)
from womm.nfs.status import NFSError, Status


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
        self._tree = MemoryTree(clock_ns)

    def __repr__(self) -> str:
        return f"<MemoryFilesystem {len(self._tree.nodes)} nodes, {self.open_files} open>"

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def root(self) -> MemoryNode:
        return self._tree.root

    def find(self, key: bytes) -> MemoryNode | None:
        return None if self.away else self._tree.nodes.get(key)

    async def resolve(self, key: bytes) -> MemoryNode:
        self._here()
        found = self._tree.nodes.get(key)
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
        if node.key not in self._tree.nodes:
            raise NFSError(Status.STALE)
        return node

    def _make(
        self, directory: Node, name: bytes, kind: FileType, settings: Settings, default_mode: int
    ) -> tuple[MemoryNode, Change]:
        above = self._node(directory)
        before = above.change
        node = self._tree.make(above, name, kind, settings, default_mode)
        return node, Change(before, above.change, True)

    # -- attributes -------------------------------------------------------------------------------
    async def getattr(self, node: Node, want: int) -> Attributes:
        return self._node(node).attributes()

    async def setattr(self, node: Node, settings: Settings, file: File | None) -> None:
        found = self._node(node)
        self._tree.set_attributes(found, settings)
        self._tree.changed(found)

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
            entries.append(Entry(number, name, node.key, node.attributes()))
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
        self._tree.enter(above, name, found)
        found.nlink += 1
        self._tree.changed(found)
        return Change(before, above.change, True)

    async def remove(self, directory: Node, name: bytes) -> Change:
        above = self._node(directory)
        found = above.entries.get(name)
        if found is None:
            raise NFSError(Status.NOENT)
        if found[1].entries:
            raise NFSError(Status.NOTEMPTY)
        before = above.change
        self._tree.unlink(self._tree.leave(above, name))
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
            self._tree.unlink(self._tree.leave(below, new))
        self._tree.leave(above, old)
        self._tree.enter(below, new, node)
        self._tree.changed(node)
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
        self._tree.forget_unused(file.node)

    async def read(self, file: File, offset: int, count: int) -> tuple[bytes, bool]:
        content = self._file(file).content
        data = content.read(offset, count)
        return data, offset + len(data) >= content.size

    async def write(self, file: File, offset: int, data: memoryview, sync: bool) -> int:
        node = self._file(file)
        node.content.write(offset, data)
        node.verifier = None
        self._tree.changed(node, content=True)
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
        self._tree.changed(node, content=True)

    async def deallocate(self, file: File, offset: int, length: int) -> None:
        node = self._file(file)
        node.content.punch(offset, length)
        self._tree.changed(node, content=True)

    async def copy(self, source: File, offset: int, target: File, target_offset: int, count: int) -> int:
        data = self._file(source).content.read(offset, min(count, 1 << 20))
        node = self._file(target)
        node.content.write(target_offset, data)
        self._tree.changed(node, content=True)
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
        self._tree.changed(found)
        return Change(before, found.change, True)

    async def listxattr(self, node: Node) -> Sequence[bytes]:
        return list(self._node(node).xattrs)

    async def removexattr(self, node: Node, name: bytes) -> Change:
        found = self._node(node)
        if name not in found.xattrs:
            raise NFSError(Status.NOXATTR)
        before = found.change
        del found.xattrs[name]
        self._tree.changed(found)
        return Change(before, found.change, True)
