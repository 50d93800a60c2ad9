"""New names: CREATE, OPEN that creates, LINK: `Creations`."""

import stat as modes
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.contents.fetch import OpenFile
from womm.fileserver.operations.attributes import AttributeChanges
from womm.fileserver.operations.changing import NameChanges, look_at
from womm.fileserver.operations.opens import Opens
from womm.fileserver.tree.lookup import TRIES
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.use import Handle
from womm.nfs.constants import FileType
from womm.nfs.filesystem import Change, Node, Settings
from womm.nfs.status import NFSError, Status
from womm.wire.attributes import NewAttributes
from womm.wire.extensions import Mknod, pack_request
from womm.wire.fields import string
from womm.wire.sftp import Disposition, Kind

FILE_MODE: Final = 0o1777
"""The bits of a file's mode that the user's side sets."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a client wants a file to be made and opened; see `Filesystem.create`."""

    settings: Settings
    verifier: bytes | None
    exclusive: bool
    access: int


class Creations:
    """Makes files, directories and other objects on the user's side, for clients."""

    def __init__(self, names: NameChanges, attributes: AttributeChanges, opens: Opens) -> None:
        self._names = names
        self._lookup, self._tree = names.lookup, names.lookup.tree
        self._contents = names.contents
        self._doubts = names.doubts
        self._attributes = attributes
        self._opens = opens

    async def create(
        self,
        directory: Node,
        name: bytes,
        wanted: Wanted,
    ) -> tuple[FileNode, OpenFile, Change, bool]:
        """Make a regular file and open it; open the one that is there. Raises NFSError, OSError."""
        above = self._names.below(directory, name)[0]
        for _ in range(TRIES):
            node = self._lookup.known(above, name)
            if node is None:
                async with self._lookup.turns.take((above.fileid, name)):
                    node = await self._names.taken(above, name)
                    made = await self._create(above, name, wanted) if node is None else None
                if made is not None:
                    node, file, change = made
                    if file is not None:
                        # After the turn: to set attributes takes it again.
                        return await self._new(node, file, change, wanted.settings)
                assert node is not None
            try:
                return await self._create_there(above, name, node, wanted)
            except NFSError as exc:
                if exc.status is not Status.STALE:
                    raise  # else it was replaced or removed meanwhile
        raise NFSError(Status.DELAY)

    async def _create_there(
        self,
        above: FileNode,
        name: bytes,
        node: FileNode,
        wanted: Wanted,
    ) -> tuple[FileNode, OpenFile, Change, bool]:
        """Open the file that was to be made and is there. Raises STALE when it is not there any more."""
        if node.kind is FileType.DIRECTORY:
            raise NFSError(Status.EXIST if wanted.exclusive else Status.ISDIR)
        done = self._doubts.take(("create", above.fileid, name)) is not None
        same = wanted.verifier is not None and node.use.verifier == wanted.verifier
        mine = done and node.stat is not None and node.stat.size == 0
        if wanted.exclusive and not mine and not same:
            raise NFSError(Status.EXIST)
        if node.kind is FileType.SYMLINK:
            raise NFSError(Status.SYMLINK)
        file = await self._opens.open(node, wanted.access)
        if mine:
            node.use.created(wanted.verifier)
        return node, file, Change(above.change, above.change, True), mine

    async def _new(
        self, node: FileNode, file: OpenFile, change: Change, settings: Settings
    ) -> tuple[FileNode, OpenFile, Change, bool]:
        try:
            mode = 0o644 if settings.mode is None else settings.mode & 0o7777
            await self._finish(node, settings, settings.mode and mode)
        except BaseException:
            self._contents.close(file)
            raise
        return node, file, change, True

    async def _create(
        self,
        above: FileNode,
        name: bytes,
        wanted: Wanted,
    ) -> tuple[FileNode, OpenFile | None, Change]:
        """Make a file, in the turn of its name; without an open file it is one that was there."""
        mode = 0o644 if wanted.settings.mode is None else wanted.settings.mode & 0o7777
        _, path, session = self._names.below(above, name)
        doubt = ("create", above.fileid, name)
        with self._tree.freshness.changing((above, name)):
            stamp = self._tree.freshness.stamp()
            opened = session.open(path, Disposition.CREATE_NEW, write=True, mode=mode)
            looks = look_at(session, path, above.path())
            try:
                raw = await self._doubts.sure(opened, doubt)
            except FileExistsError:
                found = await self._names.in_the_way(above, name, looks[0], stamp)
                if found is None:
                    raise NFSError(Status.DELAY) from None  # the user has removed it since
                return found, None, Change(above.change, above.change, True)
            try:
                node, change = await self._names.made(above, name, looks, stamp, doubt)
            except BaseException:
                session.close(raw).add_done_callback(sftp.ignore)
                raise
        node.use.opened()
        self._contents.handles.keep(node, Handle(session, raw, True))
        node.use.created(wanted.verifier)
        return node, OpenFile(node, wanted.access), change

    async def _finish(self, node: FileNode, settings: Settings, mode: int | None) -> None:
        """Set what making a file did not: the user's umask may have taken bits away.

        A directory keeps the setgid bit that it got from the one above; a file has no such bits.
        """
        if mode is not None and node.stat is not None:
            mode = mode | node.stat.mode & modes.S_ISGID if node.directory is not None else mode & FILE_MODE
        wrong = mode is not None and node.stat is not None and (node.stat.mode & 0o7777) != mode
        if wrong or settings.atime_ns is not None or settings.mtime_ns is not None or settings.size:
            mode = mode if wrong else None
            await self._attributes.set(node, replace(settings, mode=mode, size=settings.size or None))

    async def _make(
        self,
        directory: Node,
        name: bytes,
        request: Callable[[bytes], tuple[Kind, bytes]],
        settings: Settings,
        mode: int | None,
    ) -> tuple[FileNode, Change]:
        """Make an object that is no regular file; `request` gives what to send for a path."""
        above = self._names.below(directory, name)[0]
        async with self._lookup.turns.take((above.fileid, name)):
            kind, body = request(self._names.below(above, name)[1])
            doubt = (kind, above.fileid, name, body)
            if await self._names.taken(above, name) is not None and not self._doubts.has(doubt):
                raise NFSError(Status.EXIST)
            _, path, session = self._names.below(above, name)
            with self._tree.freshness.changing((above, name)):
                stamp = self._tree.freshness.stamp()
                made = session.send(kind, body)
                looks = look_at(session, path, above.path())
                try:
                    await self._doubts.sure(made, doubt)
                except FileExistsError:
                    if self._doubts.take(doubt) is None:
                        await self._names.in_the_way(above, name, looks[0], stamp)
                        raise
                node, change = await self._names.made(above, name, looks, stamp, doubt)
        await self._finish(node, settings, mode)
        return node, change

    async def mkdir(self, directory: Node, name: bytes, settings: Settings) -> tuple[FileNode, Change]:
        mode = 0o755 if settings.mode is None else settings.mode & 0o7777

        def request(path: bytes) -> tuple[Kind, bytes]:
            return Kind.MKDIR, string(path) + NewAttributes(permissions=mode).pack()

        return await self._make(directory, name, request, settings, settings.mode and mode)

    async def symlink(
        self, directory: Node, name: bytes, target: bytes, settings: Settings
    ) -> tuple[FileNode, Change]:
        def request(path: bytes) -> tuple[Kind, bytes]:
            return Kind.LINK, string(path) + string(target) + b"\x01"

        plain = Settings(atime_ns=settings.atime_ns, mtime_ns=settings.mtime_ns)
        return await self._make(directory, name, request, plain, None)

    async def mknod(
        self, directory: Node, name: bytes, kind: FileType, settings: Settings
    ) -> tuple[FileNode, Change]:
        kinds = {FileType.FIFO: modes.S_IFIFO, FileType.SOCKET: modes.S_IFSOCK}
        if kind not in kinds:
            raise NFSError(Status.PERM)
        mode = 0o644 if settings.mode is None else settings.mode & 0o7777

        def request(path: bytes) -> tuple[Kind, bytes]:
            return Kind.EXTENDED, pack_request(Mknod(path, kinds[kind] | mode))

        return await self._make(directory, name, request, settings, settings.mode and mode)

    async def link(self, node: FileNode, directory: Node, name: bytes) -> Change:
        above = self._names.below(directory, name)[0]
        doubt = ("link", above.fileid, name, node.fileid)
        if self._lookup.known(above, name) is not None and not self._doubts.has(doubt):
            raise NFSError(Status.EXIST)
        async with self._names.staying(node, (above.fileid, name)):
            if await self._names.taken(above, name) is not None and not self._doubts.has(doubt):
                raise NFSError(Status.EXIST)
            if node.gone:
                raise NFSError(Status.STALE)
            _, path, session = self._names.below(above, name)
            with self._tree.freshness.changing((above, name), *node.links):
                stamp = self._tree.freshness.stamp()
                made = session.link(path, node.path())
                looks = look_at(session, path, above.path())
                try:
                    await self._doubts.sure(made, doubt)
                except FileExistsError:
                    in_doubt = self._doubts.take(doubt) is not None
                    if await self._names.in_the_way(above, name, looks[0], stamp) is not node or not in_doubt:
                        raise
                _, change = await self._names.made(above, name, looks, stamp, doubt)
                node.changed()
        return change
