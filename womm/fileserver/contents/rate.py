"""How fast the link is: looked at now and then, by what it has carried since the last look."""

import asyncio
from typing import Final, NamedTuple

LOOK_S: Final = 0.25
STALE_LOOKS: Final = 4
"""A look after so many times LOOK_S says nothing: the link had nothing to carry in between."""


class Look(NamedTuple):
    """What the link has carried since the last look, in bytes per second.

    limited: a limit has held something back meanwhile, so the link was kept busy.
    """

    bytes_s: float
    limited: bool


class LinkRate:
    """The rate of one direction of a link. For one event loop's thread."""

    def __init__(self) -> None:
        self._looked_s = 0.0
        self._looked_bytes = 0
        self._limited = False

    def __repr__(self) -> str:
        return f"<LinkRate after {self._looked_bytes} bytes>"

    def limit(self) -> None:
        """Note that a limit holds something back."""
        self._limited = True

    def look(self, carried_bytes: int) -> Look | None:
        """Measure by all bytes carried so far. None: the last look was just now, or too long ago."""
        now_s = asyncio.get_running_loop().time()
        past_s = now_s - self._looked_s
        if past_s <= LOOK_S:
            return None
        found = Look((carried_bytes - self._looked_bytes) / past_s, self._limited)
        self._looked_s, self._looked_bytes, self._limited = now_s, carried_bytes, False
        return found if past_s < STALE_LOOKS * LOOK_S else None
