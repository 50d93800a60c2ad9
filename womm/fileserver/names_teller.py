"""Keeps a copy of the table of names on the user's side. File handles outlive the disk here by it.

Strategy: this side sends every change of the table soon after it is made, as numbered lines, and keeps each
line until the user's side has it. A server whose disk is empty gets all lines back before it serves anything.
Until then its link is held, and it tells clients to ask again (DELAY).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from womm.fileserver.connection import Lines
from womm.fileserver.tree.table import Row, Table
from womm.wire.control import NameRow, Names, encode

TELL_S: Final = 0.05
"""How long changes wait for others: each line is a packet."""
ROWS: Final = 1000
"""In one line."""


class NamesTeller:
    """Tells the user's side of each change of `table`."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lines: Lines | None = None
        self._changes: list[Row | tuple[int, bytes]] = []
        self._unseen: deque[tuple[int, bytes]] = deque()
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._anew = table.whole
        """An earlier process has told, and what of it was seen is not known."""
        table.told = self._changed

    def __repr__(self) -> str:
        return f"<NamesTeller {len(self._changes)} to tell, {len(self._unseen)} lines not seen>"

    def connected(self, lines: Lines) -> None:
        """Tell a new connection what the last one may not have got."""
        self._lines = lines
        if self._anew:
            self._anew = False
            self._table.sync()
            self._changes.clear()
            self._tell([], reset=True)
            for rows in self._table.rows(ROWS):
                self._tell(rows)
        else:
            for _, line in self._unseen:
                lines.send(line)
        self.tell()

    def tell(self) -> None:
        """Send what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines is None:
            return
        changes, self._changes = self._changes, []
        for first in range(0, len(changes), ROWS):
            self._tell(changes[first : first + ROWS])

    def seen(self, number: int) -> None:
        """The user's side has all lines up to this one."""
        while self._unseen and self._unseen[0][0] <= number:
            self._unseen.popleft()

    def take(self, rows: Sequence[NameRow]) -> None:
        """Take back what a server before has told."""
        if not self._table.whole:
            self._table.take([Row(*row) if len(row) == 6 else row for row in rows])

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._lines = None

    def _changed(self, changes: Sequence[Row | tuple[int, bytes]]) -> None:
        self._changes += changes
        if self._timer is None and self._lines is not None:
            self._timer = asyncio.get_running_loop().call_later(TELL_S, self.tell)

    def _tell(self, changes: Sequence[Row | tuple[int, bytes]], *, reset: bool = False) -> None:
        assert self._lines is not None
        self._number += 1
        line = encode(Names(self._number, changes, reset))
        self._unseen.append((self._number, line))
        self._lines.send(line)
