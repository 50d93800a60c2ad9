"""Changes by clients that overlap with questions to the user's side: an answer says nothing of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

Stamp = tuple[int, int]
Concern = tuple[int, bytes] | int
"""A thing that a client changes: a name in a directory, or the attributes of a directory."""


class Asked(NamedTuple):
    """When a question was sent. Its answer says nothing of later changes."""

    stamp: Stamp
    changes: int
    """How many changes by clients had ended."""


class Changes:
    """The changes by clients and the questions that are under way."""

    def __init__(self) -> None:
        self._count = 0
        self._questions = 0
        self._under_way: dict[Concern, int] = {}
        self._recent: dict[Concern, int] = {}
        """For each thing that has changed while a question was under way, the number of its last change."""

    def __repr__(self) -> str:
        return f"<Changes {self._count}, {len(self._under_way)} concerns and {self._questions} questions now>"

    @contextmanager
    def change(self, concerns: Sequence[Concern]) -> Iterator[None]:
        for concern in concerns:
            self._under_way[concern] = self._under_way.get(concern, 0) + 1
        try:
            yield
        finally:
            self._count += 1
            for concern in concerns:
                self._under_way[concern] -= 1
                if not self._under_way[concern]:
                    del self._under_way[concern]
                if self._questions:
                    self._recent[concern] = self._count

    @contextmanager
    def question(self, stamp: Stamp) -> Iterator[Asked]:
        self._questions += 1
        try:
            yield self.now(stamp)
        finally:
            self._questions -= 1
            if not self._questions:
                self._recent.clear()

    def now(self, stamp: Stamp) -> Asked:
        return Asked(stamp, self._count)

    def touched(self, concern: Concern, asked: Asked, *, but: int = 0) -> bool:
        """Has a client changed this since then, or does one now? `but` changes under way do not count."""
        return self._under_way.get(concern, 0) > but or self._recent.get(concern, 0) > asked.changes
