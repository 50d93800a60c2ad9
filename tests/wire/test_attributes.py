"""Attributes of files: what one side packs the other reads; cut, garbled and foreign ones are BadMessage."""

import os
import random
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.wire.attributes import NO_ATTRIBUTES, NewAttributes, Stat, pack_stat, read_stat
from womm.wire.fields import BadMessage, BadOffset, Reader

TIMES = st.none() | st.integers(-(2**62), 2**62)
NEW = st.builds(
    NewAttributes,
    st.none() | st.integers(0, 2**63 - 1),
    st.none() | st.integers(0, 0o7777),
    TIMES,
    TIMES,
    st.booleans(),
)


def read_new(packed):
    return NewAttributes.read(Reader(memoryview(packed)))


def stat_of(path):
    found = os.lstat(path)
    return Stat(
        found.st_mode,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_atime_ns,
        found.st_dev,
        found.st_ino,
        found.st_nlink,
        found.st_blocks,
    )


@given(NEW)
def test_new_attributes_are_read_as_they_were_packed(new):
    reader = Reader(memoryview(new.pack() + b"rest"))
    assert NewAttributes.read(reader) == new
    assert reader.more


@given(NEW)
def test_new_attributes_that_are_cut_anywhere_are_a_bad_message(new):
    packed = new.pack()
    for end in range(len(packed)):
        with pytest.raises(BadMessage):
            read_new(packed[:end])


def test_new_attributes_that_no_file_has_are_refused():
    with pytest.raises(BadOffset):
        read_new(NewAttributes(size=0).pack()[:5] + b"\x80" + bytes(7))
    late = NewAttributes(mtime_ns=0).pack()[:-4] + (1_000_000_000).to_bytes(4, "big")
    with pytest.raises(BadMessage):
        read_new(late)


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
def test_a_stat_is_read_as_it_was_packed(tmp_path, kind):
    path = tmp_path / "f"
    if kind == "file":
        path.write_bytes(b"12345")
    elif kind == "directory":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to("x")
    else:
        os.mkfifo(path)
    os.utime(path, ns=(-1, 1_700_000_000_999_999_999), follow_symlinks=False)
    packed = pack_stat(os.lstat(path))
    assert read_stat(packed, 0) == (stat_of(path), len(packed))
    assert read_stat(b"before" + packed + b"after", 6) == (stat_of(path), 6 + len(packed))


def test_a_stat_that_is_cut_anywhere_is_a_bad_message(tmp_path):
    packed = pack_stat(os.lstat(tmp_path))
    for end in range(len(packed)):
        with pytest.raises(BadMessage):
            read_stat(packed[:end], 0)


def test_a_name_without_attributes_has_none():
    assert read_stat(NO_ATTRIBUTES, 0) == (Stat(0, 0, 0, 0, 0, 0, 0, 1, 0), len(NO_ATTRIBUTES))
    assert read_new(NO_ATTRIBUTES) == NewAttributes()


def test_the_type_tells_what_a_file_is_when_there_is_no_mode():
    assert stat.S_ISDIR(read_stat(b"\0\0\0\0\2", 0)[0].mode)


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_garbage_is_attributes_or_a_bad_message(garbage, flags):
    for data in (garbage, flags.to_bytes(4, "big") + garbage):
        for read in (read_new, lambda data: read_stat(data, 0)):
            try:
                read(data)
            except BadMessage:
                pass


def test_garbled_attributes_are_attributes_or_a_bad_message(tmp_path):
    chance = random.Random(7)
    for packed in (pack_stat(os.lstat(tmp_path)), NewAttributes(5, 0o644, 1, 2, True).pack()):
        for _ in range(3000):
            garbled = bytearray(packed)
            for _ in range(chance.randrange(1, 4)):
                garbled[chance.randrange(len(garbled))] = chance.randrange(256)
            for read in (read_new, lambda data: read_stat(data, 0)):
                try:
                    read(bytes(garbled))
                except BadMessage:
                    pass
