"""The fields of packets: read as they were packed, and BadMessage where there are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.wire.fields import U32, U64, BadMessage, BadOffset, Reader, read_string, string

FIELDS = st.lists(
    st.one_of(
        st.tuples(st.just("byte"), st.integers(0, 255)),
        st.tuples(st.just("u32"), st.integers(0, 2**32 - 1)),
        st.tuples(st.just("u64"), st.integers(0, 2**64 - 1)),
        st.tuples(st.just("offset"), st.integers(0, 2**63 - 1)),
        st.tuples(st.just("string"), st.binary(max_size=40)),
    ),
    max_size=8,
)


def pack(kind, value):
    return {
        "byte": lambda: bytes((value,)),
        "u32": lambda: U32.pack(value),
        "u64": lambda: U64.pack(value),
        "offset": lambda: U64.pack(value),
        "string": lambda: string(value),
    }[kind]()


def read(fields, data):
    reader = Reader(memoryview(data))
    return [getattr(reader, kind)() for kind, _ in fields], reader.more


@given(FIELDS, st.binary(max_size=3))
def test_fields_are_read_as_they_were_packed(fields, rest):
    data = b"".join(pack(*field) for field in fields)
    assert read(fields, data + rest) == ([value for _, value in fields], bool(rest))


@given(FIELDS.filter(bool))
def test_fields_that_are_cut_anywhere_are_a_bad_message(fields):
    data = b"".join(pack(*field) for field in fields)
    for end in range(len(data)):
        with pytest.raises(BadMessage):
            read(fields, data[:end])


def test_an_offset_that_no_file_has_is_told_from_what_cannot_be_read():
    with pytest.raises(BadOffset):
        Reader(memoryview(U64.pack(1 << 63))).offset()


@given(st.binary(max_size=30), st.integers(0, 40))
def test_a_string_at_any_place_is_a_string_or_a_bad_message(data, pos):
    try:
        found, end = read_string(data, pos)
    except BadMessage:
        return
    assert data[pos:end] == string(found)
