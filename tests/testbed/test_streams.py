"""The frames of a program's output: whole, byte by byte, cut."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from womm.testbed.streams import STDERR, STDOUT, Frames

pieces = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=300)), max_size=20)


def framed(found):
    return b"".join(struct.pack(">BxxxL", stream, len(data)) + data for stream, data in found)


def joined(found, stream):
    return b"".join(data for one, data in found if one == stream)


@given(pieces, st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_they_are_cut(found, size):
    data, frames = framed(found), Frames()
    out: list[tuple[int, bytes]] = []
    for start in range(0, len(data), size):
        out += frames.feed(data[start : start + size])
    assert frames.complete
    assert all(piece for _, piece in out)
    for stream in (STDOUT, STDERR):
        assert joined(out, stream) == joined(found, stream)


@given(st.binary(min_size=1, max_size=40), st.data())
def test_frames_that_end_too_early_are_not_complete(data, draw):
    whole = framed([(STDOUT, data)])
    frames = Frames()
    list(frames.feed(whole[: draw.draw(st.integers(1, len(whole) - 1))]))
    assert not frames.complete


@given(st.binary(max_size=200))
def test_frames_take_any_bytes(data):
    list(Frames().feed(data))
