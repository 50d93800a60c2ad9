"""The words that start GNU parallel, with the perl modules of this folder that mend it."""

from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).parent
START = _HERE / "start.pl"
"""Tries the shim, then becomes GNU parallel."""


def start_words(perl: str, parallel: Path, modules: Sequence[str] = ()) -> list[str]:
    """How GNU parallel is started, with what mends it.

    It would kill processes of others (OwnChildren.pm), lose output (InOrder.pm), and hear of a hang-up
    twice (OneHangUp.pm). `modules`: more of ours that are loaded first, as perl's words.
    """
    ours = ("-MOwnChildren", "-MInOrder", "-MOneHangUp")
    return [perl, f"-I{_HERE}", *ours, *modules, str(parallel)]
