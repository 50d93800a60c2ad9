"""What clients change while the user's side is asked about it: an answer says nothing of that."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

Stamp = tuple[int, int]
Concern = tuple[int, bytes] | int
"""What a client changes: a name in a directory; the attributes of a directory."""


class Asked(NamedTuple):
    """When a question was sent: what has changed since then, its answer says nothing about."""

    stamp: Stamp
    changes: int
    """By clients: how many had ended."""


class Changes:
    """Those of clients, and the questions that are under way."""

    def __init__(self) -> None:
        self._count = 0
        self._questions = 0
        self._under_way: dict[Concern, int] = {}
        self._recent: dict[Concern, int] = {}
        """What has changed while a question was under way: the number of the last change."""

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
        """Has a client changed this since then, or is one about to? `but`: so many do not count."""
        return self._under_way.get(concern, 0) > but or self._recent.get(concern, 0) > asked.changes
