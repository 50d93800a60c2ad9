"""The words that start GNU parallel, with the perl modules of this folder that mend it."""

from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).parent
START = _HERE / "start.pl"
"""Tries the shim, then becomes GNU parallel."""


def start_words(
    perl: str, parallel: Path, modules: Sequence[str] = (), *, hands_over: bool = False
) -> list[str]:
    """Return the words that start GNU parallel with the modules that mend it.

    Without them it kills processes of others (OwnChildren.pm), loses output (InOrder.pm), and hears of a
    hang-up twice (OneHangUp.pm). `modules`: more of ours that are loaded first, as perl's words. hands_over:
    Direct.pm is one of them, which leaves OwnChildren.pm nothing to mend.
    """
    ours = ("-MInOrder", "-MOneHangUp") if hands_over else ("-MOwnChildren", "-MInOrder", "-MOneHangUp")
    return [perl, f"-I{_HERE}", *ours, *modules, str(parallel)]
