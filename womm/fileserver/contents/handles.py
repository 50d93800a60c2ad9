"""Open files of the user's side: `Handles`.

Strategy: a file has at most one handle, which all its opens and its flusher use. The first of them that needs
it opens it. It stays while the file is open or has unsent writes, even when the file loses its last name.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.connection import UserLink
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import ask
from womm.fileserver.tree.tree import Tree
from womm.fileserver.tree.use import Handle
from womm.nfs.constants import FileType
from womm.nfs.status import NFSError, Status
from womm.wire.attributes import Stat
from womm.wire.extensions import Find, FoundPath
from womm.wire.sftp import Disposition

NOT_THERE: Final = frozenset([errno.ENOENT, errno.ESTALE, errno.ENOTDIR])
"""What the user's side says of a path that leads elsewhere, or nowhere, by now."""


def stale_error() -> OSError:
    """Return the error of a file that is no more."""
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


class Handles:
    """Opens and closes the handles of the files of `tree`."""

    def __init__(self, tree: Tree, link: UserLink) -> None:
        self._tree = tree
        self._link = link
        self._opening: dict[FileNode, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<Handles, {len(self._opening)} are being opened>"

    async def stop(self) -> None:
        tasks = list(self._opening.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def open(self, node: FileNode, *, write: bool) -> Handle:
        """Return a file's handle, opened if need be. Raises OSError, NFSError."""
        while True:
            session = self._link.session()
            held = node.use.held
            if held is not None and (held.writable or not write):
                return held
            task = self._opening.get(node)
            if task is None:
                task = asyncio.get_running_loop().create_task(self._open(node, session, write))
                self._opening[node] = task
                task.add_done_callback(lambda done: self._opened(node, done))
            await asyncio.shield(task)

    def _opened(self, node: FileNode, task: "asyncio.Task[None]") -> None:
        self._opening.pop(node, None)
        if not task.cancelled():
            task.exception()  # the requests that wanted it may be gone

    async def _open(self, node: FileNode, session: sftp.Session, write: bool) -> None:
        if node.gone:
            raise NFSError(Status.STALE)
        link = node.links[0]
        try:
            if await self._open_at(node, session, node.path(), write=write) is None:
                raise stale_error()
        except OSError as exc:
            if exc.errno in NOT_THERE:
                self._tree.doubt(node, link)
            raise

    async def _open_at(
        self, node: FileNode, session: sftp.Session, path: bytes, *, write: bool
    ) -> Stat | None:
        """Open a file there, and keep the handle; None: it is another file. Raises as `open`."""
        stamp = self._tree.freshness.stamp()
        raw = sftp.as_handle(
            await ask(session.open(path, Disposition.OPEN_EXISTING, write=write, force=True))
        )
        stat = sftp.as_stat(await ask(session.fstat(raw)))
        if (stat.ino, stat.dev) != (node.ino, node.dev):
            session.close(raw).add_done_callback(sftp.ignore)
            return None
        self.keep(node, Handle(session, raw, write))
        if not node.use.written and not node.gone:
            self._tree.apply(node, stat, stamp)
        return stat

    async def find_again(self, node: FileNode) -> bool:
        """Look for a file that the user has renamed while it had no handle; open it to write."""
        if not node.version:
            return False
        session = self._link.session()
        try:
            reply = await ask(session.extended(Find(node.dev, node.ino)))
            path = sftp.as_extended(reply, FoundPath).path
            stat = await self._open_at(node, session, path, write=True)
        except OSError:
            return False
        if stat is None:
            return False
        if stat.version[:2] == node.version[:2]:
            return True
        self.drop(node)  # the number is another file's by now
        return False

    @staticmethod
    def keep(node: FileNode, handle: Handle | None) -> None:
        """Give a file a handle, and close the one it has."""
        before = node.use.take_handle(handle)
        if before is not None:
            before.session.close(before.raw).add_done_callback(sftp.ignore)

    def drop(self, node: FileNode) -> None:
        """Close a file's handle."""
        self.keep(node, None)

    async def hold(self, node: FileNode) -> None:
        """Open a file there that is about to lose its last name. Raises as `open`."""
        if len(node.links) > node.use.leaving:
            return
        try:
            await self.open(node, write=True)
        except OSError:  # its mode forbids it, or the user runs it
            await self.open(node, write=False)

    @asynccontextmanager
    async def keeping(self, node: FileNode | None) -> AsyncIterator[None]:
        """Around the removal of a name: the file's opens, also those that come meanwhile, outlive it."""
        if node is None or node.kind is not FileType.REGULAR:
            yield
            return
        try:
            with node.use.leaving_name():
                if node.use.opens or (node.use.log is not None and node.link_count > 1):
                    await self.hold(node)
                yield
        finally:
            self.release(node)

    def release(self, node: FileNode) -> None:
        """Let go of a file that clients do not use any more."""
        if not node.use.opens and node.use.log is None:
            self.drop(node)
            if node.gone:
                self._tree.forget(node)
