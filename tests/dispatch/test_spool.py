"""A job's stdin: in memory, in a file, past the cap."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.dispatch.spool import Spool


@pytest.fixture
def make(tmp_path):
    made = []

    def spool(memory_bytes=10, cap_bytes=100):
        made.append(Spool(tmp_path, memory_bytes=memory_bytes, cap_bytes=cap_bytes))
        return made[-1]

    yield spool
    for one in made:
        one.close()


def whole(spool, offset=0, step=7):
    found = b""
    while data := spool.read(offset + len(found), step):
        found += data
    return found


def test_small_input_stays_in_memory(make, tmp_path):
    spool = make()
    spool.append(b"0123456789")
    assert "memory" in repr(spool)
    assert (spool.size, spool.complete, spool.wants_pause(0)) == (10, True, False)
    assert whole(spool) == b"0123456789"
    assert spool.read(10, 5) == b""
    assert list(tmp_path.iterdir()) == []


def test_larger_input_goes_to_a_file_without_a_name(make, tmp_path):
    spool = make()
    spool.append(b"01234")
    spool.append(memoryview(b"56789a"))
    assert "file" in repr(spool)
    assert list(tmp_path.iterdir()) == []
    assert whole(spool) == b"0123456789a"
    assert spool.read(3, 2) == b"34"
    assert whole(spool, 9) == b"9a"


def test_consumed_below_the_cap_keeps_all(make):
    spool = make()
    spool.append(b"x" * 100)
    spool.consumed(100)
    assert spool.complete
    assert whole(spool) == b"x" * 100


def test_past_the_cap_nothing_is_kept_that_the_consumer_has(make):
    spool = make()
    spool.append(b"x" * 101)
    spool.consumed(50)
    assert spool.complete  # the consumer lacks half of it
    assert spool.wants_pause(50)
    assert not spool.wants_pause(95)
    spool.consumed(101)
    assert not spool.complete
    assert "101..101 in memory" in repr(spool)
    spool.append(b"abc")
    assert spool.read(101, 10) == b"abc"
    spool.append(b"d" * 20)
    assert whole(spool, 101) == b"abc" + b"d" * 20
    spool.consumed(124)
    spool.append(b"e")
    assert spool.read(124, 10) == b"e"
    spool.ended = True
    assert repr(spool) == "<Spool 124..125 in memory ended>"


def test_close_gives_the_file_back_and_can_be_repeated(make):
    before = len(os.listdir("/proc/self/fd"))
    spool = make()
    spool.append(b"x" * 50)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    spool.close()
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_append_to_a_folder_that_is_gone_raises(tmp_path):
    spool = Spool(tmp_path / "gone", memory_bytes=1, cap_bytes=10)
    spool.append(b"1")
    with pytest.raises(FileNotFoundError):
        spool.append(b"2")


@given(
    st.integers(0, 40),
    st.integers(0, 120),
    st.lists(st.tuples(st.binary(max_size=30), st.integers(0, 40)), max_size=25),
)
def test_reader_behind_the_writer_sees_every_byte_once(tmp_path_factory, memory, cap, steps):
    """Append, read on from where the last read ended, say so; as the dispatcher does."""
    spool = Spool(tmp_path_factory.getbasetemp(), memory_bytes=memory, cap_bytes=cap)
    try:
        written = seen = b""
        for data, limit in steps:
            spool.append(data)
            written += data
            seen += spool.read(len(seen), limit)
            assert written.startswith(seen)
            spool.consumed(len(seen))
            assert spool.size == len(written)
            assert spool.complete or len(written) > cap
            if spool.complete:
                assert whole(spool, step=1000) == written
        while data := spool.read(len(seen), 11):
            seen += data
        assert seen == written
    finally:
        spool.close()
