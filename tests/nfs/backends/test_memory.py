"""The memory backend keeps the contract."""

import asyncio

import pytest

from tests.nfs.filesystem_contract import *  # noqa: F403
from tests.nfs.filesystem_contract import Driver
from womm.nfs.backends.memory import MemoryFilesystem


@pytest.fixture
def fs():
    with asyncio.Runner() as runner:
        real = MemoryFilesystem()
        yield Driver(runner, real)
        assert real.open_files == 0
