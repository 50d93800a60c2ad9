"""Messages of the control channel about what the file server fetches before anybody reads it.

    user -> server  {"id":6,"op":"pin","paths":["usr/bin/perl"]}
                    {"id":7,"op":"prefetch","items":[["usr/bin/perl",4096,1700000000000000000,[0,1]]]}
                    {"id":8,"op":"use"}

A path is relative to the export's root. `control` sends and reads these messages as its own.
"""

import os
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from womm.wire.fields import BadMessage
from womm.wire.lines import MOST, Facts, as_integer, as_path, path_texts

Json = dict[str, object]
LISTED: Final = -1
"""The size of a directory whose names were wanted."""
ABSENT: Final = -2
"""The size of a name that was looked for and was not there."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A file that was used: its size and time of the last change then, and which blocks were read, first ones
    first. Without blocks: only its attributes, or where it leads, were wanted."""

    path: bytes
    size: int
    mtime_ns: int
    blocks: tuple[int, ...] = ()

    def row(self) -> tuple[object, ...]:
        return os.fsdecode(self.path), self.size, self.mtime_ns, list(self.blocks)

    @classmethod
    def read(cls, item: object) -> Self:
        """Read what `row` made. Raises BadMessage."""
        match item:
            case [path, size, mtime_ns, [*blocks]]:
                numbers = tuple(as_integer(number, "block") for number in blocks)
                return cls(as_path(path), _signed(size), _signed(mtime_ns), numbers)
        raise BadMessage("nothing learned")


def _signed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MOST:
        raise BadMessage("no such number")
    return value


@dataclass(frozen=True, slots=True)
class Pinned:
    """Answers Pin: how many bytes are pinned in all, and which of the paths are not there."""

    ok: ClassVar = True
    bytes_: int
    missing: tuple[bytes, ...]

    def facts(self) -> Json:
        return {"bytes": self.bytes_, "missing": path_texts(self.missing)}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.integer("bytes", 0), facts.paths("missing"))


@dataclass(frozen=True, slots=True)
class Pin:
    """Fetch these files whole, with all names on the way and where links lead, and never drop them."""

    OP: ClassVar = "pin"
    paths: tuple[bytes, ...]

    def facts(self) -> Json:
        return {"paths": path_texts(self.paths)}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.paths("paths"))


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Fetch these behind, in this order, while no client waits for anything. Done answers it at once."""

    OP: ClassVar = "prefetch"
    items: tuple[Learned, ...]

    def facts(self) -> Json:
        return {"items": [item.row() for item in self.items]}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(tuple(Learned.read(item) for item in facts.items("items")))


@dataclass(frozen=True, slots=True)
class Use:
    """Answers AskUse: what clients have used since the server began, in the order of the first use."""

    ok: ClassVar = True
    items: tuple[Learned, ...]

    def facts(self) -> Json:
        return {"items": [item.row() for item in self.items]}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(tuple(Learned.read(item) for item in facts.items("items")))


@dataclass(frozen=True, slots=True)
class AskUse:
    OP: ClassVar = "use"

    def facts(self) -> Json:
        return {}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls()
