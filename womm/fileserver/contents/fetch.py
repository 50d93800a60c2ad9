"""Blocks that come from the user's side: fetched once for all readers, and ahead of one that reads on.

Strategy: a block is taken into the cache only if the file was, after it was read, of the version that the
tree knows: so blocks of two versions are never mixed. Reads that go on where the last one ended have the next
blocks fetched ahead, twice as many as were read so far.
"""

import asyncio
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.connection import UserLink
from womm.fileserver.contents.blocks import BLOCK_BYTES, Blocks
from womm.fileserver.contents.guesses import Guesses
from womm.fileserver.contents.rate import LinkRate
from womm.fileserver.contents.spread import Spread
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import ask
from womm.fileserver.tree.tree import Tree
from womm.nfs.status import NFSError, Status

AHEAD_BLOCKS: Final = 48
"""12 MiB: 20 MB/s at 50 ms need 1 MB, a fast link in Python rather more; the pod's memory bounds it."""
AHEAD_SLACK: Final = 16 * BLOCK_BYTES
"""Kernels send several reads at a time, and they come in any order."""
AHEAD_S: Final = 1.0
"""All that is fetched ahead comes within this time: other requests wait behind it."""
AHEAD_FIRST_BYTES_S: Final = 8e6
"""The rate of a link before it was measured."""
AHEAD_MIN_BLOCKS: Final = 4
UNREAD_BLOCKS: Final = 4096
"""So many unread blocks are counted before the dropped ones among them are looked for."""


class OpenFile:
    """A file that clients have open, and where they read it last."""

    __slots__ = ("access", "closed", "end", "known_edits", "node", "run", "wrote")

    def __init__(self, node: FileNode, access: int) -> None:
        self.node = node
        self.access = access
        self.closed = False
        self.wrote = False
        self.known_edits = node.user_edits
        """How many of the user's changes its client knows."""
        self.end = 0
        self.run = 0


class Changed(Exception):
    """The file is not what it was: look again."""


class Fetcher:
    """Reads files of `tree` over the link, through `blocks`."""

    def __init__(self, tree: Tree, link: UserLink, blocks: Blocks) -> None:
        self._tree = tree
        self._link = link
        self._blocks = blocks
        self._fetches: dict[tuple[int, int, tuple[int, ...]], asyncio.Task[bytes]] = {}
        self._rate = LinkRate()
        self._bytes_s = AHEAD_FIRST_BYTES_S
        """How much the link carries."""
        self._unread: dict[tuple[int, int], int] = {}
        """For each fetched block, how many of its bytes no client has read yet."""
        self._prune_at = UNREAD_BLOCKS
        self._spread = Spread(lambda: link.received_bytes)
        self.guesses = Guesses()
        self.from_cache = 0
        """Bytes that were read once more: without the cache they would have been fetched again."""

    async def stop(self) -> None:
        tasks = list(self._fetches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def read(self, file: OpenFile, offset: int, end: int) -> bytes:
        """Return a range of the user's side's file, from the cache or fetched. Raises Changed."""
        node = file.node
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        found: list[bytes | asyncio.Task[bytes]] = []
        for number in range(first, last + 1):
            data = self._blocks.get(node.fileid, number)
            found.append(self._missing(node, number) if data is None else data)
        self._ahead(file, offset, end, last)
        parts: list[bytes | memoryview] = []
        for number, item in enumerate(found, first):
            block = item if isinstance(item, bytes) else await asyncio.shield(item)
            self.guesses.read((node.fileid, number))
            self._spread.read((node.fileid, number))
            size = min(end, (number + 1) * BLOCK_BYTES) - max(offset, number * BLOCK_BYTES)
            again = self._again((node.fileid, number), size)
            if isinstance(item, bytes):
                self.from_cache += again
            start = max(0, offset - number * BLOCK_BYTES)
            stop = min(BLOCK_BYTES, end - number * BLOCK_BYTES)
            if len(block) < stop:
                block += bytes(stop - len(block))
            parts.append(memoryview(block)[start:stop] if (start, stop) != (0, len(block)) else block)
        if len(parts) == 1:
            return bytes(parts[0])
        return b"".join(parts)

    def _again(self, key: tuple[int, int], size_bytes: int) -> int:
        """Return how many of so many bytes of a block have been read before; they have been from now on."""
        unread = self._unread.get(key, 0)
        first = min(unread, size_bytes)
        if first < unread:
            self._unread[key] = unread - first
        elif unread:
            del self._unread[key]
        return size_bytes - first

    def _not_read_yet(self, key: tuple[int, int], size_bytes: int) -> None:
        if len(self._unread) >= self._prune_at:  # some were fetched ahead in vain, and dropped
            self._unread = {key: size for key, size in self._unread.items() if self._blocks.has(*key)}
            self._prune_at = max(UNREAD_BLOCKS, 2 * len(self._unread))
        if size_bytes:
            self._unread[key] = size_bytes

    def _missing(self, node: FileNode, number: int) -> "asyncio.Task[bytes]":
        """Fetch a block that a client waits for; of a program, what it is likely to want next, too."""
        count = len(self._fetches)
        task = self._fetch(node, number)
        if self._tree.freshness.static and len(self._fetches) > count:
            size = node.version[0] if node.version else 0
            for other in self._spread.around(node, number):
                self._besides(node, other, min(BLOCK_BYTES, size - other * BLOCK_BYTES))
            for small in self._spread.beside(node):
                if small.checked_epoch == self._tree.freshness.epoch and small.stat is not None:
                    self._besides(small, 0, small.stat.size)
        return task

    def _besides(self, node: FileNode, number: int, size_bytes: int) -> None:
        count, key = len(self._fetches), (node.fileid, number)
        task = self.begin(node, number)
        if task is None or len(self._fetches) == count:
            return
        self._spread.came(key, size_bytes)

        def ended(task: "asyncio.Task[bytes]") -> None:
            if not self._blocks.has(*key):  # a cut, or another version: nothing has come
                self._spread.read(key)

        task.add_done_callback(ended)

    def begin(self, node: FileNode, number: int) -> "asyncio.Task[bytes] | None":
        """Fetch a block that nobody waits for; None: it is there. Raises Changed, NFSError, OSError."""
        return None if self._blocks.has(node.fileid, number) else self._fetch(node, number)

    def guess(self, node: FileNode, number: int) -> "asyncio.Task[bytes] | None":
        """As `begin`, for a block that an earlier task has read. None: it is there, or on its way."""
        count = len(self._fetches)
        task = self.begin(node, number)
        if task is None or len(self._fetches) == count:
            return None
        key = node.fileid, number

        def came(task: "asyncio.Task[bytes]") -> None:
            if not task.cancelled() and task.exception() is None and self._blocks.has(*key):
                self.guesses.came(key, len(task.result()))

        task.add_done_callback(came)
        return task

    async def as_it_is(self, node: FileNode, offset: int, count: int) -> tuple[bytes, bool]:
        """Read at most a block of a file that changes all the time, past the cache."""
        link = node.links[0]
        waiter = self._link.session().get(node.path(), offset, min(count, BLOCK_BYTES))
        stat, data, end = sftp.as_got(await ask(waiter))
        if (stat.ino, stat.dev) != (node.ino, node.dev):
            self._tree.doubt(node, link)
            raise NFSError(Status.DELAY)
        return data, end

    def _fetch(self, node: FileNode, number: int) -> "asyncio.Task[bytes]":
        # The version of a file with unsent writes stays as it is when the user changes it, too.
        since = () if node.use.log is None else self._tree.freshness.stamp()
        key = node.fileid, number, node.version + since
        task = self._fetches.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._get(node, number))
            self._fetches[key] = task
            task.add_done_callback(lambda done: self._fetched(key, done))
        return task

    def _fetched(self, key: tuple[int, int, tuple[int, ...]], task: "asyncio.Task[bytes]") -> None:
        self._fetches.pop(key, None)
        if not task.cancelled():
            task.exception()  # a block that is read ahead may have no reader

    async def _get(self, node: FileNode, number: int) -> bytes:
        version, stamp = node.version, self._tree.freshness.stamp()
        if version and number * BLOCK_BYTES >= version[0]:
            return b""
        written = node.use.written
        if node.gone:
            raise Changed
        session = self._link.session()
        link = node.links[0]
        waiter = session.get(node.path(), number * BLOCK_BYTES, BLOCK_BYTES)
        try:
            stat, data, _ = sftp.as_got(await ask(waiter))
        except (FileNotFoundError, NotADirectoryError):
            self._tree.doubt(node, link)
            raise Changed from None
        if (stat.ino, stat.dev) != (node.ino, node.dev):
            self._tree.doubt(node, link)
            raise Changed
        if written or node.use.written:
            return data
        if node.version != version:
            raise Changed
        if stat.version != version:
            self._tree.apply(node, stat, stamp)
            raise Changed
        self._blocks.put(node.fileid, number, data)
        self._not_read_yet((node.fileid, number), len(data))
        return data

    def _ahead(self, file: OpenFile, offset: int, end: int, last: int) -> None:
        """Fetch what is likely to be read next."""
        if -AHEAD_SLACK <= offset - file.end <= AHEAD_SLACK:
            file.run += end - offset
        else:
            file.run = 0
        file.end = end
        node = file.node
        size = node.version[0] if node.version else 0
        stop = min(last + 1 + min(AHEAD_BLOCKS, 2 * file.run // BLOCK_BYTES), -(-size // BLOCK_BYTES))
        limit = max(AHEAD_MIN_BLOCKS, min(AHEAD_BLOCKS, int(self.rate_bytes_s() * AHEAD_S / BLOCK_BYTES)))
        for number in range(last + 1, stop):
            if len(self._fetches) >= limit or not self._link.up:
                self.limited()
                return
            if not self._tree.freshness.static:
                self.begin(node, number)
            elif self._spread.room() >= BLOCK_BYTES:
                self._besides(node, number, min(BLOCK_BYTES, size - number * BLOCK_BYTES))

    def limited(self) -> None:
        """Note that the link is kept busy: something more is held back."""
        self._rate.limit()

    def rate_bytes_s(self) -> float:
        """Return how much the link carries, as far as that is known."""
        look = self._rate.look(self._link.received_bytes)
        if look is not None and look.limited:
            self._bytes_s = (self._bytes_s + look.bytes_s) / 2
        elif look is not None:
            self._bytes_s = max(self._bytes_s, look.bytes_s)
        return self._bytes_s
