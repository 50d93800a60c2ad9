"""Byte-range locks of one file: pure bookkeeping with POSIX's rules (RFC 7530 9.1, 16.10)."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

END: Final = 1 << 64
"""One past the last byte a file can have: the end of a lock "to the end of file"."""

Owner = TypeVar("Owner", bound=Hashable)


@dataclass(slots=True)
class Range(Generic[Owner]):
    """A lock on bytes `start` to `end` - 1."""

    start: int
    end: int
    owner: Owner
    write: bool


class Ranges(Generic[Owner]):
    """All the locks of a file. One owner's never overlap, and touching ones of a kind are one."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: list[Range[Owner]] = []

    def __len__(self) -> int:
        return len(self._ranges)

    def __repr__(self) -> str:
        return f"<Ranges {self._ranges!r}>"

    def conflict(self, owner: Owner, start: int, end: int, write: bool) -> Range[Owner] | None:
        """Return a lock of another owner that forbids this one."""
        for held in self._ranges:
            if held.owner != owner and held.start < end and start < held.end and (write or held.write):
                return held
        return None

    def lock(self, owner: Owner, start: int, end: int, write: bool) -> None:
        """Lock: replaces what the owner has there, joins what touches. There must be no conflict."""
        self.unlock(owner, start, end)
        kept = []
        for held in self._ranges:
            touches = held.start == end or held.end == start
            if touches and held.owner == owner and held.write == write:
                start, end = min(start, held.start), max(end, held.end)
            else:
                kept.append(held)
        kept.append(Range(start, end, owner, write))
        self._ranges = kept

    def unlock(self, owner: Owner, start: int, end: int) -> None:
        """Unlock the owner's bytes in the range, which may split a lock in two."""
        kept = []
        for held in self._ranges:
            if held.owner != owner or held.end <= start or held.start >= end:
                kept.append(held)
                continue
            if held.start < start:
                kept.append(Range(held.start, start, owner, held.write))
            if held.end > end:
                kept.append(Range(end, held.end, owner, held.write))
        self._ranges = kept

    def of(self, owner: Owner) -> list[Range[Owner]]:
        return [held for held in self._ranges if held.owner == owner]
