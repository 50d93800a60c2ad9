"""Looks through the whole tree for inodes that are not where they were seen last.

Strategy: a thread walks, a slice of entries at a time, and the event loop notes each slice in the table of
places: so others are answered meanwhile, and memory does not grow with the tree. One walk serves all who
wait; each goes on as soon as its inode has been seen, the others at the end of the walk.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Generator
from itertools import islice
from typing import Final

from womm.nfs.backends.locations import Locations

log = logging.getLogger(__name__)

SLICE_ENTRIES: Final = 500
"""Noting them takes a few milliseconds."""
MAX_DEPTH: Final = 512
PAUSE: Final = 10.0
"""Between two walks pass this many times what the last one took."""

Found = tuple[int, int, bytes]
"""Inode number, the directory's, name."""


class Search:
    """Walks below the directory `top` of device `dev`, whose number is `ino`, and notes all in `places`."""

    def __init__(self, top: str, ino: int, dev: tuple[int, int], places: Locations) -> None:
        self._top = top
        self._ino = ino
        self._dev = dev
        self._places = places
        self._task: asyncio.Task[None] | None = None
        self._sought: dict[int, asyncio.Future[None]] = {}
        self._not_before = 0.0
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Search {'under way' if self._task is not None else 'idle'}, {len(self._sought)} sought>"

    async def stop(self) -> None:
        """End the walk that is under way."""
        self._stopping = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def find(self, ino: int) -> bool:
        """Return when an inode has been seen, or the whole tree has; False: that was done just now."""
        loop = asyncio.get_running_loop()
        if self._task is None:
            if loop.time() < self._not_before or self._stopping:
                return False
            self._task = loop.create_task(self._walk())
        waiter = self._sought.get(ino)
        if waiter is None:
            waiter = self._sought[ino] = loop.create_future()
        await asyncio.shield(waiter)
        return True

    async def _walk(self) -> None:
        loop = asyncio.get_running_loop()
        began, count = loop.time(), 0
        try:
            with self._places.walk():
                entries = walk(self._top, self._ino, self._dev)
                try:
                    while not self._stopping:
                        part = await loop.run_in_executor(None, lambda: list(islice(entries, SLICE_ENTRIES)))
                        if not part:
                            break
                        self._places.note_walked(part)
                        count += len(part)
                        self._seen(part)
                finally:
                    with contextlib.suppress(ValueError):  # the thread has it still: this was cancelled
                        entries.close()
        except OSError as exc:
            log.warning("the tree cannot be searched: %s", exc)
        finally:
            took = loop.time() - began
            self._not_before = loop.time() + PAUSE * took
            self._task = None
            for waiter in self._sought.values():
                waiter.set_result(None)
            self._sought.clear()
        log.info("searched the tree: %d entries in %.2f s", count, took)

    def _seen(self, part: list[Found]) -> None:
        for ino, _, _ in part:
            waiter = self._sought.pop(ino, None)
            if waiter is not None:
                waiter.set_result(None)


def walk(path: str, ino: int, dev: tuple[int, int]) -> Generator[Found, None, None]:
    """Yield what is in a tree, directories before what is in them. Follows no links.

    One descriptor per level of depth is open at a time. Raises OSError if `path` cannot be opened.
    """
    device = os.makedev(*dev)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    # A level: its descriptor, the directories in it that are still to be looked at.
    levels: list[tuple[int, list[tuple[bytes, int]]]] = []

    def entries(fd: int, above: int) -> Generator[Found, None, None]:
        below: list[tuple[bytes, int]] = []
        levels.append((fd, below))
        try:
            with os.scandir(fd) as found:
                for entry in found:
                    name, number = os.fsencode(entry.name), entry.inode()
                    yield number, above, name
                    if entry.is_dir(follow_symlinks=False):
                        below.append((name, number))
        except OSError as exc:
            log.warning("a directory was left out of the search: %s", exc)

    try:
        # Through /proc: the link that leads to the root's inode itself is to be followed.
        yield from entries(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), ino)
        while levels:
            fd, below = levels[-1]
            if not below or len(levels) > MAX_DEPTH:
                levels.pop()
                os.close(fd)
                continue
            name, number = below.pop()
            with contextlib.suppress(OSError):
                opened = os.open(name, flags, dir_fd=fd)
                if os.fstat(opened).st_dev == device:
                    yield from entries(opened, number)
                else:
                    os.close(opened)
    finally:
        for fd, _ in levels:
            os.close(fd)
