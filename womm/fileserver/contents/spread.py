"""What is likely to be read soon of a machine's programs, when one block had to be fetched: `Spread`.

Strategy: kernels read programs and libraries by page faults, here and there, and in the end most of them. So
each fault has more blocks around it fetched, twice as many as the one before. Small files stand together:
locales, the modules of a package. So the first of them has the others of its directory fetched, if these are
few bytes. There is a bound for what was fetched so and not read yet. It decides, and fetches nothing.
"""

from collections.abc import Callable
from typing import Final

from womm.fileserver.contents.blocks import BLOCK_BYTES, Key
from womm.fileserver.tree.nodes import FileNode
from womm.nfs.constants import FileType

WHOLE_BLOCKS: Final = 8
"""A library of up to 2 MiB is fetched as a whole."""
MOST_BLOCKS: Final = 32
"""More at one fault: 8 MiB."""
SMALL_BYTES: Final = 16 << 10
BESIDE_BYTES: Final = 64 << 10
FIRST_BYTES: Final = 1 << 20
_SHARE: Final = 64
"""What nobody has read yet of all this is FIRST_BYTES and a sixty-fourth of all bytes that came, at most."""


class Spread:
    """`fetched_bytes` tells how much has come over the link."""

    def __init__(self, fetched_bytes: Callable[[], int]) -> None:
        self._fetched_bytes = fetched_bytes
        self._faults: dict[int, int] = {}
        self._beside: set[int] = set()
        self._unread: dict[Key, int] = {}
        self._unread_bytes = 0

    def __repr__(self) -> str:
        return f"<Spread {len(self._faults)} programs, {self._unread_bytes} bytes unread>"

    def read(self, key: Key) -> None:
        """A client reads from a block."""
        if self._unread:
            self._unread_bytes -= self._unread.pop(key, 0)

    def came(self, key: Key, size_bytes: int) -> None:
        """A block is about to come that nobody has asked for."""
        self._unread[key] = size_bytes
        self._unread_bytes += size_bytes

    def room(self) -> int:
        """Return how many bytes more may come that nobody has asked for."""
        return FIRST_BYTES + self._fetched_bytes() // _SHARE - self._unread_bytes

    def around(self, node: FileNode, number: int) -> list[int]:
        """Return the blocks to fetch with this one, nearest first; some may be here already."""
        size = node.version[0] if node.version else 0
        count = -(-size // BLOCK_BYTES)
        if count < 2 or not _is_program(node):
            return []
        faults = self._faults[node.fileid] = self._faults.get(node.fileid, 0) + 1
        most = count if count <= WHOLE_BLOCKS else min(MOST_BLOCKS, 1 << faults)
        most = min(most, max(0, self.room() // BLOCK_BYTES))
        near = sorted(range(count), key=lambda other: (abs(other - number), -other))
        return near[1 : most + 1]

    def beside(self, node: FileNode) -> list[FileNode]:
        """Return the files of a directory that are few bytes together, when the first of them is wanted."""
        if not _is_small(node) or not node.links:
            return []
        above = node.links[0][0]
        if above.fileid in self._beside or above.directory is None or not above.directory.listed_epoch:
            return []
        self._beside.add(above.fileid)
        others = [
            other for other in above.directory.entries.values() if other is not node and _is_small(other)
        ]
        total = sum(other.stat.size for other in others if other.stat is not None)
        return others if total <= min(BESIDE_BYTES, self.room()) else []


def _is_program(node: FileNode) -> bool:
    assert node.stat is not None
    return bool(node.stat.mode & 0o111) or any(b".so" in name for _, name in node.links)


def _is_small(node: FileNode) -> bool:
    return node.kind is FileType.REGULAR and node.stat is not None and 0 < node.stat.size <= SMALL_BYTES
