"""Looking ahead: fetch the names that clients are likely to want next.

Strategy: one LSTAT answers the first question about a directory, the second one fetches all of it. Questions
about several directories soon after each other have the directory above them listed recursively, four times
as much each time.

A static tree is all of a machine's programs: the first question fetches all of the directory, since a program
looks into few; what is listed recursively is small and deep, such as one of its packages.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.connection import UserLink
from womm.fileserver.tree.changes import Asked
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import Questions, ask
from womm.fileserver.tree.tree import Tree
from womm.nfs.status import NFSError, Status
from womm.wire.attributes import Stat
from womm.wire.extensions import Tree as TreeRequest
from womm.wire.rows import Row

WALK_S: Final = 5.0
"""Two directories that are looked at for the first time within this: a program walks through the tree."""
WALK_ENTRIES: Final = (256, 1024, 4096, 16384)
STATIC_ENTRIES: Final = (256, 1024)
STATIC_DEPTH: Final = 4
"""Directories above one whose tree is listed: usr/lib/python3/dist-packages has as many."""
_PAUSE_ENTRIES: Final = 1000


class LookAhead:
    """The recursive listings of `tree` that are under way."""

    def __init__(self, tree: Tree, link: UserLink, questions: Questions) -> None:
        self._tree = tree
        self._link = link
        self._questions = questions
        self._walks: dict[FileNode, asyncio.Task[None]] = {}
        self._static = tree.freshness.static
        self._last_missed: tuple[int, float, FileNode] | None = None
        """The epoch, the time and the directory of the last first question about a directory."""

    def __repr__(self) -> str:
        return f"<LookAhead {len(self._walks)} listings>"

    def missed(self, above: FileNode) -> bool:
        """A name of a directory needs a question. Return whether to list the directory at once."""
        directory = above.directory
        assert directory is not None
        if directory.is_complete(self._tree.freshness.epoch):
            return False  # only attributes
        if self.covering(above) is not None:
            return False  # it is on its way
        if directory.missed() > 1:
            return True
        self._first_missed(above)
        return self._static and self.covering(above) is None

    def will_list(self, above: FileNode) -> None:
        """A directory is about to be listed. If nobody wanted anything of it before, more may be listed."""
        directory = above.directory
        assert directory is not None
        unknown = not directory.misses and directory.listed_epoch != self._tree.freshness.epoch
        if unknown and self.covering(above) is None:
            directory.missed()
            self._first_missed(above)

    def covering(self, node: FileNode) -> "asyncio.Task[None] | None":
        """Return the recursive listing under way that has a directory in it."""
        if not self._walks:
            return None
        while True:
            if node in self._walks:
                return self._walks[node]
            if not node.links:
                return None
            node = node.links[0][0]

    def _first_missed(self, above: FileNode) -> None:
        """List the directory that this one and the last one have in common, if it is worth it."""
        epoch, now_s = self._tree.freshness.epoch, asyncio.get_running_loop().time()
        last, self._last_missed = self._last_missed, (epoch, now_s, above)
        if last is None or last[0] != epoch or now_s - last[1] > WALK_S or last[2] is above:
            return
        line = _line(above)
        budgets_all = STATIC_ENTRIES if self._static else WALK_ENTRIES
        common = 0
        for index, pair in enumerate(zip(line, _line(last[2]), strict=False)):
            if pair[0] is pair[1]:
                common = index
        if self._static:
            common = max(common, STATIC_DEPTH)
        for node in line[common:]:
            assert node.directory is not None
            listed_epoch, done = node.directory.tree_listed
            budgets = [n for n in budgets_all if listed_epoch != epoch or n > done]
            if budgets:
                node.directory.tree_listing_began(epoch, budgets[0])
                task = self._questions.spawn(self._walk(node, budgets[0]))
                self._walks[node] = task
                task.add_done_callback(partial(self._walked, node))
                return

    def _walked(self, top: FileNode, _: "asyncio.Task[None]") -> None:
        self._walks.pop(top, None)

    async def _walk(self, top: FileNode, entries: int) -> None:
        """List up to so many entries below a directory."""
        tree, session = self._tree, self._link.session()
        with tree.freshness.question() as asked:
            if self._static:
                try:
                    rows, _ = await session.rows(top.path(), entries)
                except sftp.LinkLost:
                    raise NFSError(Status.DELAY) from None
            else:
                reply = await ask(session.extended(TreeRequest(top.path(), entries)))
                rows = [(path, stat, b"") for path, stat in sftp.as_names(reply)[0]]
            await take_rows(tree, top, rows, asked)


async def take_rows(tree: Tree, top: FileNode, rows: Iterable[Row], asked: Asked) -> bool:
    """Take over what was listed from a directory down. Is the directory's own listing believed?"""
    found: dict[bytes, list[tuple[bytes, Stat]]] = {}
    targets: dict[bytes, list[tuple[bytes, bytes]]] = {}
    count, taken = 0, False
    for path, stat, target in rows:
        place, _, name = path.rpartition(b"/")
        if target:
            targets.setdefault(place, []).append((name, target))
        if name != b".":
            found.setdefault(place, []).append((name, stat))
            continue
        # All names of this directory have come.
        here = found.pop(place, [])
        node = tree.below(top, place)
        if node is not None:
            done = tree.take_listing(node, here, asked)
            taken = taken or (done and not place)
        count += len(here)
        if count > _PAUSE_ENTRIES:
            count = 0
            tree.table.sync()
            await asyncio.sleep(0)
    for place, rest in found.items():
        node = tree.below(top, place)
        if node is not None:
            tree.take_part(node, rest, asked)
    for place, leads in targets.items():
        node = tree.below(top, place)
        if node is not None:
            tree.take_targets(node, leads)
    return taken


def _line(node: FileNode) -> list[FileNode]:
    """Return all directories from the top to `node`."""
    line = [node]
    while node.links:
        node = node.links[0][0]
        line.append(node)
    return line[::-1]
