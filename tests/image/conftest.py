"""A docker for the tests of images, started once."""

from collections.abc import Iterator

import pytest

from tests.image import dockerd


@pytest.fixture(scope="session")
def own_docker() -> Iterator[dockerd.Docker]:
    with dockerd.running() as started:
        yield started
