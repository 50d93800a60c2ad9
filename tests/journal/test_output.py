"""Kept output: what goes in comes out, up to the limits, and a bad disk is told once."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.errors import JournalError
from womm.journal.events import OutputRef
from womm.journal.output import INLINE_BYTES, Capture, OutputReader, OutputWriter


def fail(exc):
    raise AssertionError(exc)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "output.zst"


@pytest.fixture
def writer(path):
    writer = OutputWriter(path, 1 << 20, fail)
    yield writer
    writer.close()


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 300_000])
def test_put_any_size_is_got_back(writer, path, size):
    data = os.urandom(size)
    ref = writer.put(data)
    assert (ref.size, ref.cut) == (size, False)
    assert (ref.inline is not None) == (size <= INLINE_BYTES)
    with OutputReader(path) as reader:
        assert reader.get(ref) == data


def test_put_cut_data_says_so(writer):
    assert writer.put(b"x", cut=True).cut
    assert writer.put(b"x" * 10_000, cut=True).cut
    assert writer.put(b"", cut=True) == OutputRef(inline="", cut=True)


def test_put_views_are_taken(writer, path):
    refs = [writer.put(memoryview(b"abc")), writer.put(memoryview(bytearray(b"y" * 5000)))]
    with OutputReader(path) as reader:
        assert [reader.get(ref) for ref in refs] == [b"abc", b"y" * 5000]


def test_put_beyond_the_limit_keeps_nothing_more(path):
    writer = OutputWriter(path, 10_000, fail)
    kept = writer.put(os.urandom(8000))
    refused = writer.put(os.urandom(8000))
    after = writer.put(b"small")
    assert kept.size == 8000
    assert refused == after == OutputRef(cut=True)
    assert writer.put(b"") == OutputRef(inline="")  # nothing is no loss
    assert path.stat().st_size <= 10_000
    writer.close()


def test_put_inline_counts_for_the_limit(path):
    writer = OutputWriter(path, 1000, fail)
    assert [writer.put(b"x" * 300).cut for _ in range(4)] == [False, False, True, True]
    writer.close()


def test_put_a_full_disk_is_told_once():
    told: list[OSError] = []
    writer = OutputWriter(Path("/dev/full"), 1 << 20, told.append)
    assert writer.put(os.urandom(5000)) == OutputRef(cut=True)
    assert writer.put(os.urandom(5000)) == OutputRef(cut=True)
    assert [exc.strerror for exc in told] == ["No space left on device"]
    writer.close()


def test_put_from_threads_mixes_nothing(writer, path):
    refs = {}

    def put(number):
        for index in range(20):
            data = bytes([number]) * (3000 + index)
            refs[number, index] = (writer.put(data), data)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with OutputReader(path) as reader:
        assert len(refs) == 80
        assert all(reader.get(ref) == data for ref, data in refs.values())


def test_put_after_close_keeps_nothing(path):
    writer = OutputWriter(path, 1 << 20, fail)
    writer.close()
    writer.close()
    writer.sync()
    assert writer.put(b"x" * 5000) == OutputRef(cut=True)


def test_get_reopened_file_keeps_the_old(path):
    first = OutputWriter(path, 1 << 20, fail)
    old = first.put(b"old" * 1000)
    first.close()
    second = OutputWriter(path, 1 << 20, fail)
    new = second.put(b"new" * 1000)
    second.close()
    with OutputReader(path) as reader:
        assert (reader.get(old), reader.get(new)) == (b"old" * 1000, b"new" * 1000)


def test_get_a_missing_file_is_one_sentence(path):
    reader = OutputReader(path)
    assert reader.get(OutputRef(inline="eA==", size=1)) == b"x"  # needs no file
    with pytest.raises(JournalError, match="No such file"):
        reader.get(OutputRef(offset=0, length=5, size=5000))


@given(
    st.builds(
        OutputRef,
        st.none() | st.text(),
        st.integers(-(2**70), 2**70),
        st.integers(-5, 2**33),
        st.integers(-5, 2**70),
        st.booleans(),
    )
)
def test_get_a_damaged_reference_is_one_sentence(tmp_path_factory, ref):
    path = tmp_path_factory.getbasetemp() / "damaged.zst"
    path.write_bytes(b"x\x9cgarbage")
    with OutputReader(path) as reader:
        try:
            assert isinstance(reader.get(ref), bytes)
        except JournalError as exc:
            assert str(path.parent) in exc.message


def test_get_a_cut_file_is_one_sentence(writer, path):
    ref = writer.put(os.urandom(5000))
    os.truncate(path, path.stat().st_size - 1)
    with OutputReader(path) as reader, pytest.raises(JournalError, match="damaged"):
        reader.get(ref)


@given(st.lists(st.binary(max_size=20)), st.integers(0, 60))
def test_capture_keeps_the_beginning(pieces, limit):
    capture = Capture(limit)
    for piece in pieces:
        capture.add(memoryview(piece))
    whole = b"".join(pieces)
    assert capture.data == whole[:limit]
    assert capture.cut == (len(whole) > limit)
    capture.reset()
    assert (capture.data, capture.cut) == (b"", False)
    capture.add(b"a")
    assert capture.data == b"a"[:limit]
