"""The files that pods have written and the folder does not have yet, as the file server has told last."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from womm import words
from womm.wire import control as wire

NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class MissingFiles:
    """Paths below the folder (by os.fsdecode), and how many files there are: not all may be named."""

    names: tuple[str, ...] = ()
    count: int = 0

    def __bool__(self) -> bool:
        return self.count > 0

    def __or__(self, other: "MissingFiles") -> "MissingFiles":
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        return MissingFiles(names, self.count - len(self.names) + other.count - len(other.names) + len(names))


class UnsentFiles:
    """Takes what the file server says; what was heard last stays while it is away, and when it is gone."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._more = 0

    def __repr__(self) -> str:
        return f"<UnsentFiles {len(self._names)} and {self._more} more>"

    @property
    def now(self) -> MissingFiles:
        return MissingFiles(tuple(self._names.values()), len(self._names) + self._more)

    def take(self, message: wire.Unsent) -> None:
        if message.whole:
            self._names.clear()
        for fileid in message.sent:
            self._names.pop(fileid, None)
        self._names.update({fileid: os.fsdecode(name) for fileid, name in message.files.items()})
        self._more = message.more


def not_in_the_folder(names: Sequence[str], count: int, why: str) -> str:
    """A line for the user about `count` files; NAMED of them, at most, are named."""
    shown = ", ".join(words.name(name) for name in names[:NAMED])
    more = count - min(len(names), NAMED)
    shown += f" and {more:,} more" if more and shown else words.counted(more, "file") if more else ""
    return f"what jobs wrote is not in the folder ({why}): {shown}"
