"""Files that are fetched whole and kept: `Pins`.

Strategy: the names on the way are looked up as a client does it, links are followed in the folder, and all
blocks are asked for at once. The directories on the way are listed, so that absent names are known, too:
whatever a pinned program looks for while the link is cut has an answer.
"""

import asyncio
import errno
from collections.abc import Sequence
from typing import Final

from womm.fileserver.contents.blocks import BLOCK_BYTES, Blocks
from womm.fileserver.contents.fetch import Changed, Fetcher
from womm.fileserver.tree.lookup import TRIES, Lookup
from womm.fileserver.tree.nodes import FileNode
from womm.nfs.constants import FileType
from womm.nfs.status import NFSError, Status
from womm.wire.ahead import Pinned

MOST_BYTES: Final = 64 << 20
"""It is memory. perl, its modules and libraries, and a shell have 10 MB."""
_LINKS: Final = 40
"""On the way, as Linux allows them."""
_FILES: Final = 64
"""At a time."""


class Pins:
    """Pins files of `lookup`'s tree in `blocks`. Of a directory all names are known then."""

    def __init__(self, lookup: Lookup, fetcher: Fetcher, blocks: Blocks) -> None:
        self._lookup, self._fetcher, self._blocks = lookup, fetcher, blocks
        self._room = asyncio.Semaphore(_FILES)

    def __repr__(self) -> str:
        return f"<Pins {self._blocks.pinned_bytes} bytes>"

    async def pin(self, paths: Sequence[bytes]) -> Pinned:
        """Return when all are here. A cut link is waited for."""
        above: dict[FileNode, None] = {}
        there = await asyncio.gather(*(self._until_there(path, above) for path in paths))
        await asyncio.gather(*(self._list(node) for node in above))
        missing = tuple(path for path, found in zip(paths, there, strict=True) if not found)
        return Pinned(self._blocks.pinned_bytes, missing)

    async def _until_there(self, path: bytes, above: dict[FileNode, None]) -> bool:
        """Pin one file. Is it there?"""
        async with self._room:
            while True:
                try:
                    node = await self._follow(path, above)
                    if node.kind is FileType.REGULAR:
                        await self._whole(node)
                    elif node.kind is FileType.DIRECTORY:
                        above[node] = None
                    return True
                except NFSError as exc:
                    if exc.status is not Status.DELAY:
                        return False
                    await self._lookup.link.wait()
                except (Changed, OSError):
                    return False

    async def _follow(self, path: bytes, above: dict[FileNode, None]) -> FileNode:
        """Return the file that a path leads to. `above` gets the directories on the way."""
        todo = path.split(b"/")[::-1]
        node, links = self._lookup.tree.root, 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                node = node.links[0][0] if node.links else node
                continue
            above[node] = None
            found = await self._lookup.lookup(node, name)
            if not self._lookup.is_fresh(found):
                await self._lookup.fresh(found)
            if found.kind is not FileType.SYMLINK:
                node = found
                continue
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, "too many links")
            target = await self._lookup.target(found)
            if target.startswith(b"/"):
                node = self._lookup.tree.root
            todo += target.split(b"/")[::-1]
        return node

    async def _whole(self, node: FileNode) -> None:
        assert node.stat is not None
        if self._blocks.pinned_bytes + node.stat.size > MOST_BYTES:
            return
        for _ in range(TRIES):
            self._blocks.pin(node.fileid)
            tasks = [
                task
                for number in range(-(-node.stat.size // BLOCK_BYTES))
                if (task := self._fetcher.begin(node, number)) is not None
            ]
            try:
                await asyncio.gather(*map(asyncio.shield, tasks))
            except Changed:
                await self._lookup.fresh(node)
                continue
            return
        raise Changed

    async def _list(self, node: FileNode) -> None:
        while True:
            try:
                await self._lookup.list_names(node)
                return
            except NFSError as exc:
                if exc.status is not Status.DELAY:
                    return
                await self._lookup.link.wait()
            except OSError:
                return
