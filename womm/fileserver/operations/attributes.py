"""SETATTR: `AttributeChanges`."""

from womm.fileserver import sftp
from womm.fileserver.contents.sender import expect
from womm.fileserver.operations.changing import NameChanges
from womm.fileserver.tree.changes import Stamp
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import ask
from womm.nfs.constants import FileType
from womm.nfs.filesystem import Now, Settings
from womm.nfs.status import NFSError, Status
from womm.wire.attributes import NewAttributes, Stat


class AttributeChanges:
    """Sets attributes of files on the user's side, for clients."""

    def __init__(self, names: NameChanges) -> None:
        self._names = names
        self._lookup, self._tree, self._link = names.lookup, names.lookup.tree, names.lookup.link
        self._contents = names.contents

    async def setattr(self, node: FileNode, settings: Settings) -> None:
        """Set what differs, as a client wants it. Raises NFSError, OSError."""
        await self._lookup.fresh(node)
        times = (settings.atime_ns, settings.mtime_ns)
        if node.use.verifier is not None and settings.size is None:
            # The client's way to end an exclusive create: the file's times are those of its making.
            node.use.verifier_over()
            if all(wanted is None or isinstance(wanted, Now) for wanted in times):
                times = None, None
        elif settings.size is not None:
            node.use.verifier_over()
        mode = None if node.kind is FileType.SYMLINK else settings.mode
        if node.stat is not None and mode == node.stat.mode & 0o7777:
            mode = None
        if mode is None and settings.size is None and times == (None, None):
            return
        await self.set(node, Settings(mode, None, None, settings.size, *times))

    async def set(self, node: FileNode, settings: Settings, *, grow: bool = False) -> None:
        """Set attributes; with `grow` a file that is as large, or has become so meanwhile, stays as it is."""
        size = settings.size
        if size != 0 and (size is not None or settings.mtime_ns is not None):
            # What is still to be sent would change them again.
            await self._contents.flusher.settle(node)
        async with self._names.staying(node), node.use.lock():
            if grow and node.stat is not None and size is not None and size <= node.stat.size:
                return
            if size is not None:
                await self._contents.handles.open(node, write=True)
                if size == 0:
                    self._contents.flusher.discard(node)
            session = self._link.session()
            atime_ns, mtime_ns = self._when(settings.atime_ns), self._when(settings.mtime_ns)
            wanted = NewAttributes(size, settings.mode, atime_ns, mtime_ns)
            with self._tree.freshness.changing(*([node] if node.directory is not None else node.links)):
                stamp = self._tree.freshness.stamp()
                handle = node.use.held
                if handle is not None and handle.writable:
                    if size is not None:
                        expect(node, handle)
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
                    self._tree.doubt(node, node.links[0])
                    raise NFSError(Status.DELAY)
                self._has_set(node, stat, stamp, settings)

    def _has_set(self, node: FileNode, stat: Stat, stamp: Stamp, settings: Settings) -> None:
        """Take over what a setattr has made of a file."""
        node.was_set(stat, size=settings.size is not None, mtime=settings.mtime_ns is not None)
        self._tree.apply(node, stat, stamp, own=True)
        node.changed()
        if not node.gone:
            self._contents.report.touch(node)

    def _when(self, wanted: int | Now | None) -> int | None:
        return self._contents.clock.now_ns() if isinstance(wanted, Now) else wanted
