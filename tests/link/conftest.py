"""A folder with a short path: that of a Unix socket may have 107 bytes."""

from pathlib import Path

import pytest

from tests.conftest import Home


@pytest.fixture
def place(womm_home: Home) -> Path:
    return womm_home.runtime
