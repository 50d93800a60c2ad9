"""The user's folder as a backend of the NFS server: `CachedFilesystem`.

Names and attributes come from the tree, bytes from the contents; what clients change goes to the user's side
by `operations`. The class has one method for each operation of `Filesystem`, which is more than other classes
may have: the methods choose the part that does it, and do nothing else.
"""

from collections.abc import Sequence

from womm.fileserver.contents.contents import Contents
from womm.fileserver.contents.fetch import OpenFile
from womm.fileserver.operations.attributes import AttributeChanges
from womm.fileserver.operations.changing import NameChanges
from womm.fileserver.operations.creations import Creations, Wanted
from womm.fileserver.operations.data import FileData
from womm.fileserver.operations.opens import Opens
from womm.fileserver.operations.removals import Removals
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.nodes import FileNode, attributes_of
from womm.fileserver.tree.tree import ROOT
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
from womm.nfs.status import NFSError, Status, status_of


class CachedFilesystem:
    """The folder behind `lookup`; everything belongs to `uid` and `gid`."""

    inline = True
    limits = Limits(xattrs=False)

    def __init__(self, lookup: Lookup, contents: Contents, uid: int, gid: int) -> None:
        self._lookup = lookup
        self._tree = lookup.tree
        self._contents = contents
        self._uses = contents.uses
        self._link = lookup.link
        self._uid = uid
        self._gid = gid
        names = NameChanges(lookup, contents)
        self._attributes = AttributeChanges(names)
        self._opens = Opens(lookup, contents)
        self._creations = Creations(names, self._attributes, self._opens)
        self._removals = Removals(names)
        self._data = FileData(lookup, contents, self._attributes)

    def __repr__(self) -> str:
        return f"<CachedFilesystem {self._tree!r} {self._contents!r}>"

    def own(self, uid: int, gid: int) -> None:
        """Have everything belong to another user from now on."""
        self._uid, self._gid = uid, gid

    async def start(self) -> None:
        self._contents.start()

    async def stop(self) -> None:
        await self._contents.stop()
        await self._lookup.stop()

    # -- nodes ------------------------------------------------------------------------------------
    def root(self) -> FileNode:
        return self._tree.root

    def find(self, key: bytes) -> FileNode | None:
        return self._tree.nodes.get(int.from_bytes(key, "big")) if len(key) == 8 else None

    async def resolve(self, key: bytes) -> FileNode:
        if len(key) != 8:
            raise NFSError(Status.BADHANDLE)
        node = self._tree.resolve(int.from_bytes(key, "big"))
        if node is None:
            # Perhaps an earlier server's, whose names are yet to come.
            raise NFSError(Status.DELAY if self._link.held else Status.STALE)
        return node

    async def getattr(self, node: Node, want: int) -> Attributes:
        assert isinstance(node, FileNode)
        if not self._lookup.is_fresh(node):
            await self._lookup.fresh(node)
        return attributes_of(node, self._uid, self._gid)

    async def lookup(self, directory: Node, name: bytes) -> FileNode:
        assert isinstance(directory, FileNode)
        try:
            node = await self._lookup.lookup(directory, name)
        except NFSError as exc:
            if exc.status is Status.NOENT:
                self._uses.absent(directory, name)
            raise
        self._uses.named(node)
        return node

    async def parent(self, directory: Node) -> FileNode:
        assert isinstance(directory, FileNode)
        if directory.fileid == ROOT:
            raise NFSError(Status.NOENT)
        if not directory.links:
            raise NFSError(Status.STALE)
        return directory.links[0][0]

    async def readdir(self, directory: Node, cookie: int, want: int, count: int) -> Listing:
        assert isinstance(directory, FileNode)
        await self._lookup.list_names(directory)
        self._uses.listed(directory)
        names = self._tree.directory(directory)
        found, eof = names.after(cookie, count)
        entries = []
        for number, name in found:
            node = names.entries.get(name)
            if node is None:
                continue
            attributes: Attributes | Status
            try:
                if not self._lookup.is_fresh(node):
                    await self._lookup.fresh(node)
                attributes = attributes_of(node, self._uid, self._gid)
            except NFSError as exc:
                if exc.status is Status.STALE:
                    continue
                attributes = exc.status
            except OSError as exc:
                attributes = status_of(exc)
            entries.append(Entry(number, name, node.key, attributes))
        return Listing(entries, eof)

    async def readlink(self, node: Node) -> bytes:
        assert isinstance(node, FileNode)
        target = await self._lookup.target(node)
        self._uses.named(node)  # its name may have come by a listing
        return target

    async def statfs(self) -> Space:
        return await self._contents.disk.space()

    # -- changes of names and attributes ----------------------------------------------------------
    async def create(
        self,
        directory: Node,
        name: bytes,
        settings: Settings,
        *,
        verifier: bytes | None,
        exclusive: bool,
        access: int,
    ) -> tuple[FileNode, OpenFile, Change, bool]:
        wanted = Wanted(settings, verifier, exclusive, access)
        return await self._creations.create(directory, name, wanted)

    async def mkdir(self, directory: Node, name: bytes, settings: Settings) -> tuple[FileNode, Change]:
        return await self._creations.mkdir(directory, name, settings)

    async def symlink(
        self, directory: Node, name: bytes, target: bytes, settings: Settings
    ) -> tuple[FileNode, Change]:
        return await self._creations.symlink(directory, name, target, settings)

    async def mknod(
        self, directory: Node, name: bytes, kind: FileType, device: tuple[int, int], settings: Settings
    ) -> tuple[FileNode, Change]:
        return await self._creations.mknod(directory, name, kind, settings)

    async def link(self, node: Node, directory: Node, name: bytes) -> Change:
        assert isinstance(node, FileNode)
        return await self._creations.link(node, directory, name)

    async def remove(self, directory: Node, name: bytes) -> Change:
        return await self._removals.remove(directory, name)

    async def rename(self, source: Node, old: bytes, target: Node, new: bytes) -> tuple[Change, Change]:
        return await self._removals.rename(source, old, target, new)

    async def setattr(self, node: Node, settings: Settings, file: File | None) -> None:
        assert isinstance(node, FileNode)
        await self._attributes.setattr(node, settings)

    # -- open files -------------------------------------------------------------------------------
    async def open(self, node: Node, access: int) -> OpenFile:
        assert isinstance(node, FileNode)
        return await self._opens.open(node, access)

    async def close(self, file: File) -> None:
        assert isinstance(file, OpenFile)
        self._contents.close(file)

    async def read(self, file: File, offset: int, count: int) -> tuple[bytes, bool]:
        assert isinstance(file, OpenFile)
        return await self._contents.reader.read(file, offset, count)

    async def write(self, file: File, offset: int, data: memoryview, sync: bool) -> int:
        assert isinstance(file, OpenFile)
        return await self._contents.writer.write(file, offset, data, sync)

    async def commit(self, node: Node, file: File | None) -> None:
        assert isinstance(node, FileNode)
        await self._contents.writer.commit(node)

    async def seek(self, file: File, offset: int, data: bool) -> int | None:
        assert isinstance(file, OpenFile)
        return await self._data.seek(file, offset, data)

    async def allocate(self, file: File, offset: int, length: int) -> None:
        assert isinstance(file, OpenFile)
        await self._data.allocate(file, offset, length)

    async def deallocate(self, file: File, offset: int, length: int) -> None:
        assert isinstance(file, OpenFile)
        await self._data.deallocate(file, offset, length)

    async def copy(self, source: File, offset: int, target: File, target_offset: int, count: int) -> int:
        assert isinstance(source, OpenFile) and isinstance(target, OpenFile)
        return await self._data.copy(source, offset, target, target_offset, count)

    # -- extended attributes: SFTP has none -------------------------------------------------------
    async def getxattr(self, node: Node, name: bytes) -> bytes:
        raise NFSError(Status.NOTSUPP)

    async def setxattr(self, node: Node, name: bytes, value: bytes, how: int) -> Change:
        raise NFSError(Status.NOTSUPP)

    async def listxattr(self, node: Node) -> Sequence[bytes]:
        raise NFSError(Status.NOTSUPP)

    async def removexattr(self, node: Node, name: bytes) -> Change:
        raise NFSError(Status.NOTSUPP)
