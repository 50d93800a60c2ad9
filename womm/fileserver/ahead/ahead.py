"""`Ahead`: what the user's side has fetched before any client asks for it."""

from typing import Final

from womm.fileserver.ahead.pins import Pins
from womm.fileserver.ahead.prefetch import Prefetch
from womm.fileserver.contents.contents import Contents
from womm.wire import ahead as wire

_SHARE: Final = 2
"""Guessed blocks take half of the cache at most."""


class Ahead:
    """Pins and prefetches into `contents`."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        lookup, fetcher, blocks = contents.lookup, contents.fetcher, contents.blocks
        self._pins = Pins(lookup, fetcher, blocks)
        self._prefetch = Prefetch(lookup, fetcher, blocks.limit_bytes // _SHARE)

    def __repr__(self) -> str:
        return f"<Ahead {self._pins!r} {self._prefetch!r}>"

    async def stop(self) -> None:
        await self._prefetch.stop()

    async def pin(self, request: wire.Pin) -> wire.Pinned:
        """Return when the files are here."""
        return await self._pins.pin(request.paths)

    def prefetch(self, request: wire.Prefetch) -> None:
        """Begin to fetch what an earlier task has used."""
        self._prefetch.add(request.items)

    def use(self) -> wire.Use:
        """Return what clients have used."""
        return wire.Use(tuple(self._contents.uses.learned()))
