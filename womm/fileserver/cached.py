"""The user's folder as a backend of the NFS server: `CachedFilesystem`.

Strategy: names and attributes are the tree's business, bytes that of the contents; here are the changes of
names. They are made on the user's side before they are answered, in one round trip: the request, and the
questions what the file and its directory look like after it, are sent together.
"""

import asyncio
import errno
import stat as modes
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.contents.contents import Contents
from womm.fileserver.contents.fetch import OpenFile
from womm.fileserver.sftp import Session
from womm.fileserver.tree.changes import Stamp
from womm.fileserver.tree.doubts import Doubt, Doubts
from womm.fileserver.tree.nodes import FileNode, Handle
from womm.fileserver.tree.tree import ROOT, TRIES, Tree, ask
from womm.fileserver.tree.turns import Place
from womm.nfs.constants import SHARE_WRITE, FileType
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
from womm.nfs.status import NFSError, Status, status_of
from womm.wire.attributes import NewAttributes, Stat
from womm.wire.extensions import Mknod, Position, Seek, pack_request
from womm.wire.fields import string
from womm.wire.sftp import Disposition, Kind

COPY_BYTES: Final = 1 << 20
PUNCH_BYTES: Final = 1 << 26
"""A hole is written as zeros: larger ones are refused."""
FILE_MODE: Final = 0o1777
"""Of a file, what the user's side sets."""


def _looks(session: Session, *paths: bytes) -> "list[asyncio.Future[sftp.Reply]]":
    """Ask what files look like after what was asked for before."""
    waiters = [session.lstat(path) for path in paths]
    for waiter in waiters:
        waiter.add_done_callback(sftp.ignore)
    return waiters


class CachedFilesystem:
    """The folder behind `tree`; everything belongs to `uid` and `gid`."""

    inline = True
    limits = Limits(xattrs=False)

    def __init__(self, tree: Tree, contents: Contents, uid: int, gid: int) -> None:
        self._tree = tree
        self._contents = contents
        self._link = tree.link
        self._uid = uid
        self._gid = gid
        self._doubts = Doubts(tree.table, tree.link)

    def __repr__(self) -> str:
        return f"<CachedFilesystem {self._tree!r} {self._contents!r}>"

    def own(self, uid: int, gid: int) -> None:
        """Have everything belong to another user from now on."""
        self._uid, self._gid = uid, gid

    async def start(self) -> None:
        self._contents.start()

    async def stop(self) -> None:
        await self._contents.stop()
        await self._tree.stop()

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
        if node.valid != self._tree.epoch or node.stat is None:
            await self._tree.fresh(node)
        return node.attributes(self._uid, self._gid)

    async def lookup(self, directory: Node, name: bytes) -> FileNode:
        assert isinstance(directory, FileNode)
        return await self._tree.lookup(directory, name)

    async def parent(self, directory: Node) -> FileNode:
        assert isinstance(directory, FileNode)
        if directory.fileid == ROOT:
            raise NFSError(Status.NOENT)
        if not directory.places:
            raise NFSError(Status.STALE)
        return directory.places[0][0]

    async def readdir(self, directory: Node, cookie: int, want: int, count: int) -> Listing:
        assert isinstance(directory, FileNode)
        await self._tree.list_names(directory)
        names = self._tree.directory(directory)
        found, eof = names.after(cookie, count)
        entries = []
        for number, name in found:
            node = names.entries.get(name)
            if node is None:
                continue
            attributes: Attributes | Status
            try:
                if node.valid != self._tree.epoch or node.stat is None:
                    await self._tree.fresh(node)
                attributes = node.attributes(self._uid, self._gid)
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
        if node.target is None or node.valid != self._tree.epoch:
            await self._tree.fresh(node)
            if node.target is None:
                reply = await ask(self._link.session().readlink(node.path()))
                node.target = sftp.as_names(reply)[0][0][0]
        return node.target

    async def statfs(self) -> Space:
        return await self._contents.space()

    # -- what changes names -----------------------------------------------------------------------
    def _below(self, directory: Node, name: bytes) -> tuple[FileNode, bytes, Session]:
        """Return a directory, the path of a name in it, and the way there: to be used at once."""
        assert isinstance(directory, FileNode)
        self._tree.directory(directory)
        if self._tree.is_moving(directory):
            raise NFSError(Status.DELAY)  # its path will be another one
        path = directory.path()
        return directory, path + b"/" + name if path else name, self._link.session()

    async def _changed(self, directory: FileNode, seen: Awaitable[sftp.Reply], stamp: Stamp) -> Change:
        """Note that a client has changed a directory."""
        before = directory.change
        directory.change = self._tree.table.change()
        after = directory.change
        try:
            self._tree.apply(directory, sftp.as_stat(await ask(seen)), stamp, own=True)
        except (OSError, NFSError):
            directory.valid = 0  # it is done, whatever the directory looks like now
        return Change(before, after, True)

    async def _made(
        self,
        above: FileNode,
        name: bytes,
        looks: Sequence[Awaitable[sftp.Reply]],
        stamp: Stamp,
        doubt: Doubt,
    ) -> tuple[FileNode, Change]:
        """Take over what was just made; `looks` are at it and at its directory."""
        began = time.time_ns()
        try:
            stat = sftp.as_stat(await ask(looks[0]))
        except NFSError:
            self._doubts.note(doubt)
            raise
        now = time.time_ns()
        if now - began < 1_000_000_000:
            self._contents.skew_ns = stat.ctime_ns - now
        node = self._tree.enter(above, name, stat, stamp, own=True)
        change = await self._changed(above, looks[1], stamp)
        self._contents.touch(node)
        return node, change

    async def _finish(self, node: FileNode, settings: Settings, mode: int | None) -> None:
        """Set what making a file did not: the user's umask may have taken bits away.

        A directory keeps the setgid bit that it got from the one above; a file has no such bits.
        """
        if mode is not None and node.stat is not None:
            mode = mode | node.stat.mode & modes.S_ISGID if node.directory is not None else mode & FILE_MODE
        wrong = mode is not None and node.stat is not None and (node.stat.mode & 0o7777) != mode
        if wrong or settings.atime_ns is not None or settings.mtime_ns is not None or settings.size:
            mode = mode if wrong else None
            await self._set(node, replace(settings, mode=mode, size=settings.size or None))

    async def _taken(self, above: FileNode, name: bytes) -> FileNode | None:
        """Return what has a name already, as far as is known, for who has its turn."""
        names = self._tree.directory(above)
        if name not in names.entries or name in names.unsure:
            return None
        return await self._there(above, name)

    async def _in_the_way(
        self, above: FileNode, name: bytes, look: Awaitable[sftp.Reply], stamp: Stamp
    ) -> FileNode | None:
        """Take over what was in the way of something new, and was not known; None: it has gone again."""
        try:
            return self._tree.enter(above, name, sftp.as_stat(await ask(look)), stamp)
        except OSError:
            names = self._tree.directory(above)
            names.unsure.add(name)
            names.absent.pop(name, None)
            return None

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
        above = self._below(directory, name)[0]
        for _ in range(TRIES):
            node = self._tree.known(above, name)
            if node is None:
                async with self._tree.turns.take((above.fileid, name)):
                    node = await self._taken(above, name)
                    if node is None:
                        node, file, change = await self._create(above, name, settings, verifier, access)
                        if file is not None:
                            return await self._new(node, file, change, settings)
            try:
                return await self._create_there(
                    above, name, node, verifier=verifier, exclusive=exclusive, access=access
                )
            except NFSError as exc:
                if exc.status is not Status.STALE:
                    raise  # else it was replaced or removed meanwhile
        raise NFSError(Status.DELAY)

    async def _create_there(
        self,
        above: FileNode,
        name: bytes,
        node: FileNode,
        *,
        verifier: bytes | None,
        exclusive: bool,
        access: int,
    ) -> tuple[FileNode, OpenFile, Change, bool]:
        """Open what was to be made and is there. Raises STALE when it is not there any more."""
        if node.kind is FileType.DIRECTORY:
            raise NFSError(Status.EXIST if exclusive else Status.ISDIR)
        done = self._doubts.take(("create", above.fileid, name)) is not None
        mine = done and node.stat is not None and node.stat.size == 0
        if exclusive and not mine and (verifier is None or node.verifier != verifier):
            raise NFSError(Status.EXIST)
        if node.kind is FileType.SYMLINK:
            raise NFSError(Status.SYMLINK)
        file = await self.open(node, access)
        if mine:
            node.verifier = verifier
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
        settings: Settings,
        verifier: bytes | None,
        access: int,
    ) -> tuple[FileNode, OpenFile | None, Change]:
        """Make a file, in the turn of its name; without an open file it is one that was there."""
        mode = 0o644 if settings.mode is None else settings.mode & 0o7777
        _, path, session = self._below(above, name)
        doubt = ("create", above.fileid, name)
        with self._tree.changing((above, name)):
            stamp = self._tree.stamp()
            opened = session.open(path, Disposition.CREATE_NEW, write=True, mode=mode)
            looks = _looks(session, path, above.path())
            try:
                raw = await self._doubts.sure(opened, doubt)
            except FileExistsError:
                found = await self._in_the_way(above, name, looks[0], stamp)
                if found is None:
                    raise NFSError(Status.DELAY) from None  # the user has removed it since
                return found, None, Change(above.change, above.change, True)
            try:
                node, change = await self._made(above, name, looks, stamp, doubt)
            except BaseException:
                session.close(raw).add_done_callback(sftp.ignore)
                raise
        node.opens += 1
        self._contents.keep(node, Handle(session, raw, True))
        node.verifier = verifier
        return node, OpenFile(node, access), change

    async def _make(
        self,
        directory: Node,
        name: bytes,
        request: Callable[[bytes], tuple[Kind, bytes]],
        settings: Settings,
        mode: int | None,
    ) -> tuple[FileNode, Change]:
        """Make what is no regular file: `request` is what to ask for, by the path."""
        above = self._below(directory, name)[0]
        async with self._tree.turns.take((above.fileid, name)):
            kind, body = request(self._below(above, name)[1])
            doubt = (kind, above.fileid, name, body)
            if await self._taken(above, name) is not None and not self._doubts.has(doubt):
                raise NFSError(Status.EXIST)
            _, path, session = self._below(above, name)
            with self._tree.changing((above, name)):
                stamp = self._tree.stamp()
                made = session.send(kind, body)
                looks = _looks(session, path, above.path())
                try:
                    await self._doubts.sure(made, doubt)
                except FileExistsError:
                    if self._doubts.take(doubt) is None:
                        await self._in_the_way(above, name, looks[0], stamp)
                        raise
                node, change = await self._made(above, name, looks, stamp, doubt)
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
        self, directory: Node, name: bytes, kind: FileType, device: tuple[int, int], settings: Settings
    ) -> tuple[FileNode, Change]:
        kinds = {FileType.FIFO: modes.S_IFIFO, FileType.SOCKET: modes.S_IFSOCK}
        if kind not in kinds:
            raise NFSError(Status.PERM)
        mode = 0o644 if settings.mode is None else settings.mode & 0o7777

        def request(path: bytes) -> tuple[Kind, bytes]:
            return Kind.EXTENDED, pack_request(Mknod(path, kinds[kind] | mode))

        return await self._make(directory, name, request, settings, settings.mode and mode)

    @asynccontextmanager
    async def _staying(self, node: FileNode, *more: Place) -> AsyncIterator[None]:
        """Take the turn of a file's name, and of others: its path is what it is until this is done."""
        for _ in range(TRIES):
            places = list(node.places)
            if places and self._tree.is_moving(places[0][0]):
                raise NFSError(Status.DELAY)  # its path will be another one
            turns = [(above.fileid, name) for above, name in places[:1]]
            async with self._tree.turns.take(*turns, *more):
                if node.places[:1] == places[:1]:
                    yield
                    return
        raise NFSError(Status.DELAY)

    async def link(self, node: Node, directory: Node, name: bytes) -> Change:
        assert isinstance(node, FileNode)
        above = self._below(directory, name)[0]
        doubt = ("link", above.fileid, name, node.fileid)
        if self._tree.known(above, name) is not None and not self._doubts.has(doubt):
            raise NFSError(Status.EXIST)
        async with self._staying(node, (above.fileid, name)):
            if await self._taken(above, name) is not None and not self._doubts.has(doubt):
                raise NFSError(Status.EXIST)
            if node.gone:
                raise NFSError(Status.STALE)
            _, path, session = self._below(above, name)
            with self._tree.changing((above, name), *node.places):
                stamp = self._tree.stamp()
                made = session.link(path, node.path())
                looks = _looks(session, path, above.path())
                try:
                    await self._doubts.sure(made, doubt)
                except FileExistsError:
                    in_doubt = self._doubts.take(doubt) is not None
                    if await self._in_the_way(above, name, looks[0], stamp) is not node or not in_doubt:
                        raise
                _, change = await self._made(above, name, looks, stamp, doubt)
                node.change = self._tree.table.change()
        return change

    async def remove(self, directory: Node, name: bytes) -> Change:
        above = self._below(directory, name)[0]
        doubt = ("remove", above.fileid, name)
        async with self._tree.turns.take((above.fileid, name)):
            try:
                node = await self._tree.find(above, name)
            except NFSError as exc:
                if exc.status is Status.NOENT and self._doubts.take(doubt) is not None:
                    return Change(above.change, above.change, False)
                raise
            async with self._contents.keeping(node):
                change = await self._remove(above, name, node, doubt)
        await self._drop_writes(node)
        return change

    async def _remove(self, above: FileNode, name: bytes, node: FileNode, doubt: Doubt) -> Change:
        _, path, session = self._below(above, name)
        with self._tree.changing((above, name), *node.places):
            stamp = self._tree.stamp()
            done = session.rmdir(path) if node.kind is FileType.DIRECTORY else session.remove(path)
            looks = _looks(session, above.path())
            try:
                await self._doubts.sure(done, doubt)
            except FileNotFoundError:
                self._tree.directory(above).unsure.add(name)
                raise
            self._contents.touched[path] = None
            self._unlinked(above, name, node)
            return await self._changed(above, looks[0], stamp)

    def _unlinked(self, above: FileNode, name: bytes, node: FileNode) -> None:
        left = node.links - 1
        self._tree.unplace(above, name)
        node.change = self._tree.table.change()
        node.removed = node.gone and not left
        if node.removed:
            node.written = b""  # whatever becomes of its bytes is nobody's loss
        if node.places:
            node.valid = 0
            if node.stat is not None:
                node.stat = node.stat._replace(nlink=max(1, left))

    async def _drop_writes(self, node: FileNode) -> None:
        """What nobody can read any more need not be sent."""
        if node.log is not None and node.removed and not node.opens:
            async with node.locked():
                self._contents.discard(node)

    async def _there(self, above: FileNode, name: bytes) -> FileNode | None:
        """Return what a name is, if there is such a name, for who has its turn."""
        try:
            return await self._tree.find(above, name)
        except NFSError as exc:
            if exc.status is not Status.NOENT:
                raise
            return None

    async def _renamed(self, above: FileNode, old: bytes, below: FileNode, new: bytes, doubt: Doubt) -> bool:
        """Was it done by a request that the link was cut under?"""
        inode = self._doubts.take(doubt)
        if inode is None:
            return False
        self._tree.directory(above).unsure.add(old)
        self._tree.directory(below).unsure.add(new)
        try:
            # The new name first: so the file that is found there is known for the one that was moved.
            found = await self._there(below, new)
            if found is None or f"{found.dev}:{found.ino}" != inode:
                return False
            # If the old name is there, it is another file's by now: who asks is not who asked then.
            return await self._there(above, old) is None
        except BaseException:
            self._doubts.note(doubt, inode)
            raise

    async def rename(self, source: Node, old: bytes, target: Node, new: bytes) -> tuple[Change, Change]:
        above, below = self._below(source, old)[0], self._below(target, new)[0]
        doubt = ("rename", above.fileid, old, below.fileid, new)
        # The name must not lead to a file whose bytes are still here. Most of them go before the turn.
        moved = self._tree.known(above, old)
        if moved is not None:
            await self._contents.settle(moved)
        async with self._tree.turns.take((above.fileid, old), (below.fileid, new)):
            if await self._renamed(above, old, below, new, doubt):
                return Change(above.change, above.change, False), Change(below.change, below.change, False)
            node = await self._tree.find(above, old)
            replaced = await self._there(below, new)
            if replaced is node:
                # Two names of one file: POSIX and RFC 7530 16.29.4 leave both.
                return Change(above.change, above.change, True), Change(below.change, below.change, True)
            if replaced is not None and (replaced.directory is None) != (node.directory is None):
                raise NFSError(Status.EXIST)
            async with self._contents.keeping(replaced):
                await self._contents.settle(node)
                changes = await self._rename((above, old), (below, new), node, replaced, doubt)
        if replaced is not None:
            await self._drop_writes(replaced)
        return changes

    async def _rename(
        self,
        source: tuple[FileNode, bytes],
        target: tuple[FileNode, bytes],
        node: FileNode,
        replaced: FileNode | None,
        doubt: Doubt,
    ) -> tuple[Change, Change]:
        (above, old), (below, new) = source, target
        _, old_path, session = self._below(above, old)
        _, new_path, _ = self._below(below, new)
        with self._tree.changing((above, old), (below, new), *node.places):
            stamp = self._tree.stamp()
            done = session.rename(old_path, new_path)
            looks = _looks(session, new_path, above.path(), below.path())
            try:
                await self._doubts.sure(done, doubt, f"{node.dev}:{node.ino}")
            except FileNotFoundError:
                self._tree.directory(above).unsure.add(old)
                raise
            except OSError as exc:
                if exc.errno == errno.ENOTEMPTY:
                    raise NFSError(Status.EXIST) from exc
                raise
            if replaced is not None:
                self._unlinked(below, new, replaced)
            if node.places:
                self._tree.place(below, new, node)
                self._tree.unplace(above, old)
            node.change = self._tree.table.change()
            self._tree.apply(node, sftp.as_stat(await ask(looks[0])), stamp, own=True)
            change = await self._changed(above, looks[1], stamp)
            after = change if above is below else await self._changed(below, looks[2], stamp)
        self._contents.touched[old_path] = None
        self._contents.touch(node)
        return change, after

    # -- attributes -------------------------------------------------------------------------------
    async def setattr(self, node: Node, settings: Settings, file: File | None) -> None:
        assert isinstance(node, FileNode)
        await self._tree.fresh(node)
        times = (settings.atime_ns, settings.mtime_ns)
        if node.verifier is not None and settings.size is None:
            # The client's way to end an exclusive create: the file's times are those of its making.
            node.verifier = None
            if all(wanted is None or isinstance(wanted, Now) for wanted in times):
                times = None, None
        elif settings.size is not None:
            node.verifier = None
        mode = None if node.kind is FileType.SYMLINK else settings.mode
        if node.stat is not None and mode == node.stat.mode & 0o7777:
            mode = None
        if mode is None and settings.size is None and times == (None, None):
            return
        await self._set(node, Settings(mode, None, None, settings.size, *times))

    def _when(self, wanted: int | Now | None) -> int | None:
        return self._contents.now_ns() if isinstance(wanted, Now) else wanted

    async def _set(self, node: FileNode, settings: Settings, *, grow: bool = False) -> None:
        """Set attributes; with `grow` a file that is as large, or has become so meanwhile, stays as it is."""
        size = settings.size
        if size != 0 and (size is not None or settings.mtime_ns is not None):
            # What is still to be sent would change them again.
            await self._contents.settle(node)
        async with self._staying(node), node.locked():
            if grow and node.stat is not None and size is not None and size <= node.stat.size:
                return
            if size is not None:
                await self._contents.handle(node, write=True)
                if size == 0:
                    self._contents.discard(node)
            session = self._link.session()
            atime_ns, mtime_ns = self._when(settings.atime_ns), self._when(settings.mtime_ns)
            wanted = NewAttributes(size, settings.mode, atime_ns, mtime_ns)
            with self._tree.changing(*([node] if node.directory is not None else node.places)):
                stamp = self._tree.stamp()
                handle = node.held
                if handle is not None and handle.writable:
                    if size is not None:
                        self._contents.expect(node, handle)
                    done = handle.session.fsetstat(handle.raw, wanted)
                    seen = handle.session.fstat(handle.raw)
                elif node.gone:
                    raise NFSError(Status.STALE)
                else:
                    done = session.lsetstat(node.path(), wanted)
                    seen = session.lstat(node.path())
                seen.add_done_callback(sftp.ignore)
                sftp.as_done(await ask(done))
                stat = sftp.as_stat(await ask(seen))
                if (stat.ino, stat.dev) != (node.ino, node.dev):  # the user has put another file there
                    self._tree.doubt(node, node.places[0])
                    raise NFSError(Status.DELAY)
                self._has_set(node, stat, stamp, settings)

    def _has_set(self, node: FileNode, stat: Stat, stamp: Stamp, settings: Settings) -> None:
        """Take over what a setattr has made of a file."""
        if settings.size is not None:
            node.base = ()  # as this has left it
        elif node.base and node.base[0] == stat.size:
            node.base = stat.base
        if settings.size is None and node.version[:1] == (stat.size,) and settings.mtime_ns is not None:
            node.version = stat.version
            if node.stat is not None and node.log is None:
                node.stat = stat
        self._tree.apply(node, stat, stamp, own=True)
        node.change = self._tree.table.change()
        if not node.gone:
            self._contents.touch(node)

    # -- open files -------------------------------------------------------------------------------
    async def open(self, node: Node, access: int) -> OpenFile:
        assert isinstance(node, FileNode)
        if node.kind is not FileType.REGULAR:
            raise NFSError(Status.INVAL)
        if node.gone and not node.opens:
            raise NFSError(Status.STALE)
        node.opens += 1
        file = OpenFile(node, access)
        try:
            if access & SHARE_WRITE:
                await self._may_write(node)
                file.edits = node.edits
            elif node.leaving:
                await self._contents.hold(node)
            if node.gone and node.held is None and self._link.up:
                raise NFSError(Status.STALE)
        except OSError as exc:
            self._contents.close(file)
            if exc.errno in (errno.ENOENT, errno.ESTALE):
                raise NFSError(Status.STALE) from exc  # its name leads elsewhere by now
            raise
        except BaseException:
            self._contents.close(file)
            raise
        return file

    async def _may_write(self, node: FileNode) -> None:
        """Have a file open for writing on the user's side, which may refuse it."""
        if self._link.up:
            await self._contents.handle(node, write=True)
            await self._tree.fresh(node)  # its client is told what it is like now
        elif self._link.connections and not node.writable:
            raise NFSError(Status.DELAY)
        # Else it was open before the cut; or clients claim what they had open under a server before this one.

    async def close(self, file: File) -> None:
        assert isinstance(file, OpenFile)
        self._contents.close(file)

    async def read(self, file: File, offset: int, count: int) -> tuple[bytes, bool]:
        assert isinstance(file, OpenFile)
        return await self._contents.read(file, offset, count)

    async def write(self, file: File, offset: int, data: memoryview, sync: bool) -> int:
        assert isinstance(file, OpenFile)
        return await self._contents.write(file, offset, data, sync)

    async def commit(self, node: Node, file: File | None) -> None:
        assert isinstance(node, FileNode)
        await self._contents.commit(node)

    async def seek(self, file: File, offset: int, data: bool) -> int | None:
        assert isinstance(file, OpenFile)
        node = file.node
        await self._tree.fresh(node)
        assert node.stat is not None
        if offset >= node.stat.size:
            raise NFSError(Status.NXIO)
        if not node.gone and b"seek@womm" in self._link.session().extensions:
            await self._contents.settle(node)
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

    async def allocate(self, file: File, offset: int, length: int) -> None:
        assert isinstance(file, OpenFile)
        await self._tree.fresh(file.node)
        assert file.node.stat is not None
        if offset + length > file.node.stat.size:
            await self._set(file.node, Settings(size=offset + length), grow=True)

    async def deallocate(self, file: File, offset: int, length: int) -> None:
        assert isinstance(file, OpenFile)
        await self._tree.fresh(file.node)
        assert file.node.stat is not None
        end = min(offset + length, file.node.stat.size)
        if end - offset > PUNCH_BYTES:
            raise NFSError(Status.NOTSUPP)
        zeros = memoryview(bytes(min(COPY_BYTES, max(0, end - offset))))
        while offset < min(end, file.node.stat.size):  # another client may cut it meanwhile
            offset += await self._contents.write(file, offset, zeros[: end - offset], False)

    async def copy(self, source: File, offset: int, target: File, target_offset: int, count: int) -> int:
        assert isinstance(source, OpenFile) and isinstance(target, OpenFile)
        done = 0
        while done < count:
            data, eof = await self._contents.read(source, offset + done, min(COPY_BYTES, count - done))
            if data:
                done += await self._contents.write(target, target_offset + done, memoryview(data), False)
            if eof or not data:
                break
        return done

    # -- extended attributes: SFTP has none -------------------------------------------------------
    async def getxattr(self, node: Node, name: bytes) -> bytes:
        raise NFSError(Status.NOTSUPP)

    async def setxattr(self, node: Node, name: bytes, value: bytes, how: int) -> Change:
        raise NFSError(Status.NOTSUPP)

    async def listxattr(self, node: Node) -> Sequence[bytes]:
        raise NFSError(Status.NOTSUPP)

    async def removexattr(self, node: Node, name: bytes) -> Change:
        raise NFSError(Status.NOTSUPP)
