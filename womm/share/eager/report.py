"""What a copy says to the user: its questions, and what became of single files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from womm import words
from womm.share.eager.preview import some_names
from womm.share.eager.push import PushResult
from womm.share.eager.syncback import PullResult


@dataclass(frozen=True, slots=True)
class CopyEvents:
    """How a copy speaks to the user."""

    say: Callable[[str], None]
    ask: Callable[[str], bool] | None = None
    """Asks on the event loop's thread, and may block. None: there is nobody to ask, which means no."""
    progress: TextIO | None = None
    """A line there shows how it goes, if it is a terminal."""


class Report:
    """Says what became of single files; what is never brought back, it says once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._own_said = self._outside_said = False

    def pushed(self, result: PushResult) -> None:
        for path, reason in result.unreadable:
            self._say(f"share: cannot read {words.name(path)}: {reason}; left out")
        for path in result.kept_changing:
            self._say(f"share: {words.name(path)} kept changing while it was read; left out")
        if result.special:
            self._say(f"share: FIFOs, sockets and devices are left out: {some_names(result.special)}")

    def brought_back(self, result: PullResult) -> None:
        if result.own and not self._own_said:
            names = some_names(result.own)
            self._say(f"share: what jobs have made of womm's own files is not brought back: {names}")
        if result.outside and not self._outside_said:
            names = some_names(result.outside)
            self._say(f"share: not below a path of share-write, so not brought back: {names}")
        self._own_said |= bool(result.own)
        self._outside_said |= bool(result.outside)
        for path, beside in result.conflicts:
            self._say(
                f"share: {words.name(path)} was changed here and by jobs;"
                f" theirs is kept as {words.name(beside)}"
            )
        for path, reason in result.refused:
            self._say(f"share: cannot write {words.name(path)}: {reason}; it is still in the store")
        for path in result.kept_changing:
            self._say(
                f"share: {words.name(path)} kept changing in the store while it was read: not brought back"
            )
