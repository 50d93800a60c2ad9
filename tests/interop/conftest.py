"""The folder that both run in."""

from pathlib import Path

import pytest

from tests.conftest import Home
from tests.interop.plain import Pair


@pytest.fixture
def pair(tmp_path: Path, womm_home: Home, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A pair in a folder of its own, with a HOME and a shell that both see."""
    monkeypatch.setenv("PARALLEL_SHELL", "/bin/bash")
    return Pair(tmp_path / "work")
