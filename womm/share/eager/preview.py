"""What a first copy of a folder would be, said before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Final

from womm import words
from womm.store.protocol import DIRECTORY, FILE
from womm.store.tree import Walk
from womm.words import shown_bytes

LARGEST: Final = 10
_NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """A first copy above either of them needs an answer of the user."""

    files: int = 20_000
    size_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Preview:
    """`largest`: sizes and paths, the largest first."""

    files: int
    directories: int
    size_bytes: int
    largest: tuple[tuple[int, bytes], ...]
    ignored: int
    special: tuple[bytes, ...]
    unreadable: tuple[tuple[bytes, str], ...]

    def exceeds(self, limits: Limits) -> bool:
        return self.files > limits.files or self.size_bytes > limits.size_bytes

    def lines(self) -> list[str]:
        """For a person."""
        places = words.counted(self.directories, "directory", "directories")
        found = [f"{words.counted(self.files, 'file')} in {places}, {shown_bytes(self.size_bytes)}"]
        if self.ignored:
            found[0] += f"; {self.ignored:,} left out by .wommignore"
        found += [f"  {shown_bytes(size):>10}  {words.name(path)}" for size, path in self.largest]
        return found


def preview(walk: Walk) -> Preview:
    sizes = ((found.stamp.size, path) for path, found in walk.entries.items() if found.stamp.kind == FILE)
    return Preview(
        walk.files,
        sum(found.stamp.kind == DIRECTORY for found in walk.entries.values()),
        walk.size,
        tuple(nlargest(LARGEST, sizes)),
        walk.ignored,
        tuple(walk.special),
        tuple(walk.unreadable.items()),
    )


def some_names(paths: Sequence[bytes]) -> str:
    """The first of them, for a line of text, and how many more there are."""
    more = f" and {len(paths) - _NAMES:,} more" if len(paths) > _NAMES else ""
    return ", ".join(map(words.name, paths[:_NAMES])) + more
