"""Changes of a name by clients, one after the other: `Turns`.

Strategy: a client that changes a name has the name's turn from the look at it until the user's side has
answered. So the name does not change between the look and the change, and a refused request has no effect.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

Place = tuple[int, bytes]
"""The number of a directory, and a name in it."""


class Turns:
    """The names that clients are changing now."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()
        """Of the names that somebody changes or waits for."""

    def __repr__(self) -> str:
        return f"<Turns {len(self._locks)} names>"

    def taken(self, place: Place) -> bool:
        """Does a client change this name now?"""
        lock = self._locks.get(place)
        return lock is not None and lock.locked()

    @asynccontextmanager
    async def take(self, *places: Place) -> AsyncIterator[None]:
        """Wait until no other client changes these names; meanwhile others wait."""
        async with AsyncExitStack() as stack:
            for place in sorted(set(places)):  # always in this order, so that no two wait for each other
                lock = self._locks.get(place)
                if lock is None:
                    lock = self._locks[place] = asyncio.Lock()
                await stack.enter_async_context(lock)
            yield
