"""What may be believed of the user's folder, and since when: `Freshness`.

Strategy: what was seen in this *epoch* is true until the user's side says that it has changed. A new
connection begins a new epoch, unless the tree is *static*: the user's side tells of its changes after a cut,
too. An answer makes something known only if no change was told since its question was sent. It says nothing
about names that clients have changed meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from womm.fileserver.tree.changes import Asked, Changes, Concern, Stamp
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.table import Table


class Freshness:
    """The epoch, and the changes and questions that are under way in it."""

    def __init__(self, table: Table, *, static: bool = False) -> None:
        self._table = table
        self.static = static
        self.epoch = 1
        """Counts connections, and times at which changes were missed; not kept over a restart."""
        self._seq = 0
        """How often the user's side has said that something has changed."""
        self._changes = Changes()

    def __repr__(self) -> str:
        return f"<Freshness, epoch {self.epoch}>"

    def renew(self) -> None:
        """Believe nothing that was seen before: a new connection, or changes that nobody has seen."""
        self.epoch += 1
        self._seq += 1

    def connected(self) -> None:
        """There is a new connection of the user's side."""
        if not self.static:
            self.renew()

    def told(self) -> None:
        """The user's side says that something has changed."""
        self._seq += 1

    def stamp(self) -> Stamp:
        """Return when it is: what is seen under this stamp is true while it is the current one."""
        return self.epoch, self._seq

    @contextmanager
    def changing(self, *what: tuple[FileNode, bytes] | FileNode) -> Iterator[None]:
        """Around a client's change of these names, or of attributes of these directories.

        Answers to questions that were sent before its end say nothing about them.
        """
        keys: list[Concern] = []
        for item in what:
            if isinstance(item, FileNode):
                keys.append(item.fileid)
            else:  # with the attributes of the directory that it is in
                keys += [(item[0].fileid, item[1]), item[0].fileid]
        try:
            with self._changes.change(keys):
                yield
        finally:
            self._table.sync()

    @contextmanager
    def question(self) -> Iterator[Asked]:
        """Around a question; its value says when the question began."""
        try:
            with self._changes.question(self.stamp()) as asked:
                yield asked
        finally:
            self._table.sync()

    def name_overtaken(self, above: FileNode, name: bytes, asked: Asked) -> bool:
        """Does an answer say nothing of which file this name is?

        A client has changed it since then; or the answer is older than the user's last change, and the name
        is known from a newer one.
        """
        directory = above.directory
        assert directory is not None
        node = directory.entries.get(name)
        # A flush takes long, and changes no name; see `FileNode.seen`.
        flushes = int(node is not None and node.use.flushing)
        if self._changes.touched((above.fileid, name), asked, but=flushes):
            return True
        return asked.stamp != self.stamp() and directory.knows(name, self.epoch)

    def entry_overtaken(self, above: FileNode, name: bytes, asked: Asked) -> bool:
        """Does a listing say nothing of this name, or of the attributes that it has?

        A client's change in a directory changes its attributes, too, which is no change of the user's.
        """
        assert above.directory is not None
        node = above.directory.entries.get(name)
        if node is not None and self._changes.touched(node.fileid, asked):
            return True
        return self.name_overtaken(above, name, asked)

    def path_overtaken(self, node: FileNode, asked: Asked) -> bool:
        """Has a client changed a name on the way to a directory? An answer may be about another one."""
        while node.links:
            above, name = node.links[0]
            if self._changes.touched((above.fileid, name), asked):
                return True
            node = above
        return False

    def is_moving(self, node: FileNode) -> bool:
        """Is a client about to change a name on the way to a directory?"""
        return self.path_overtaken(node, self._changes.now(self.stamp()))
