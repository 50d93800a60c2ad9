"""A folder of the user's in this process: `LazyExport` makes its parts, and starts and ends them in order."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from womm.fileserver.cached import CachedFilesystem
from womm.fileserver.connection import UserLink
from womm.fileserver.contents.blocks import Blocks
from womm.fileserver.contents.contents import Contents
from womm.fileserver.control import Control
from womm.fileserver.listener import Keys, Listener
from womm.fileserver.owner import Owner
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.table import Table
from womm.fileserver.tree.tree import Tree

FLUSH_S: Final = 10.0
"""What is not sent by then is sent by the next container."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an export's things are: the socket that the user's side dials, the keys, the state that outlives
    this process, and the cache. static: what was seen once is believed, see `Freshness`."""

    socket: Path
    secret: Path
    state: Path
    cache: Path | None
    cache_bytes: int
    static: bool = False


class LazyExport:
    """One folder, from the link to the file system that the NFS server shows. Use it in `async with`.

    The folder's socket is there from the beginning; the file system is the NFS server's to start and stop.
    `own` hears of another owner of the files; None: they have none but the first. `gone(seconds)` waits for
    the NFS clients to go. `changed` hears that anything may have changed.
    """

    def __init__(
        self,
        place: Place,
        owner: tuple[int, int],
        own: Callable[[int, int], None] | None,
        gone: Callable[[float], Awaitable[bool]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._place = place
        self._gone, self._changed = gone, changed
        self._own = own
        self._stack = AsyncExitStack()
        self._first_owner = owner

    def __repr__(self) -> str:
        return f"<LazyExport {self._place.socket}>"

    async def __aenter__(self) -> Self:
        place = self._place
        keys = Keys(place.secret)
        async with AsyncExitStack() as stack:
            table = Table(place.state)
            stack.callback(table.close)
            blocks = Blocks(place.cache, place.cache_bytes)
            stack.callback(blocks.close)
            self._link = UserLink()
            tree = Tree(table, lambda node: blocks.drop(node.fileid), static=place.static)
            lookup = Lookup(tree, self._link)
            self._contents = Contents(lookup, blocks, place.state / "spool")
            self.filesystem = CachedFilesystem(lookup, self._contents, *self._first_owner)

            self.owner = Owner(place.state, *self._first_owner, self._owned)
            self._control = Control(
                table,
                tree,
                self._contents,
                self._link,
                self.owner,
                gone=self._gone,
                changed=self._changed,
            )
            self._listener = Listener(
                place.socket,
                keys,
                self._link,
                connected=self._control.connected,
                received=self._control.received,
                lost=self._contents.flusher.advance,
            )
            await self._listener.start()
            stack.push_async_callback(self._listener.stop)
            stack.push_async_callback(self._control.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _owned(self, uid: int, gid: int) -> None:
        if self._own is not None:
            self.filesystem.own(uid, gid)
            self._own(uid, gid)

    @property
    def ends(self) -> bool:
        """Is its task at the end, or without a user's side?"""
        return self._control.finishing or not self._link.up

    async def flush(self) -> None:
        """Send what clients have written, as far as that goes in FLUSH_S."""
        if self._link.up:
            flush = asyncio.ensure_future(self._contents.flusher.flush())
            await asyncio.wait([flush], timeout=FLUSH_S)
            flush.cancel()
