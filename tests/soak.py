"""Counts of the repeating tests: some in every run, all of them in `make soak`."""

import os

SOAK = os.environ.get("WOMM_SOAK") == "1"


def count(ci: int, full: int) -> int:
    """Return how often to repeat: `ci` times as a rule, `full` times with WOMM_SOAK=1."""
    return full if SOAK else ci
