"""The names that a file server has told, kept for the one that takes its place."""

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from womm.share.lazy.names import CHANGE_AHEAD, READ_BYTES, NamesLog


@pytest.fixture
def names() -> Iterator[NamesLog]:
    names = NamesLog(5)
    yield names
    names.close()


def kept(names: NamesLog) -> bytes:
    return b"".join(names.lines())


@contextmanager
def full_disk() -> Iterator[None]:
    """Files of this process can not grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_lines_are_those_that_were_added_however_often_they_are_read(names: NamesLog) -> None:
    assert kept(names) == b""
    expected = b""
    for number in range(3):
        names.add(b'{"number":%d}\xff' % number, reset=False)
        expected += b'{"number":%d}\xff\n' % number
        assert kept(names) == kept(names) == expected


def test_many_lines_come_in_pieces_and_take_less_room(names: NamesLog) -> None:
    lines = [os.urandom(100).hex().encode() for _ in range(READ_BYTES // 50)]
    for line in lines:
        names.add(line, reset=False)
    pieces = list(names.lines())
    assert len(pieces) > 1
    assert b"".join(pieces) == b"".join(line + b"\n" for line in lines)


def test_reset_makes_void_what_came_before(names: NamesLog) -> None:
    names.add(b"x" * 100_000, reset=False)
    kept(names)
    names.add(b"new", reset=True)
    names.add(b"more", reset=False)
    assert kept(names) == b"new\nmore\n"


def test_full_disk_costs_the_names_until_they_come_anew(names: NamesLog, caplog) -> None:
    names.add(b"kept", reset=False)
    kept(names)
    with full_disk():
        names.add(os.urandom(100_000), reset=False)
        for _ in range(100):
            names.add(os.urandom(10_000), reset=False)
        assert kept(names) == b""
    assert len([record for record in caplog.records if "names of the share" in record.getMessage()]) == 1
    names.add(b"half of it", reset=False)
    assert kept(names) == b""
    names.add(b"all of it", reset=True)
    assert kept(names) == b"all of it\n"


def test_full_disk_under_the_last_lines_hands_over_none(names: NamesLog, caplog) -> None:
    names.add(b"in memory", reset=False)
    with full_disk():
        assert kept(names) == b""
    assert kept(names) == b""
    assert "are not there any more" in caplog.text


def test_next_server_counts_from_beyond_all_that_were_before(names: NamesLog) -> None:
    names.greeted(3, 100)
    names.greeted(2, 50)  # an older one says less
    first = names.hand_over()
    assert (first.generation, first.dev) == (3, 5)
    assert first.change >= 100 + CHANGE_AHEAD
    second = names.hand_over()
    assert second.generation == 4 and second.change >= first.change + CHANGE_AHEAD


def test_change_grows_with_the_time_since_a_server_was_heard(names: NamesLog) -> None:
    names.greeted(1, 1000)
    began = time.monotonic_ns()
    time.sleep(0.01)
    least = time.monotonic_ns() - began
    assert names.hand_over().change >= 1000 + least + CHANGE_AHEAD
