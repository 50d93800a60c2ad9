"""Files get their names in the user's folder: whole, and nothing that is there is lost."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from womm.share.eager.staging import Staging, remove_stale


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A descriptor of `tmp_path`."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def staged(staging: Staging, name: bytes, data: bytes) -> bytes:
    fd = staging.create(name)
    os.write(fd, data)
    os.close(fd)
    return name


def test_staging_that_is_removed_in_the_moment_it_is_made_is_made_again(root: int, tmp_path: Path) -> None:
    """Another run may take it for a dead one's before it is locked."""
    over = threading.Event()

    def clean() -> None:
        while not over.is_set():
            remove_stale(root, [b".womm-sync-t1"])

    other = threading.Thread(target=clean)
    other.start()
    try:
        for _ in range(500):
            staging = None
            while staging is None:
                try:
                    staging = Staging(root, "t1")
                except BlockingIOError:  # it is being removed
                    continue
            staged(staging, b"1", b"data")
            assert (tmp_path / ".womm-sync-t1/1").read_bytes() == b"data"
            staging.close()
    finally:
        over.set()
        other.join()
