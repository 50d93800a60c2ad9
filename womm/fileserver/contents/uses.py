"""What clients have used of a folder, so that the next task can have it fetched ahead: `Uses`."""

from collections.abc import Iterator
from typing import Final

from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.fileserver.tree.nodes import FileNode
from womm.wire.ahead import ABSENT, LISTED, Learned

MOST_ITEMS: Final = 50_000
"""Names that are remembered; a program of 60,000 files is not learned as a whole."""
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
        self._blocks = 0

    def __repr__(self) -> str:
        return f"<Uses {len(self._items)} names, {self._blocks} blocks>"

    def named(self, node: FileNode) -> None:
        """A client has looked this file up."""
        if node not in self._items and len(self._items) < MOST_ITEMS:
            self._items[node] = {}

    def absent(self, above: FileNode, name: bytes) -> None:
        """A client has looked for a name that is not there."""
        self.named(above)
        names = self._absent.setdefault(above, {})
        if len(names) <= ABSENT_NAMES:
            names[name] = None

    def listed(self, above: FileNode) -> None:
        """A client has listed a directory."""
        self.named(above)
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
        """Yield what was used and is still there."""
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
