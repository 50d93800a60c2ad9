"""Extended requests and their answers: both ends agree; cut and garbled ones are BadMessage."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.wire import extensions
from womm.wire.attributes import NewAttributes
from womm.wire.extensions import (
    EXTENSIONS,
    OFFERED,
    DiskSpace,
    Expect,
    Extended,
    FoundPath,
    Got,
    Position,
    SizeLimits,
    Stats,
    pack_request,
)
from womm.wire.fields import BadMessage, Reader, string

ANSWERS: tuple[type[Extended], ...] = (DiskSpace, SizeLimits, Position, FoundPath)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "s": st.binary(max_size=40),
    "S": st.lists(st.binary(max_size=9), max_size=4).map(tuple),
    "i": st.integers(0, 2**32 - 1),
    "b": st.booleans(),
    "q": st.integers(0, 2**64 - 1),
    "o": st.integers(0, 2**63 - 1),
    "v": st.just(()) | st.tuples(*[st.integers(0, 2**64 - 1)] * 4),
    "a": st.builds(NewAttributes, st.none() | st.integers(0, 2**63 - 1), st.none() | st.integers(0, 0o7777)),
}


def values(kind):
    return st.tuples(*(VALUES[letter] for letter in kind.FIELDS)).map(lambda found: kind(*found))


ANY = st.sampled_from([*EXTENSIONS, *ANSWERS]).flatmap(values)


@given(ANY, st.binary(max_size=5))
def test_fields_are_read_as_they_were_packed_and_a_rest_is_of_no_matter(value, rest):
    assert type(value).read(Reader(memoryview(value.pack() + rest))) == value


@given(ANY)
def test_what_is_cut_anywhere_is_a_bad_message(value):
    packed = value.pack()
    for end in range(len(packed)):
        with pytest.raises(BadMessage):
            type(value).read(Reader(memoryview(packed[:end])))


@given(st.sampled_from([*EXTENSIONS, *ANSWERS]), st.binary(max_size=100))
def test_garbage_is_a_value_or_a_bad_message(kind, garbage):
    try:
        kind.read(Reader(memoryview(garbage)))
    except BadMessage:
        pass


def test_every_class_says_each_of_its_fields_and_every_request_is_offered_once():
    for kind in (*EXTENSIONS, *ANSWERS):
        assert len(kind.FIELDS) == len(kind.__match_args__), kind
    names = [kind.NAME for kind in EXTENSIONS]
    assert len(set(names)) == len(names)
    assert ((b"newline", b"\n"), *((kind.NAME, kind.VERSION) for kind in EXTENSIONS)) == OFFERED
    assert set(names) == {getattr(kind, "NAME", None) for kind in vars(extensions).values()} - {None}


def test_a_request_has_its_name_before_its_fields():
    packed = pack_request(Expect(b"h", True, (1, -1, 3, 4)))
    reader = Reader(memoryview(packed))
    assert reader.string() == b"expect@womm"
    assert Expect.read(reader) == Expect(b"h", True, (1, 2**64 - 1, 3, 4))
    assert packed == (
        string(b"expect@womm")
        + string(b"h")
        + b"\0\0\0\1\0\0\0\1"
        + b"".join(number.to_bytes(8, "big") for number in (1, 2**64 - 1, 3, 4))
    )


def test_a_request_that_counts_more_than_it_has_is_a_bad_message():
    with pytest.raises(BadMessage):
        Stats.read(Reader(memoryview(b"\xff\xff\xff\xff" + string(b"a"))))


@pytest.mark.parametrize("at_end", [False, True])
def test_what_get_answers_is_read_as_it_was_packed(tmp_path, at_end):
    found = os.lstat(tmp_path)
    packed = Got.pack(found, b"data", at_end)
    stat, data, end = Got.read(packed, 0)
    assert (stat.ino, stat.mtime_ns, data, end) == (found.st_ino, found.st_mtime_ns, b"data", at_end)
    for cut in range(len(packed)):
        with pytest.raises(BadMessage):
            Got.read(packed[:cut], 0)
