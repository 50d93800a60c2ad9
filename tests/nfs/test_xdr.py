"""The XDR codec: round trips, and that no bytes are trusted."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.nfs.xdr import BadXDR, Reader, pack_bitmap, pack_opaque, pack_time, pack_u32, pack_u64

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)


@given(U32, U64, st.integers(-(2**63), 2**63 - 1))
def test_numbers_come_back(small, large, signed):
    reader = Reader(pack_u32(small) + pack_u64(large) + struct.pack(">q", signed))
    assert (reader.u32(), reader.u64(), reader.i64(), reader.left) == (small, large, signed, 0)


@given(st.binary(max_size=70), st.binary(max_size=9))
def test_opaques_come_back_with_padding(data, rest):
    packed = pack_opaque(data)
    assert len(packed) % 4 == 0
    for kind in (bytes, bytearray, memoryview):
        reader = Reader(kind(packed + rest))
        view = reader.opaque(100)
        assert isinstance(view, memoryview)
        assert bytes(view) == data
        assert reader.left == len(rest)
        assert Reader(kind(packed)).text(100) == data


@given(st.integers(0, 2**96 - 1))
def test_bitmaps_come_back(mask):
    packed = pack_bitmap(mask)
    reader = Reader(packed)
    assert reader.bitmap() == mask
    assert reader.left == 0
    # Trailing words of zero mean nothing.
    words = Reader(packed).u32()
    assert Reader(pack_u32(words + 1) + packed[4:] + bytes(4)).bitmap() == mask


@given(st.integers(-(2**63) * 10**9, (2**63 - 1) * 10**9))
def test_times_come_back(ns):
    seconds, rest = struct.unpack(">qI", pack_time(ns))
    assert seconds * 10**9 + rest == ns
    assert 0 <= rest < 10**9


@pytest.mark.parametrize(
    "read",
    [
        Reader.u32,
        Reader.u64,
        Reader.i64,
        Reader.boolean,
        Reader.bitmap,
        lambda r: r.fixed(12),
        lambda r: r.opaque(1 << 20),
        lambda r: r.text(1 << 20),
        lambda r: r.count(1 << 20),
        lambda r: r.fields(struct.Struct(">I12sQ")),
    ],
)
@given(data=st.binary(max_size=40))
def test_any_bytes_are_read_or_badxdr(read, data):
    reader = Reader(data)
    try:
        read(reader)
    except BadXDR:
        return
    assert 0 <= reader.pos <= len(data)


@pytest.mark.parametrize("size", [11, 2**31, 2**32 - 1])
def test_lengths_beyond_their_limit_or_the_record_are_refused(size):
    for read in (Reader.opaque, Reader.text):
        with pytest.raises(BadXDR):
            read(Reader(pack_u32(size) + bytes(64)), 10)
        with pytest.raises(BadXDR):
            read(Reader(pack_u32(size) + bytes(8)), 2**32)
    with pytest.raises(BadXDR):
        Reader(pack_u32(151) + bytes(600)).bitmap()
    with pytest.raises(BadXDR):
        Reader(pack_u32(3) + bytes(8)).count(10)
    with pytest.raises(BadXDR):
        Reader(pack_u32(2)).boolean()
