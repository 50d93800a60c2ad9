"""REMOVE and RENAME: `Removals`."""

import errno

from womm.fileserver import sftp
from womm.fileserver.operations.changing import NameChanges, look_at
from womm.fileserver.tree.doubts import Doubt
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import ask
from womm.nfs.constants import FileType
from womm.nfs.filesystem import Change, Node
from womm.nfs.status import NFSError, Status


class Removals:
    """Removes and renames files on the user's side, for clients."""

    def __init__(self, names: NameChanges) -> None:
        self._names = names
        self._lookup, self._tree = names.lookup, names.lookup.tree
        self._contents = names.contents
        self._doubts = names.doubts

    async def remove(self, directory: Node, name: bytes) -> Change:
        above = self._names.below(directory, name)[0]
        doubt = ("remove", above.fileid, name)
        async with self._lookup.turns.take((above.fileid, name)):
            try:
                node = await self._lookup.find(above, name)
            except NFSError as exc:
                if exc.status is Status.NOENT and self._doubts.take(doubt) is not None:
                    return Change(above.change, above.change, False)
                raise
            async with self._contents.handles.keeping(node):
                change = await self._remove(above, name, node, doubt)
        await self._drop_writes(node)
        return change

    async def _remove(self, above: FileNode, name: bytes, node: FileNode, doubt: Doubt) -> Change:
        _, path, session = self._names.below(above, name)
        with self._tree.freshness.changing((above, name), *node.links):
            stamp = self._tree.freshness.stamp()
            done = session.rmdir(path) if node.kind is FileType.DIRECTORY else session.remove(path)
            looks = look_at(session, above.path())
            try:
                await self._doubts.sure(done, doubt)
            except FileNotFoundError:
                self._tree.directory(above).name_doubted(name)
                raise
            self._contents.report.touch_path(path)
            self._names.unlinked(above, name, node)
            return await self._names.directory_changed(above, looks[0], stamp)

    async def _drop_writes(self, node: FileNode) -> None:
        """Drop unsent writes that no client can read any more."""
        if node.use.log is not None and node.removed and not node.use.opens:
            async with node.use.lock():
                self._contents.flusher.discard(node)

    async def rename(self, source: Node, old: bytes, target: Node, new: bytes) -> tuple[Change, Change]:
        above, below = self._names.below(source, old)[0], self._names.below(target, new)[0]
        doubt = ("rename", above.fileid, old, below.fileid, new)
        # The name must not lead to a file whose bytes are still here. Most of them go before the turn.
        moved = self._lookup.known(above, old)
        if moved is not None:
            await self._contents.flusher.settle(moved)
        async with self._lookup.turns.take((above.fileid, old), (below.fileid, new)):
            if await self._renamed(above, old, below, new, doubt):
                return Change(above.change, above.change, False), Change(below.change, below.change, False)
            node = await self._lookup.find(above, old)
            replaced = await self._names.there(below, new)
            if replaced is node:
                # Two names of one file: POSIX and RFC 7530 16.29.4 leave both.
                return Change(above.change, above.change, True), Change(below.change, below.change, True)
            if replaced is not None and (replaced.directory is None) != (node.directory is None):
                raise NFSError(Status.EXIST)
            async with self._contents.handles.keeping(replaced):
                await self._contents.flusher.settle(node)
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
        _, old_path, session = self._names.below(above, old)
        _, new_path, _ = self._names.below(below, new)
        with self._tree.freshness.changing((above, old), (below, new), *node.links):
            stamp = self._tree.freshness.stamp()
            done = session.rename(old_path, new_path)
            looks = look_at(session, new_path, above.path(), below.path())
            try:
                await self._doubts.sure(done, doubt, f"{node.dev}:{node.ino}")
            except FileNotFoundError:
                self._tree.directory(above).name_doubted(old)
                raise
            except OSError as exc:
                if exc.errno == errno.ENOTEMPTY:
                    raise NFSError(Status.EXIST) from exc
                raise
            if replaced is not None:
                self._names.unlinked(below, new, replaced)
            if node.links:
                self._tree.place(below, new, node)
                self._tree.unplace(above, old)
            node.changed()
            self._tree.apply(node, sftp.as_stat(await ask(looks[0])), stamp, own=True)
            change = await self._names.directory_changed(above, looks[1], stamp)
            after = change if above is below else await self._names.directory_changed(below, looks[2], stamp)
        self._contents.report.touch_path(old_path)
        self._contents.report.touch(node)
        return change, after

    async def _renamed(self, above: FileNode, old: bytes, below: FileNode, new: bytes, doubt: Doubt) -> bool:
        """Has an earlier request, whose answer was lost, done it?"""
        inode = self._doubts.take(doubt)
        if inode is None:
            return False
        self._tree.directory(above).name_doubted(old)
        self._tree.directory(below).name_doubted(new)
        try:
            # The new name first, so that the file there is recognised as the one that was moved.
            found = await self._names.there(below, new)
            if found is None or f"{found.dev}:{found.ino}" != inode:
                return False
            # If the old name is there, it is another file's, and this request is not the one in doubt.
            return await self._names.there(above, old) is None
        except BaseException:
            self._doubts.note(doubt, inode)
            raise
