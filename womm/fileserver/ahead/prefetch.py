"""What an earlier task has used, fetched behind: `Prefetch`.

Strategy: the names of many items are asked for in few requests, which go out together; then the directories
that were listed, the links and the blocks, first uses first. No more of it is under way than the
link carries in WAIT_S, so a client's request waits that long at most. A wrong guess has cost its bytes.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.fileserver.contents.fetch import Fetcher
from womm.fileserver.tree.changes import Asked
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import Questions, ask
from womm.nfs.constants import FileType
from womm.nfs.status import NFSError, Status
from womm.wire.ahead import ABSENT, LISTED, Learned
from womm.wire.extensions import Stats

WAIT_S: Final = 0.15
FIRST_BYTES_S: Final = 4e6
"""The rate of a link that was not measured yet is not taken to be higher."""
LEAST_BYTES: Final = 1 << 17
"""May be under way on the slowest link."""
REQUESTS: Final = 128
"""Blocks under way at a time: small files cost more by their number."""
WORTH_S: Final = 120.0
"""No more is guessed than the link carries in this time."""
BATCH: Final = 2048
_PATHS: Final = 256
"""In one request for attributes."""
_LISTINGS: Final = 16


class Prefetch:
    """Fetches learned items into the tree and the cache; at most `limit_bytes` of blocks."""

    def __init__(self, lookup: Lookup, fetcher: Fetcher, limit_bytes: int) -> None:
        self._lookup, self._fetcher = lookup, fetcher
        self._tree, self._link = lookup.tree, lookup.link
        self._limit_bytes = limit_bytes
        self._todo: deque[Learned] = deque()
        self._questions = Questions()
        self._work: asyncio.Task[None] | None = None
        self._under_way: dict[asyncio.Task[bytes], int] = {}
        self._bytes = 0
        self._landed = asyncio.Event()
        self._began_s = 0.0

    def __repr__(self) -> str:
        return f"<Prefetch {len(self._todo)} items to do, {self._bytes} bytes under way>"

    async def stop(self) -> None:
        await self._questions.stop()

    def add(self, items: Iterable[Learned]) -> None:
        """Have these fetched, after what was added before."""
        self._todo.extend(items)
        if self._work is None or self._work.done():
            self._work = self._questions.spawn(self._all())

    async def _all(self) -> None:
        while self._todo:
            batch = [self._todo.popleft() for _ in range(min(BATCH, len(self._todo)))]
            while True:
                await self._link.wait()
                try:
                    await self._names(batch)
                    await self._blocks(batch)
                    break
                except NFSError as exc:  # the link was cut
                    if exc.status is not Status.DELAY:
                        break

    # -- names -------------------------------------------------------------------------------------
    async def _names(self, batch: Sequence[Learned]) -> None:
        """Make the names of the items known, and those on the way to them."""
        session = self._link.session()
        wanted: dict[bytes, None] = {}
        absent: dict[bytes, None] = {}
        for item in batch:
            if item.size == ABSENT:
                absent[item.path] = None
            parts = item.path.split(b"/")
            for count in range(1, len(parts) + (item.size != ABSENT)):
                wanted[b"/".join(parts[:count])] = None
        paths = [path for path in wanted if path and not self._known(path)]
        with self._tree.freshness.question() as asked:
            many = [
                session.extended(Stats(tuple(paths[first : first + _PATHS])))
                for first in range(0, len(paths), _PATHS)
            ]
            single = {path: session.lstat(path) for path in absent if not self._known(path)}
            for waiter in many:
                for path, stat in sftp.as_names(await ask(waiter))[0]:
                    above, _, name = path.rpartition(b"/")
                    node = self._tree.below(self._tree.root, above)
                    if node is not None and node.directory is not None:
                        self._tree.take_answer(node, name, stat, asked)
            for path, answer in single.items():
                await self._absent(path, answer, asked)
        await self._more_names(batch)
        if not self._lookup.is_fresh(self._tree.root):
            await self._lookup.fresh(self._tree.root)

    def _known(self, path: bytes) -> bool:
        above, _, name = path.rpartition(b"/")
        node = self._tree.below(self._tree.root, above)
        if node is None or node.directory is None or node.gone:
            return False
        return self._tree.directory(node).knows(name, self._tree.freshness.epoch)

    async def _absent(self, path: bytes, answer: "asyncio.Future[sftp.Reply]", asked: Asked) -> None:
        above, _, name = path.rpartition(b"/")
        try:
            stat = sftp.as_stat(await ask(answer))
        except FileNotFoundError:
            stat = None
        except OSError:
            return
        node = self._tree.below(self._tree.root, above)
        if node is not None and node.directory is not None:
            self._tree.take_answer(node, name, stat, asked)

    async def _more_names(self, batch: Sequence[Learned]) -> None:
        """List directories, and read links."""
        room = asyncio.Semaphore(_LISTINGS)

        async def one(item: Learned) -> None:
            node = self._tree.below(self._tree.root, item.path)
            if node is None or node.gone:
                return
            try:
                if item.size == LISTED and node.directory is not None:
                    async with room:
                        await self._lookup.list_names(node)
                elif node.kind is FileType.SYMLINK:
                    await self._lookup.target(node)
            except OSError:
                return
            except NFSError as exc:
                if exc.status is Status.DELAY and not self._link.up:
                    raise

        await asyncio.gather(*(one(item) for item in batch if item.size != ABSENT and not item.blocks))

    # -- blocks ------------------------------------------------------------------------------------
    async def _blocks(self, batch: Sequence[Learned]) -> None:
        for item in batch:
            node = self._tree.below(self._tree.root, item.path) if item.blocks else None
            if node is None or node.stat is None or node.kind is not FileType.REGULAR or node.gone:
                continue
            size = node.stat.size
            whole = -(-size // BLOCK_BYTES)
            if (size, node.stat.mtime_ns) != (item.size, item.mtime_ns) and len(item.blocks) < whole:
                continue  # it is another file by now, and which parts of it are wanted is not known
            for number in _wanted(item, whole):
                if number < whole and not await self._block(node, number, size):
                    return

    async def _block(self, node: FileNode, number: int, size: int) -> bool:
        """Begin with a block when there is room for it. Return False when no more is to be guessed."""
        expected = min(BLOCK_BYTES, size - number * BLOCK_BYTES)
        while self._under_way and not self._room(expected):
            self._fetcher.limited()
            self._landed.clear()
            await self._landed.wait()
        guessed = self._fetcher.guesses.guessed + self._bytes
        if guessed + expected > min(self._limit_bytes, WORTH_S * self._fetcher.rate_bytes_s()):
            self._todo.clear()
            return False
        if not self._link.up:
            raise NFSError(Status.DELAY)
        task = self._fetcher.guess(node, number)
        if task is not None:
            self._under_way[task] = expected
            self._bytes += expected
            task.add_done_callback(self._done)
        return True

    def _room(self, expected: int) -> bool:
        rate = self._fetcher.rate_bytes_s()
        if not self._fetcher.guesses.guessed:
            rate = min(rate, FIRST_BYTES_S)
        return len(self._under_way) < REQUESTS and self._bytes + expected <= max(LEAST_BYTES, WAIT_S * rate)

    def _done(self, task: "asyncio.Task[bytes]") -> None:
        self._bytes -= self._under_way.pop(task)
        self._landed.set()


def _wanted(item: Learned, whole: int) -> tuple[int, ...]:
    """Return the blocks to fetch of a file of so many: all, if most were read. Which ones kernels leave out
    differs from time to time."""
    if len(item.blocks) * 4 < whole * 3:
        return item.blocks
    return (*item.blocks, *sorted(set(range(whole)) - set(item.blocks)))
