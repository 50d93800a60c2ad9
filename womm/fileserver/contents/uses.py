"""What clients have used of a folder, so that the next task can have it fetched ahead: `Uses`."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.fileserver.tree.nodes import FileNode
from womm.wire.ahead import ABSENT, LISTED, Learned

MOST_ITEMS: Final = 50_000
"""Names that are remembered, and as many that are not there; a program of 60,000 files is not learned as a
whole."""
MOST_PATH_BYTES: Final = 2 << 20
"""Of all paths that are told: they share a link with what jobs wait for."""
MOST_BLOCKS: Final = 1 << 16
"""16 GiB."""
ABSENT_NAMES: Final = 64
"""Of one directory; with more of them its listing is the shorter answer."""


class Uses:
    """The names that clients have looked up and the blocks that they have read, first uses first."""

    def __init__(self) -> None:
        self._items: dict[FileNode, dict[int, None]] = {}
        self._absent: dict[FileNode, dict[bytes, None]] = {}
        self._listed: set[FileNode] = set()
        self._absent_count = self._blocks = 0

    def __repr__(self) -> str:
        return f"<Uses {len(self._items)} names, {self._blocks} blocks>"

    def named(self, node: FileNode) -> None:
        """A client has looked this file up."""
        if node not in self._items and len(self._items) < MOST_ITEMS:
            self._items[node] = {}

    def absent(self, above: FileNode, name: bytes) -> None:
        """A client has looked for a name that is not there."""
        self.named(above)
        if above not in self._items or self._absent_count >= MOST_ITEMS:
            return
        names = self._absent.setdefault(above, {})
        if len(names) <= ABSENT_NAMES and name not in names:
            self._absent_count += 1
            names[name] = None

    def listed(self, above: FileNode) -> None:
        """A client has listed a directory."""
        self.named(above)
        if above in self._items:
            self._listed.add(above)

    def read(self, node: FileNode, offset: int, end: int) -> None:
        """A client has read a range, which is not empty."""
        self.named(node)
        blocks = self._items.get(node)
        if blocks is None:
            return
        for number in range(offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1):
            if number not in blocks and self._blocks < MOST_BLOCKS:
                self._blocks += 1
                blocks[number] = None

    def learned(self) -> Iterator[Learned]:
        """Yield what was used and is still there: MOST_ITEMS of MOST_PATH_BYTES at most, first uses first."""
        room = MOST_PATH_BYTES
        for item in islice(self._all(), MOST_ITEMS):
            room -= len(item.path)
            if room < 0:
                return
            yield item

    def _all(self) -> Iterator[Learned]:
        for node, blocks in self._items.items():
            if node.gone:
                continue
            path = node.path()
            if node.stat is not None:
                yield Learned(path, node.stat.size, node.stat.mtime_ns, tuple(blocks))
            absent = self._absent.get(node, {})
            if node in self._listed or len(absent) > ABSENT_NAMES:
                yield Learned(path, LISTED, 0)
                continue
            for name in absent:
                yield Learned(path + b"/" + name if path else name, ABSENT, 0)
