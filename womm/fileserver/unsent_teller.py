"""Tells the user's side which files have bytes that it does not have, for the day this server is lost.

Strategy: while there are such files, this looks at them every half second, and one line has the difference
to the last line. So a write costs nothing, and a file that is sent in the meantime is never named. A link
that is cut loses lines, so a new connection hears of all files again.
"""

import asyncio
from itertools import islice
from typing import Final

from womm.fileserver.connection import Lines
from womm.fileserver.contents.contents import Contents
from womm.wire.control import Unsent, encode

TELL_S: Final = 0.5
NAMES: Final = 1000
"""So many files are named, the oldest first; the others are counted."""


class UnsentTeller:
    """Tells the user's side of the files of `contents` that are not sent."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._lines: Lines | None = None
        self._told: dict[int, bytes] = {}
        self._more = 0
        self._timer: asyncio.TimerHandle | None = None
        contents.flusher.watch(self._begin)

    def __repr__(self) -> str:
        return f"<UnsentTeller {len(self._told)} files told, {self._more} more>"

    def connected(self, lines: Lines) -> None:
        """Tell a new connection of all."""
        self._lines = lines
        self._told = {}
        self._more = 0
        self._tell(whole=True)

    def tell(self) -> None:
        """Send what has changed since the last message."""
        if self._lines is not None:
            self._tell(whole=False)

    def stop(self) -> None:
        self._lines = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        if self._timer is None and self._lines is not None:
            self._timer = asyncio.get_running_loop().call_later(TELL_S, self.tell)

    def _tell(self, *, whole: bool) -> None:
        assert self._lines is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        files = self._contents.flusher.unsent
        named = (
            (node.fileid, node.report_name()) for node in islice(files, NAMES) if node.use.log is not None
        )
        now = {fileid: name for fileid, name in named if name}
        new = {fileid: name for fileid, name in now.items() if self._told.get(fileid) != name}
        sent = tuple(fileid for fileid in self._told if fileid not in now)
        more = max(0, len(files) - NAMES)
        if new or sent or more != self._more or whole:
            self._lines.send(encode(Unsent(new, sent, more, whole)))
            self._told, self._more = now, more
        if files:
            self._begin()
