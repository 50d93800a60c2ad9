"""A finding of `womm doctor` on a cluster: one sentence with a verdict."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    GOOD = "good"
    BAD = "bad"
    """womm does not work so."""
    WEAK = "weak"
    """It works, but not well, or not always."""


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    verdict: Verdict
    text: str
    hint: str = ""
