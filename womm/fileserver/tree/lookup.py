"""What a name is and what a file is like: from the tree if it is fresh, else from the user's side."""

import asyncio
from stat import S_ISLNK
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.connection import UserLink
from womm.fileserver.tree.lookahead import LookAhead, take_rows
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import Questions, ask
from womm.fileserver.tree.tree import Tree
from womm.fileserver.tree.turns import Turns
from womm.nfs.status import NFSError, Status

MORE_NAMES: Final = 128
"""Below a directory of a static tree, which come with its own: about 5 KB."""
TRIES: Final = 4
"""How often to look at a file that changes all the time, before the last answer is taken as it is."""


class Lookup:
    """Keeps `tree` fresh, where clients look, by questions over `link`."""

    def __init__(self, tree: Tree, link: UserLink) -> None:
        self.tree = tree
        self.link = link
        self.turns = Turns()
        """The names that clients are changing. While they do, no answer says what a name is."""
        self._questions = Questions()
        self._ahead = LookAhead(tree, link, self._questions)

    def __repr__(self) -> str:
        return f"<Lookup {self.tree!r} {self._questions!r}>"

    async def stop(self) -> None:
        await self._questions.stop()

    # -- what a file is like ----------------------------------------------------------------------
    def is_fresh(self, node: FileNode) -> bool:
        """Is it certain what a file is like?"""
        return node.checked_epoch == self.tree.freshness.epoch and node.stat is not None

    async def fresh(self, node: FileNode) -> None:
        """Make what is known of a node true. Raises NFSError (STALE, DELAY), OSError."""
        answered = False
        for _ in range(TRIES):
            if node.gone:
                if node.use.opens:
                    return
                raise NFSError(Status.STALE)
            if node.checked_epoch == self.tree.freshness.epoch:
                return
            answered = await self._questions.once(("look", node), lambda: self._look(node))
        if node.stat is None or not (answered or node.use.written):
            raise NFSError(Status.DELAY)

    async def _look(self, node: FileNode) -> bool:
        """Look at a node once. Was there an answer?"""
        if node is self.tree.root:
            with self.tree.freshness.question() as asked:
                stat = sftp.as_stat(await ask(self.link.session().lstat(b"")))
                self.tree.apply(node, stat, asked.stamp)
            return True
        if not node.links:
            return False
        above, name = node.links[0]
        answered = await self._probe(above, name)
        if node.gone and not node.use.opens:
            raise NFSError(Status.STALE)
        # One of several names may lead elsewhere by now: that says nothing of the node.
        return answered and (above, name) in node.links

    async def target(self, node: FileNode) -> bytes:
        """Return where a symbolic link leads. Raises NFSError, OSError."""
        if node.target is None or not self.is_fresh(node):
            await self.fresh(node)
            if node.target is None:
                reply = await ask(self.link.session().readlink(node.path()))
                node.leads_to(sftp.as_names(reply)[0][0][0])
        assert node.target is not None
        return node.target

    # -- what a name is ---------------------------------------------------------------------------
    def known(self, above: FileNode, name: bytes) -> FileNode | None:
        """Return what a name is, if that needs no question."""
        directory = self.tree.directory(above)
        return directory.entries.get(name) if directory.knows(name, self.tree.freshness.epoch) else None

    async def lookup(self, above: FileNode, name: bytes) -> FileNode:
        """Return what a name is. Raises NFSError, OSError."""
        place = above.fileid, name
        directory = self.tree.directory(above)
        if directory.knows(name, self.tree.freshness.epoch) or not self.turns.taken(place):
            try:
                return await self.find(above, name)
            except NFSError as exc:
                if exc.status is not Status.DELAY or not self.turns.taken(place):
                    raise
        async with self.turns.take(place):
            return await self.find(above, name)

    async def find(self, above: FileNode, name: bytes) -> FileNode:
        """Return what a name is, to a caller that has its turn. Raises as `lookup`."""
        directory = self.tree.directory(above)
        answered = False
        for _ in range(TRIES):
            if directory.knows(name, self.tree.freshness.epoch):
                break
            answered = await self._probe(above, name)
            if above.gone:
                raise NFSError(Status.STALE)
        else:
            node = directory.entries.get(name)
            if not answered and (node is None or not node.use.written):
                raise NFSError(Status.DELAY)
        node = directory.entries.get(name)
        if node is None:
            raise NFSError(Status.NOENT)
        return node

    async def _probe(self, above: FileNode, name: bytes) -> bool:
        """Look a name up on the user's side. Was there an answer?"""
        key = "probe", above.fileid, name
        return await self._questions.once(key, lambda: self._ask_name(above, name))

    async def _ask_name(self, above: FileNode, name: bytes) -> bool:
        walk = self._ahead.covering(above)
        if walk is not None:
            await asyncio.wait([walk])
            if above.gone or above.directory is None:
                return False
            # It may have ended before it came here. The next one may do so too: do not wait for that.
            if above.directory.knows(name, self.tree.freshness.epoch):
                return True
        listing = self._questions.under_way(("list", above)) if self.tree.freshness.static else None
        if listing is not None:
            # Its answer comes before that to a new question would.
            await asyncio.wait([listing])
            if above.gone or above.directory is None:
                return False
            if above.directory.knows(name, self.tree.freshness.epoch):
                return True
        session = self.link.session()
        path = above.path()
        with self.tree.freshness.question() as asked:
            below = path + b"/" + name if path else name
            waiter = session.lstat(below)
            leads = session.readlink(below) if self.tree.freshness.static else None
            inside = (
                None if leads is None else self._questions.spawn(self._inside(session, above, name, below))
            )
            if self._ahead.missed(above) and self._questions.under_way(("list", above)) is None:
                self._questions.spawn(self.list_names(above))
            try:
                stat = sftp.as_stat(await ask(waiter))
            except (FileNotFoundError, NotADirectoryError):
                stat = None
            taken = self.tree.take_answer(above, name, stat, asked)
            if leads is not None and stat is not None and S_ISLNK(stat.mode):
                # In one go: a client that finds a link follows it.
                self.tree.take_targets(above, [(name, sftp.as_names(await ask(leads))[0][0][0])])
            elif leads is not None:
                leads.add_done_callback(sftp.ignore)
            node = above.directory.entries.get(name) if above.directory is not None else None
            if inside is not None and node is not None and node.directory is not None:
                self._questions.adopt(("list", node), inside)
            return taken

    async def _inside(self, session: sftp.Session, above: FileNode, name: bytes, path: bytes) -> bool:
        """List what may be a directory, in one go with the question whether it is one."""
        with self.tree.freshness.question() as asked:
            try:
                rows, whole = await session.rows(path, MORE_NAMES)
            except (OSError, sftp.LinkLost):
                return False
            node = above.directory.entries.get(name) if above.directory is not None else None
            if not whole or node is None or node.directory is None:
                return False
            return await take_rows(self.tree, node, rows, asked)

    # -- all names of a directory -----------------------------------------------------------------
    async def list_names(self, above: FileNode) -> None:
        """Make a directory's names complete and true. Raises NFSError, OSError."""
        directory = self.tree.directory(above)
        answered = False
        for _ in range(TRIES):
            if directory.is_complete(self.tree.freshness.epoch):
                return
            answered = await self._questions.once(("list", above), lambda: self._list(above))
            if above.gone:
                raise NFSError(Status.STALE)
        if not answered:
            raise NFSError(Status.DELAY)

    async def _list(self, above: FileNode) -> bool:
        """List a directory once. Was there an answer?"""
        session = self.link.session()
        directory = self.tree.directory(above)
        self._ahead.will_list(above)
        walk = self._ahead.covering(above)
        if walk is not None:
            await asyncio.wait([walk])
            if directory.is_complete(self.tree.freshness.epoch):
                return True
        with self.tree.freshness.question() as asked:
            try:
                if self.tree.freshness.static:
                    rows, whole = await session.rows(above.path(), MORE_NAMES)
                    if whole:
                        return await take_rows(self.tree, above, rows, asked)
                found = await session.listing(above.path())
            except sftp.LinkLost:
                raise NFSError(Status.DELAY) from None
            except (FileNotFoundError, NotADirectoryError):
                if self.tree.freshness.path_overtaken(above, asked):
                    return False
                raise
            return self.tree.take_listing(above, found, asked)
