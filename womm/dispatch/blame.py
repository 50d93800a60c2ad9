"""Which workers and nodes are black holes: what they get crashes, and nothing finishes there. Pure decisions.

Strategy: crashes are counted by worker and by node, and a job that finishes clears both. Many crashes of one
job are the job's doing; crashes under many different jobs are not. The node is blamed first: a worker leaves
only where its node is not avoided.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

BLACK_HOLE_JOBS = 3
"""A worker that crashed under this many different jobs and finished none leaves the pool. A node whose
workers did is avoided: its workers get no jobs while there is a worker elsewhere."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The worker `pod` is a black hole: ask the cluster for none of that name any more."""

    pod: str
    reason: str


@dataclass(frozen=True, slots=True)
class Avoid:
    """The node is a black hole: its workers get no jobs while there is a worker elsewhere."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trust:
    """The node that was avoided is no black hole after all."""

    node: str
    reason: str


Verdict: TypeAlias = Leave | Avoid | Trust


@dataclass(slots=True)
class _Node:
    """What speaks against a node: lives that ended by a crash, and no job that has finished since."""

    lives: list[frozenset[int]] = field(default_factory=list)
    starts: int = 0
    """The pool's count of starts when the last life was counted. A life without a later start is part of the
    same event."""


class Blame:
    """What speaks against the workers and nodes of one task."""

    def __init__(self) -> None:
        self.avoided: set[str] = set()
        """The nodes that are taken for black holes."""
        self._strikes: dict[str, list[frozenset[int]]] = {}
        """The jobs of each life in a row that ended by a crash and finished none, by worker."""
        self._nodes: dict[str, _Node] = {}
        """The nodes against which something speaks."""

    def __repr__(self) -> str:
        return f"<Blame {len(self._strikes)} workers, {len(self._nodes)} nodes, {len(self.avoided)} avoided>"

    def crashed(
        self, pod: str, node: str, jobs: frozenset[int], *, latest: int, starts: int, poisoned: bool
    ) -> list[Verdict]:
        """Count a life that ended by a crash under `jobs`.

        `latest`: which of the pool's starts the last of these jobs was, `starts`: how many there are by now.
        `poisoned`: a job is to blame that was given up, and not the node.
        """
        lives = self._strikes.setdefault(pod, [])
        lives.append(jobs)
        known = self._nodes.setdefault(node, _Node()) if node else None
        if known is not None and latest > known.starts and not poisoned:
            known.lives.append(jobs)
            known.starts = starts
            if node not in self.avoided and (number := _black_hole(known.lives)):
                self.avoided.add(node)
                return [Avoid(node, f"its workers ended under {number} different jobs and finished none")]
        if node not in self.avoided and (number := _black_hole(lives)):
            return [Leave(pod, f"it ended under {number} different jobs and finished none")]
        return []

    def acquit(self, poison: set[int]) -> list[Verdict]:
        """These jobs were given up after crashes on several nodes: no node is to blame for those."""
        verdicts: list[Verdict] = []
        for node, known in self._nodes.items():
            known.lives = [life for life in known.lives if life.isdisjoint(poison)]
            if node in self.avoided and not _black_hole(known.lives):
                self.avoided.discard(node)
                verdicts.append(Trust(node, "what ended its workers was the jobs"))
        return verdicts

    def works(self, pod: str, node: str) -> list[Verdict]:
        """A job has ended and its worker has not: both worker and node do their work."""
        self._strikes.pop(pod, None)
        self._nodes.pop(node, None)
        if node not in self.avoided:
            return []
        self.avoided.discard(node)
        return [Trust(node, "a job has finished there")]

    def check(self) -> None:
        """Assert what must hold between calls. For tests."""
        assert self.avoided <= self._nodes.keys()


def _black_hole(lives: list[frozenset[int]]) -> int:
    """Return under how many different jobs these lives ended, if they are too many to be to blame; else 0."""
    jobs = frozenset().union(*lives)
    if len(jobs) >= BLACK_HOLE_JOBS <= len(lives) and not lives[-1].intersection(*lives[-3:]):
        return len(jobs)
    return 0
