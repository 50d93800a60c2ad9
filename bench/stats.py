"""Medians, ranges and ratios of neighbours: pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Some measurements of one thing."""

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if self.count == 1:
            return short(self.median)
        return f"{short(self.median)} ({short(self.low)}-{short(self.high)})"


@dataclass(frozen=True, slots=True)
class Target:
    """The range that a figure should reach; both bounds belong to it."""

    least: float | None = None
    most: float | None = None
    unit: str = "x"

    def __str__(self) -> str:
        bounds = (("≥", self.least), ("≤", self.most))
        return " and ".join(f"{sign} {bound:g} {self.unit}" for sign, bound in bounds if bound is not None)

    def met(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError when there are none."""
    if not values:
        raise ValueError("no measurements")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide neighbour by neighbour; raises ValueError when the numbers of rounds differ."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def marginal_rate(few: int, few_s: float, many: int, many_s: float) -> float | None:
    """Things per second beyond the first `few`: the start-up cancels out.

    None: the noise was larger than the cost.
    """
    if many <= few:
        raise ValueError(f"{many} is not more than {few}")
    return (many - few) / (many_s - few_s) if many_s > few_s else None


def steady_rate(marks: Sequence[tuple[float, int]]) -> float:
    """Bytes per second of the last three quarters of an output, from (seconds, bytes so far).

    The start-up, and the time after the last byte, are left out. Raises ValueError.
    """
    if not marks:
        raise ValueError("no output")
    (last_s, size) = marks[-1]
    first_s, before = next(mark for mark in marks if mark[1] * 4 >= size)
    if last_s <= first_s:
        raise ValueError("all the output came at once")
    return (size - before) / (last_s - first_s)


def both(ours: Sequence[float | None], theirs: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """Keep the rounds in which both have a value."""
    pairs = [
        (mine, other)
        for mine, other in zip(ours, theirs, strict=True)
        if mine is not None and other is not None
    ]
    return [mine for mine, _ in pairs], [other for _, other in pairs]


def order(names: Sequence[str], round_number: int) -> list[str]:
    """Return the order of the candidates in a round: every second round is reversed."""
    return list(names) if round_number % 2 == 0 else list(reversed(names))


def short(value: float) -> str:
    """Write a number with about three digits."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 or size == 0 else f"{value:.2g}"
