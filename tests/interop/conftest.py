"""The folder that both run in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Home
from tests.interop.plain import PLAIN, Pair


@pytest.fixture(scope="session")
def _measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What GNU parallel's first run with a HOME finds out about the machine; it takes a while."""
    home = tmp_path_factory.mktemp("home")
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    subprocess.run([*PLAIN, "true", ":::", "x"], env={**env, "HOME": str(home)}, check=True)
    return home / ".parallel"


@pytest.fixture
def pair(tmp_path: Path, womm_home: Home, _measured: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A pair in a folder of its own, with a HOME and a shell that both see."""
    shutil.copytree(_measured, womm_home.home / ".parallel")
    monkeypatch.setenv("PARALLEL_SHELL", "/bin/bash")
    return Pair(tmp_path / "work")
