"""What a test's user accepts: a `.womm` that the test has written."""

import os
from pathlib import Path

from womm import settings, trust
from womm.trust import Review


def accept(folder: Path) -> None:
    """Do what `womm trust --yes` does in `folder`, with the state folder that the environment names."""
    trust.accept(_review(folder))


def accept_everywhere(folder: Path) -> None:
    """Accept it by $WOMM_TRUST: for every user and machine that has this environment."""
    known = os.environ.get(trust.VARIABLE, "")
    os.environ[trust.VARIABLE] = f"{known}:{_review(folder).hash}".strip(":")


def _review(folder: Path) -> Review:
    found = settings.review(folder, os.environ, {})
    assert found is not None, f"no .womm in {folder}"
    return found
