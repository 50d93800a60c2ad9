"""Tells the user of files that both sides have changed, and are kept twice: at once, and at a task's end."""

import time
from collections.abc import Callable
from typing import Final

from womm import words
from womm.journal.events import ShareKept
from womm.share.lazy.versions import both_sides

KEPT: Final = 100
"""Names in one event of the journal."""


class KeptReport:
    """`say` tells the user a line, `note` takes events for the journal."""

    def __init__(self, say: Callable[[str], None], note: Callable[[ShareKept], None]) -> None:
        self._say = say
        self._note = note
        self._copies: list[tuple[str, str]] = []

    def add(self, path: str, copy: str) -> None:
        self._copies.append((path, copy))
        last = self._copies[-KEPT:]
        names, copies = tuple(name for name, _ in last), tuple(copy for _, copy in last)
        self._note(ShareKept(time.time(), names, copies, len(self._copies)))
        self._say(both_sides((path,), (copy,), 1))

    def end(self) -> str:
        """Name them, if there are any; return why the task is no success."""
        if not self._copies:
            return ""
        files = dict(self._copies)
        if len(self._copies) > 1:
            self._say(both_sides(tuple(files), tuple(files.values()), len(files)))
        return f"{words.counted(len(files), 'file')} changed on both sides"
