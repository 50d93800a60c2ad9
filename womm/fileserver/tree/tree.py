"""The user's folder as a tree of nodes: which file a name is, what is known of it, and since when.

Strategy: what was looked at in this *epoch* is true until the user's side says that it has changed; a new
connection begins a new epoch, and everything is looked at again when it is asked for. A reply is believed
only if no change was told since its request was sent. Names that clients change while a listing is on its
way are not taken from that listing.

One LSTAT answers the first question about a directory; a second one fetches all of it; who walks through
several directories has the common one listed recursively, four times as much each time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from womm.fileserver import sftp
from womm.fileserver.connection import UserLink
from womm.fileserver.tree.changes import Asked, Changes, Concern, Stamp
from womm.fileserver.tree.nodes import Directory, FileNode, kind_of
from womm.fileserver.tree.table import Row, Table
from womm.fileserver.tree.turns import Turns
from womm.nfs.constants import FileType
from womm.nfs.status import NFSError, Status
from womm.wire.attributes import Stat
from womm.wire.extensions import Tree as TreeRequest

log = logging.getLogger(__name__)
T = TypeVar("T")

ROOT: Final = 1
TRIES: Final = 4
"""How often what changes all the time is looked at, before its last answer is taken as it is."""
WALK_S: Final = 5.0
"""Two directories that are looked at for the first time within this: someone walks through the tree."""
WALK_ENTRIES: Final = (256, 1024, 4096, 16384)
_PAUSE_ENTRIES: Final = 1000
_OURS: Final = 1 << 63
"""Of a number that is no inode's of the user."""


async def ask(waiter: Awaitable[sftp.Reply]) -> sftp.Reply:
    """Await a reply; a link that is cut meanwhile is NFSError(DELAY)."""
    try:
        return await waiter
    except sftp.LinkLost:
        raise NFSError(Status.DELAY) from None


class Tree:
    """All nodes. `dropped(node)`: cached content of it is no longer true."""

    def __init__(self, table: Table, link: UserLink, dropped: Callable[[FileNode], None]) -> None:
        self.table = table
        self.link = link
        self._dropped = dropped
        self.epoch = 1
        self._seq = 0
        self.root = FileNode(ROOT, FileType.DIRECTORY, 0, 0, table.change())
        self.nodes: dict[int, FileNode] = {ROOT: self.root}
        self._recovering = bool(table.doubts())
        """The server ended under a rename: an inode is all that is known of its file."""
        self._by_ino: dict[tuple[int, int], FileNode] = {}
        self._probes: dict[tuple[int, bytes], asyncio.Task[bool]] = {}
        self._walks: dict[FileNode, asyncio.Task[None]] = {}
        self._cold: tuple[float, FileNode] | None = None
        self._changes = Changes()
        self.turns = Turns()
        self._background: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<Tree {len(self.nodes)} nodes, epoch {self.epoch}>"

    async def stop(self) -> None:
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._background.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, (OSError, NFSError)):
                log.error("a question to the user's side failed", exc_info=error)

    def took_over(self) -> None:
        """The table has the names of an earlier server, which ended under who knows what."""
        self._recovering = True
        assert self.root.directory is not None
        self.root.directory.loaded = False
        self.renew()

    # -- what is true -----------------------------------------------------------------------------
    def renew(self) -> None:
        """Believe nothing that was seen before: a new connection, or changes that nobody has seen."""
        self.epoch += 1
        self._seq += 1
        self._cold = None

    def changed(self, paths: Sequence[bytes]) -> None:
        """Note what has changed on the user's side: of a directory, all that is in it."""
        self._seq += 1
        for path in paths:
            self._changed([part for part in path.split(b"/") if part not in (b"", b".")])

    def _changed(self, parts: Sequence[bytes]) -> None:
        node = self.root
        for index, part in enumerate(parts):
            directory = node.directory
            if directory is None or node.gone:
                return
            child = directory.entries.get(part)
            if child is not None and index + 1 < len(parts):
                node = child
                continue
            self._doubt(node)
            directory.unsure.add(part)
            directory.absent.pop(part, None)
            if child is None:
                return
            node = child
        # What came or went stands for everything below it.
        doubtful = [node]
        while doubtful:
            node = doubtful.pop()
            self._doubt(node)
            if node.directory is not None:
                node.directory.listed = 0
                node.directory.absent.clear()
                doubtful += node.directory.entries.values()
            else:
                # What clients have written and is not sent yet is in the log, over the blocks.
                self._dropped(node)
                if node.log is None:
                    node.version = ()

    def _doubt(self, node: FileNode) -> None:
        node.valid = 0
        node.change = self.table.change()

    @staticmethod
    def doubt(node: FileNode, place: tuple[FileNode, bytes]) -> None:
        """Note that a name leads to another file than it did, unless a client has renamed that meanwhile."""
        if place not in node.places:
            return
        node.valid = 0
        above, name = place
        if above.directory is not None:
            above.directory.unsure.add(name)

    def stamp(self) -> Stamp:
        return self.epoch, self._seq

    def apply(self, node: FileNode, stat: Stat, stamp: Stamp, *, own: bool = False) -> None:
        """Take over what the user's side says of a node. `own`: what is new in it a client has done."""
        version = stat.version
        same = own and version[:2] == node.version[:2] and version[3:] == node.version[3:]
        if node.stat is None:
            node.stat, node.version = stat, version
            if node.log is not None:
                node.stat = node.log.over(stat)
            else:
                node.base = stat.base
        elif node.log is not None or node.flushing:
            # Size and times are what clients have written; the flush will tell. What is below is the user's.
            if same:
                node.version = version
            elif not own and not node.flushing and version != node.version:
                self._dropped(node)
            node.stat = node.stat._replace(mode=stat.mode, nlink=stat.nlink, blocks=stat.blocks)
        elif version != node.version:
            if not own and node.base != stat.base and version[:2] != node.version[:2]:
                node.edits += 1
            node.base = stat.base if not own or (node.base and node.base[0] == stat.size) else ()
            node.stat, node.version = stat, version
            if not own:
                node.change = self.table.change()
                if node.directory is not None:
                    node.directory.listed = 0
                    node.directory.absent.clear()
            if not same and node.kind is FileType.REGULAR:
                self._dropped(node)
            node.target = None
        elif stat.mode != node.stat.mode or stat.nlink != node.stat.nlink:
            node.stat = stat
        else:
            node.stat = node.stat._replace(atime_ns=stat.atime_ns, blocks=stat.blocks)
        if stamp == self.stamp():
            node.valid = self.epoch

    # -- names ------------------------------------------------------------------------------------
    def directory(self, node: FileNode) -> Directory:
        """Return what is known of a directory. Raises NFSError."""
        if node.directory is None:
            raise NFSError(Status.SYMLINK if node.kind is FileType.SYMLINK else Status.NOTDIR)
        if node.gone:
            raise NFSError(Status.STALE)
        if not node.directory.loaded:
            self._load(node, node.directory)
        return node.directory

    def _load(self, node: FileNode, directory: Directory) -> None:
        """Enter the names that the table knows: none of them is believed yet."""
        directory.loaded = True
        if self.table.empty:
            return
        for row in self.table.of_directory(node.fileid):
            child = self.nodes.get(row.fileid)
            if child is None:
                child = self._make(row.fileid, FileType(row.kind), row.dev, row.ino)
                self.nodes[row.fileid] = child
                self._by_ino[row.dev, row.ino] = child
            if row.name not in directory.entries:
                directory.enter(row.name, child)
                child.places.append((node, row.name))

    def resolve(self, fileid: int) -> FileNode | None:
        """Return a node by its number, from the table if need be; it is not looked at."""
        found = self.nodes.get(fileid)
        if found is not None or self.table.empty or not 0 < fileid < 1 << 63:
            return found
        for row in self.table.of_file(fileid):
            above = self.resolve(row.directory)
            if above is not None and above.directory is not None and not above.gone:
                self.directory(above)
        return self.nodes.get(fileid)

    def place(self, above: FileNode, name: bytes, node: FileNode) -> None:
        """Note that `node` has a name."""
        assert above.directory is not None
        above.directory.enter(name, node)
        node.places.append((above, name))
        self.table.put(Row(above.fileid, name, node.fileid, int(node.kind), node.dev, node.ino))

    def unplace(self, above: FileNode, name: bytes) -> FileNode | None:
        """Note that a name is gone; return what it was."""
        assert above.directory is not None
        node = above.directory.leave(name)
        if node is None:
            return None
        if len(node.places) == 1:
            node.written = node.path()  # what is written to it from now on is told by this name
        self.table.drop(above.fileid, name)
        node.places = [place for place in node.places if place != (above, name)]
        if not node.places:
            self._lose(node)
        return node

    def _lose(self, node: FileNode) -> None:
        """Note that a node, and all below it, has no name any more."""
        lost = [node]
        while lost:
            node = lost.pop()
            node.gone = True
            if self._by_ino.get((node.dev, node.ino)) is node:
                del self._by_ino[node.dev, node.ino]
            if node.stat is not None:
                node.stat = node.stat._replace(nlink=0)
            if not node.opens:
                self.forget(node)
            if node.directory is not None:
                for name, child in list(node.directory.entries.items()):
                    self.table.drop(node.fileid, name)
                    child.places = [place for place in child.places if place != (node, name)]
                    if not child.places:
                        child.written = node.written + b"/" + name
                        lost.append(child)
                node.directory.entries.clear()

    def forget(self, node: FileNode) -> None:
        """Let go of a node that is gone."""
        self.nodes.pop(node.fileid, None)
        if node.kind is FileType.REGULAR:
            self._dropped(node)

    def enter(self, above: FileNode, name: bytes, stat: Stat, stamp: Stamp, *, own: bool = False) -> FileNode:
        """Return the node of a name that the user's side has just shown."""
        assert above.directory is not None
        kind = kind_of(stat)
        node = above.directory.entries.get(name)
        if node is not None and (node.kind is not kind or (node.dev, node.ino) != (stat.dev, stat.ino)):
            self.unplace(above, name)
            node = None
        if node is None:
            node = self._known(above, stat, kind)
            if node is None:
                node = self._make(self.table.number(), kind, stat.dev, stat.ino)
                self.nodes[node.fileid] = node
                self._by_ino[stat.dev, stat.ino] = node
            self.place(above, name, node)
        if stamp == self.stamp():
            above.directory.unsure.discard(name)
        self.apply(node, stat, stamp, own=own)
        return node

    def _make(self, fileid: int, kind: FileType, dev: int, ino: int) -> FileNode:
        """Return a new node. Its number is the user's inode's, so that what programs have noted of a file
        there (git's index) holds in pods; below another mount there, where inodes have the same, our own."""
        ours = dev != self.table.dev or not ROOT < ino < _OURS
        return FileNode(fileid, kind, dev, ino, self.table.change(), number=fileid | _OURS if ours else ino)

    def _known(self, above: FileNode, stat: Stat, kind: FileType) -> FileNode | None:
        """Return the node of an inode that has another name too, or had."""
        node = self._by_ino.get((stat.dev, stat.ino))
        if node is None:
            return None
        if node.kind is not kind or node is above:
            self._displace(node)
            return None
        if stat.nlink > 1 and kind is not FileType.DIRECTORY:
            return node
        # It has one name: it was moved, or the number belongs to another file by now.
        moved = (
            kind is FileType.DIRECTORY
            or (node.stat is None and self._recovering)
            or node.held is not None
            or node.version[:2] == (stat.size, stat.mtime_ns)
        )
        if moved and not self._above(node, above):
            places, node.places = node.places, []
            for directory, name in places:
                assert directory.directory is not None
                directory.directory.leave(name)
                directory.directory.unsure.add(name)  # another file may have it
                self.table.drop(directory.fileid, name)
                directory.valid = 0
            return node
        self._displace(node)
        return None

    def _displace(self, node: FileNode) -> None:
        for directory, name in list(node.places):
            self.unplace(directory, name)
            assert directory.directory is not None
            directory.directory.unsure.add(name)

    @staticmethod
    def _above(node: FileNode, other: FileNode) -> bool:
        """Is `node` above `other`?"""
        while other.places:
            if other is node:
                return True
            other = other.places[0][0]
        return other is node

    @contextmanager
    def changing(self, *what: tuple[FileNode, bytes] | FileNode) -> Iterator[None]:
        """A client changes these names, or attributes of these directories: what is on its way says nothing
        about them."""
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
            self.table.sync()

    @contextmanager
    def _fetch(self) -> Iterator[Asked]:
        try:
            with self._changes.question(self.stamp()) as asked:
                yield asked
        finally:
            self.table.sync()

    def _unsettled(self, above: FileNode, name: bytes, asked: Asked) -> bool:
        """Does an answer say nothing of which file this name is? A client has changed it since then; or the
        answer is of before the user's last change, and the name is known from a newer one."""
        directory = above.directory
        assert directory is not None
        node = directory.entries.get(name)
        # To send what was written takes long, and changes no name; see `apply`.
        flushes = int(node is not None and node.flushing)
        if self._changes.touched((above.fileid, name), asked, but=flushes):
            return True
        return asked.stamp != self.stamp() and self._is_known(directory, name)

    def _untold(self, above: FileNode, name: bytes, asked: Asked) -> bool:
        """Is that so, or is it a directory that clients have changed something in? Of that, a listing has
        attributes that may be taken for a change of the user's."""
        assert above.directory is not None
        node = above.directory.entries.get(name)
        if node is not None and self._changes.touched(node.fileid, asked):
            return True
        return self._unsettled(above, name, asked)

    def is_moving(self, node: FileNode) -> bool:
        """Is a client about to change a name on the way to this directory?"""
        return self._moved(node, self._changes.now(self.stamp()))

    def _moved(self, node: FileNode, asked: Asked) -> bool:
        """Has a client changed a name on the way to this directory? An answer may be about another one."""
        while node.places:
            above, name = node.places[0]
            if self._changes.touched((above.fileid, name), asked):
                return True
            node = above
        return False

    # -- looking ----------------------------------------------------------------------------------
    async def fresh(self, node: FileNode) -> None:
        """Make what is known of a node true. Raises NFSError (STALE, DELAY), OSError."""
        answered = False
        for _ in range(TRIES):
            if node.gone:
                if node.opens:
                    return
                raise NFSError(Status.STALE)
            if node.valid == self.epoch:
                return
            if node.checking is None or node.checking.done():
                node.checking = self._spawn(self._look(node))
            answered = await asyncio.shield(node.checking)
        if node.stat is None or not (answered or self._is_written(node)):
            raise NFSError(Status.DELAY)

    async def _look(self, node: FileNode) -> bool:
        """Look at a node once. Has the user's side said what it is like?"""
        if node is self.root:
            with self._fetch() as asked:
                stat = sftp.as_stat(await ask(self.link.session().lstat(b"")))
                self.apply(node, stat, asked.stamp)
            return True
        if not node.places:
            return False
        above, name = node.places[0]
        answered = await self.probe(above, name)
        if node.gone and not node.opens:
            raise NFSError(Status.STALE)
        # One of several names may lead elsewhere by now: that says nothing of the node.
        return answered and (above, name) in node.places

    def known(self, above: FileNode, name: bytes) -> FileNode | None:
        """Return what a name is, if that needs no question."""
        directory = self.directory(above)
        return directory.entries.get(name) if self._is_known(directory, name) else None

    async def lookup(self, above: FileNode, name: bytes) -> FileNode:
        """Return what a name is. Raises NFSError, OSError."""
        place = above.fileid, name
        if self._is_known(self.directory(above), name) or not self.turns.taken(place):
            try:
                return await self.find(above, name)
            except NFSError as exc:
                if exc.status is not Status.DELAY or not self.turns.taken(place):
                    raise
        # While clients change it, no answer says what it is.
        async with self.turns.take(place):
            return await self.find(above, name)

    async def find(self, above: FileNode, name: bytes) -> FileNode:
        """As `lookup`, for who has the name's turn."""
        directory = self.directory(above)
        answered = False
        for _ in range(TRIES):
            if self._is_known(directory, name):
                break
            answered = await self.probe(above, name)
            if above.gone:
                raise NFSError(Status.STALE)
        else:
            node = directory.entries.get(name)
            if not answered and (node is None or not self._is_written(node)):
                raise NFSError(Status.DELAY)
        node = directory.entries.get(name)
        if node is None:
            raise NFSError(Status.NOENT)
        return node

    @staticmethod
    def _is_written(node: FileNode) -> bool:
        """Is it as clients have written it, whatever the user's side says of its size and times?"""
        return node.log is not None or node.flushing

    def _is_known(self, directory: Directory, name: bytes) -> bool:
        """Is it known for certain what a name is?"""
        if name in directory.unsure:
            return False
        listed = directory.listed == self.epoch
        node = directory.entries.get(name)
        if node is None:
            return listed or directory.absent.get(name) == self.epoch
        return node.valid == self.epoch and (listed or len(node.places) == 1)

    async def probe(self, above: FileNode, name: bytes) -> bool:
        """Look a name up on the user's side; many who want the same ask once. Was there an answer?"""
        key = above.fileid, name
        task = self._probes.get(key)
        if task is None:
            task = self._spawn(self._probe(above, name))
            self._probes[key] = task
            task.add_done_callback(lambda _: self._probes.pop(key, None))
        return await asyncio.shield(task)

    async def _probe(self, above: FileNode, name: bytes) -> bool:
        walk = self._covering(above)
        if walk is not None:
            await asyncio.wait([walk])
            if above.gone or above.directory is None:
                return False
            # It may have ended before it came here. The next one may do so too: do not wait for that.
            if self._is_known(above.directory, name):
                return True
        session = self.link.session()
        path = above.path()
        with self._fetch() as asked:
            waiter = session.lstat(path + b"/" + name if path else name)
            self._missed(above)
            try:
                stat = sftp.as_stat(await ask(waiter))
            except (FileNotFoundError, NotADirectoryError):
                stat = None
            if above.gone or above.directory is None:
                return False
            if self._moved(above, asked) or self._unsettled(above, name, asked):
                return False
            directory = self.directory(above)
            if stat is not None:
                self.enter(above, name, stat, asked.stamp)
                return True
            self.unplace(above, name)
            if asked.stamp == self.stamp():
                directory.unsure.discard(name)
                directory.absent[name] = self.epoch
            return True

    async def list_names(self, above: FileNode) -> None:
        """Make a directory's names complete and true. Raises NFSError, OSError."""
        directory = self.directory(above)
        answered = False
        for _ in range(TRIES):
            if directory.listed == self.epoch and not directory.unsure:
                return
            if directory.listing is None or directory.listing.done():
                directory.listing = self._spawn(self._list_names(above))
            answered = await asyncio.shield(directory.listing)
            if above.gone:
                raise NFSError(Status.STALE)
        if not answered:
            raise NFSError(Status.DELAY)

    async def _list_names(self, above: FileNode) -> bool:
        """List a directory once. Was there an answer?"""
        session = self.link.session()
        directory = self.directory(above)
        walk = self._covering(above)
        if walk is None and not directory.misses and directory.listed != self.epoch:
            directory.misses = 1
            self._walked(above)
            walk = self._covering(above)
        if walk is not None:
            await asyncio.wait([walk])
            if directory.listed == self.epoch and not directory.unsure:
                return True
        with self._fetch() as asked:
            try:
                found = await session.listing(above.path())
            except sftp.LinkLost:
                raise NFSError(Status.DELAY) from None
            except (FileNotFoundError, NotADirectoryError):
                if self._moved(above, asked):
                    return False
                raise
            return self._take(above, found, asked)

    def _take(self, above: FileNode, found: Sequence[tuple[bytes, Stat]], asked: Asked) -> bool:
        """Take over a whole listing, if it is to be believed."""
        if above.gone or above.directory is None or self._moved(above, asked):
            return False
        directory = self.directory(above)
        names = set()
        known = directory.listed
        new = False
        for name, stat in found:
            names.add(name)
            if not self._untold(above, name, asked):
                new = new or name not in directory.entries
                self.enter(above, name, stat, asked.stamp)
        for name in [name for name in directory.entries if name not in names]:
            if not self._untold(above, name, asked):
                self.unplace(above, name)
                new = True
        if new and known:
            above.change = self.table.change()
        if asked.stamp == self.stamp():
            directory.listed = self.epoch
            directory.unsure = {name for name in directory.unsure if self._untold(above, name, asked)}
            # What a client is about to change and was not taken: it must not count as absent.
            directory.unsure.update(names - directory.entries.keys())
            directory.absent.clear()
            directory.misses = 0
        return True

    # -- looking ahead ----------------------------------------------------------------------------
    def _missed(self, above: FileNode) -> None:
        """A name of this directory had to be asked for: the next question is likely to be about another."""
        directory = above.directory
        assert directory is not None
        if directory.listed == self.epoch and not directory.unsure:
            return  # only attributes
        if self._covering(above) is not None:
            return  # it is on its way
        directory.misses += 1
        if directory.misses == 1:
            self._walked(above)
        elif directory.listing is None or directory.listing.done():
            self._spawn(self.list_names(above))

    def _covering(self, node: FileNode) -> "asyncio.Task[None] | None":
        """Return the recursive listing under way that has a directory in it."""
        if not self._walks:
            return None
        while True:
            if node in self._walks:
                return self._walks[node]
            if not node.places:
                return None
            node = node.places[0][0]

    @staticmethod
    def _line(node: FileNode) -> list[FileNode]:
        """All directories from the top to `node`."""
        line = [node]
        while node.places:
            node = node.places[0][0]
            line.append(node)
        return line[::-1]

    def _walked(self, above: FileNode) -> None:
        now = asyncio.get_running_loop().time()
        last, self._cold = self._cold, (now, above)
        if last is None or now - last[0] > WALK_S or last[1] is above:
            return
        line = self._line(above)
        common = 0
        for index, pair in enumerate(zip(line, self._line(last[1]), strict=False)):
            if pair[0] is pair[1]:
                common = index
        for node in line[common:]:
            assert node.directory is not None
            epoch, done = node.directory.treed
            budgets = WALK_ENTRIES if epoch != self.epoch else [n for n in WALK_ENTRIES if n > done]
            if budgets:
                node.directory.treed = self.epoch, budgets[0]
                task = self._spawn(self._walk(node, budgets[0]))
                self._walks[node] = task
                task.add_done_callback(partial(self._walk_done, node))
                return

    def _walk_done(self, top: FileNode, _: "asyncio.Task[None]") -> None:
        self._walks.pop(top, None)

    async def _walk(self, top: FileNode, entries: int) -> None:
        session = self.link.session()
        with self._fetch() as asked:
            reply = await ask(session.extended(TreeRequest(top.path(), entries)))
            names, _ = sftp.as_names(reply)
            found: dict[bytes, list[tuple[bytes, Stat]]] = {}
            count = 0
            for path, stat in names:
                place, _, name = path.rpartition(b"/")
                if name != b".":
                    found.setdefault(place, []).append((name, stat))
                    continue
                here = found.pop(place, [])
                node = self._below(top, place)
                if node is not None:
                    self._take(node, here, asked)
                count += len(here)
                if count > _PAUSE_ENTRIES:
                    count = 0
                    self.table.sync()
                    await asyncio.sleep(0)
            for place, rest in found.items():
                node = self._below(top, place)
                if node is None or node.directory is None or node.gone or self._moved(node, asked):
                    continue
                self.directory(node)
                for name, stat in rest:
                    if not self._untold(node, name, asked):
                        self.enter(node, name, stat, asked.stamp)

    @staticmethod
    def _below(top: FileNode, path: bytes) -> FileNode | None:
        node: FileNode | None = top
        for part in path.split(b"/") if path else []:
            if node is None or node.directory is None:
                return None
            node = node.directory.entries.get(part)
        return node
