"""What all changes of names by clients have in common: `NameChanges`.

Strategy: a change is made on the user's side before it is answered, in one round trip: the request, and the
questions what the file and its directory look like after it, are sent together. While it is under way no
other answer is believed about these names; a request whose answer is lost is in doubt until it is repeated.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

from womm.fileserver import sftp
from womm.fileserver.contents.contents import Contents
from womm.fileserver.sftp import Session
from womm.fileserver.tree.changes import Stamp
from womm.fileserver.tree.doubts import Doubt, Doubts
from womm.fileserver.tree.lookup import TRIES, Lookup
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import ask
from womm.fileserver.tree.turns import Place
from womm.nfs.filesystem import Change, Node
from womm.nfs.status import NFSError, Status


def look_at(session: Session, *paths: bytes) -> "list[asyncio.Future[sftp.Reply]]":
    """Ask what files look like after the requests before this one."""
    waiters = [session.lstat(path) for path in paths]
    for waiter in waiters:
        waiter.add_done_callback(sftp.ignore)
    return waiters


class NameChanges:
    """The names that `lookup` finds, as clients change them."""

    def __init__(self, lookup: Lookup, contents: Contents) -> None:
        self.lookup = lookup
        self.contents = contents
        self.doubts = Doubts(lookup.tree.table, lookup.link)
        self._tree = lookup.tree

    # -- before a change --------------------------------------------------------------------------
    def below(self, directory: Node, name: bytes) -> tuple[FileNode, bytes, Session]:
        """Return a directory, the path of a name in it, and the way there: to be used at once."""
        assert isinstance(directory, FileNode)
        self._tree.directory(directory)
        if self._tree.freshness.is_moving(directory):
            raise NFSError(Status.DELAY)  # its path will be another one
        path = directory.path()
        return directory, path + b"/" + name if path else name, self.lookup.link.session()

    async def taken(self, above: FileNode, name: bytes) -> FileNode | None:
        """Return the file that has a name already, as far as is known. The caller has the name's turn."""
        names = self._tree.directory(above)
        if name not in names.entries or name in names.stale_names:
            return None
        return await self.there(above, name)

    async def there(self, above: FileNode, name: bytes) -> FileNode | None:
        """Return the file that has a name, if there is one. The caller has the name's turn."""
        try:
            return await self.lookup.find(above, name)
        except NFSError as exc:
            if exc.status is not Status.NOENT:
                raise
            return None

    @asynccontextmanager
    async def staying(self, node: FileNode, *more: Place) -> AsyncIterator[None]:
        """Take the turn of a file's name, and of others: its path is what it is until this is done."""
        for _ in range(TRIES):
            links = list(node.links)
            if links and self._tree.freshness.is_moving(links[0][0]):
                raise NFSError(Status.DELAY)  # its path will be another one
            turns = [(above.fileid, name) for above, name in links[:1]]
            async with self.lookup.turns.take(*turns, *more):
                if node.links[:1] == links[:1]:
                    yield
                    return
        raise NFSError(Status.DELAY)

    # -- after a change ---------------------------------------------------------------------------
    async def directory_changed(
        self, directory: FileNode, seen: Awaitable[sftp.Reply], stamp: Stamp
    ) -> Change:
        """Note that a client has changed a directory."""
        before = directory.change
        directory.changed()
        after = directory.change
        try:
            self._tree.apply(directory, sftp.as_stat(await ask(seen)), stamp, own=True)
        except (OSError, NFSError):
            directory.doubted()  # it is done, whatever the directory looks like now
        return Change(before, after, True)

    async def made(
        self,
        above: FileNode,
        name: bytes,
        looks: Sequence[Awaitable[sftp.Reply]],
        stamp: Stamp,
        doubt: Doubt,
    ) -> tuple[FileNode, Change]:
        """Enter a file that was just made; `looks` are at it and at its directory."""
        began = time.time_ns()
        try:
            stat = sftp.as_stat(await ask(looks[0]))
        except NFSError:
            self.doubts.note(doubt)
            raise
        self.contents.clock.heard(began, time.time_ns(), stat.ctime_ns)
        node = self._tree.enter(above, name, stat, stamp, own=True)
        change = await self.directory_changed(above, looks[1], stamp)
        self.contents.report.touch(node)
        return node, change

    async def in_the_way(
        self, above: FileNode, name: bytes, look: Awaitable[sftp.Reply], stamp: Stamp
    ) -> FileNode | None:
        """Enter a file that was in the way of a new one, and was not known; None: it has gone again."""
        try:
            return self._tree.enter(above, name, sftp.as_stat(await ask(look)), stamp)
        except OSError:
            names = self._tree.directory(above)
            names.name_doubted(name)
            return None

    def unlinked(self, above: FileNode, name: bytes, node: FileNode) -> None:
        """Note that a client has removed a name of a file."""
        left = node.link_count - 1
        self._tree.unplace(above, name)
        node.client_unlinked(left)
