"""Tasks write where each test has its own folders."""

import pytest

from tests.conftest import Home


@pytest.fixture(autouse=True)
def _home(womm_home: Home) -> Home:
    return womm_home
