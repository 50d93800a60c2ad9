"""The frame codec: whole, byte by byte, with a rest, and with garbage."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm import worker
from womm.link import frames, session
from womm.link.frames import (
    MAX_PAYLOAD,
    BadFrame,
    EndKind,
    EndRecord,
    FrameDecoder,
    FrameType,
    RunRequest,
    decode_ack,
    decode_credit,
    decode_ended,
    decode_ready,
    encode,
    encode_ack,
    encode_bye,
    encode_credit,
    encode_ended,
    encode_resize,
    encode_run,
    encode_signal,
)

FRAMES = st.lists(
    st.tuples(
        st.sampled_from([int(kind) for kind in FrameType]),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=300),
    ),
    max_size=20,
)
U64 = st.integers(0, 2**64 - 1)


def decoded(decoder, data):
    """Payloads are only valid until the next call: copy them."""
    return [(kind, job, bytes(payload)) for kind, job, payload in decoder.feed(data)]


def joined(found):
    """With the pieces of one output frame together, as are frames that follow each other."""
    result: list[tuple[int, int, bytes]] = []
    for kind, job, payload in found:
        before = b""
        if kind in (FrameType.OUT, FrameType.ERR) and result and result[-1][:2] == (kind, job):
            before = result.pop()[2]
        result.append((kind, job, before + payload))
    return result


@given(FRAMES)
def test_feed_whole_stream_gives_every_frame(sent):
    assert decoded(FrameDecoder(), b"".join(encode(*frame) for frame in sent)) == sent


@given(FRAMES)
def test_feed_byte_by_byte_gives_every_frame(sent):
    decoder = FrameDecoder()
    stream = b"".join(encode(*frame) for frame in sent)
    found = [frame for byte in stream for frame in decoded(decoder, bytes([byte]))]
    assert joined(found) == joined(sent)


@given(FRAMES, st.lists(st.integers(1, 400), max_size=30))
def test_feed_in_any_pieces_gives_every_frame(sent, sizes):
    decoder = FrameDecoder()
    rest = b"".join(encode(*frame) for frame in sent)
    found = []
    for size in sizes:
        found += decoded(decoder, rest[:size])
        rest = rest[size:]
    assert joined(found + decoded(decoder, rest)) == joined(sent)


@given(FRAMES, st.data())
def test_feed_with_trailing_bytes_keeps_them_for_the_next_call(sent, data):
    stream = b"".join(encode(*frame) for frame in sent)
    last = encode(FrameType.RUN, 7, b"the last one")
    cut = data.draw(st.integers(0, len(last) - 1))
    decoder = FrameDecoder()
    assert decoded(decoder, stream + last[:cut]) == sent
    assert f"{cut} bytes" in repr(decoder)
    assert decoded(decoder, b"") == []
    assert decoded(decoder, last[cut:]) == [(FrameType.RUN, 7, b"the last one")]


@pytest.mark.parametrize("kind", [FrameType.OUT, FrameType.ERR])
def test_feed_output_is_not_held_back_until_its_frame_is_complete(kind):
    decoder, frame = FrameDecoder(), encode(kind, 7, b"the last one")
    assert decoded(decoder, frame[:9]) == []
    assert decoded(decoder, frame[9:12]) == [(kind, 7, b"the")]
    assert decoded(decoder, b"") == []
    assert decoded(decoder, frame[12:] + frame) == [(kind, 7, b" last one"), (kind, 7, b"the last one")]


@given(st.binary(max_size=200))
def test_feed_garbage_raises_nothing_but_bad_frame(garbage):
    try:
        for kind, _, payload in FrameDecoder().feed(garbage):
            assert kind in set(FrameType)
            assert len(payload) <= MAX_PAYLOAD
    except BadFrame:
        pass


@pytest.mark.parametrize("kind", [0, 8, 15, 21, 31, 35, 255])
def test_feed_an_unknown_type_is_bad_before_its_payload_is_there(kind):
    with pytest.raises(BadFrame, match=f"type {kind}"):
        list(FrameDecoder().feed(frames.HEADER.pack(kind, 0, 1000)))


def test_feed_the_largest_payload_passes_and_one_more_is_bad():
    largest = encode(FrameType.OUT, 1, bytes(MAX_PAYLOAD))
    assert [len(payload) for _, _, payload in FrameDecoder().feed(largest)] == [MAX_PAYLOAD]
    with pytest.raises(BadFrame):
        list(FrameDecoder().feed(frames.HEADER.pack(FrameType.OUT, 1, MAX_PAYLOAD + 1)))


def test_feed_frames_before_a_bad_one_are_given():
    decoder = FrameDecoder()
    found = []
    with pytest.raises(BadFrame):
        for kind, _, _ in decoder.feed(encode(FrameType.PING) + b"\xff" * 9):
            found.append(kind)
    assert found == [FrameType.PING]


@given(st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_credit_round_trip(stream, size):
    ((kind, job, payload),) = FrameDecoder().feed(encode_credit(5, stream, size))
    assert (kind, job, decode_credit(payload)) == (FrameType.CREDIT, 5, (stream, size))


@given(U64)
def test_ack_round_trip(offset):
    ((kind, job, payload),) = FrameDecoder().feed(encode_ack(offset))
    assert (kind, job, decode_ack(payload)) == (FrameType.ACK, 0, offset)


@given(
    st.builds(
        EndRecord,
        st.sampled_from(EndKind),
        st.integers(-(2**31), 2**31 - 1),
        *[U64] * 5,
        st.text(max_size=50),
    )
)
def test_ended_round_trip(record):
    ((kind, job, payload),) = FrameDecoder().feed(encode_ended(9, record))
    assert (kind, job, decode_ended(payload)) == (FrameType.ENDED, 9, record)


def test_ended_text_that_is_not_utf8_is_shown_all_the_same():
    payload = encode_ended(1, EndRecord(EndKind.NOT_STARTED, 0, 0, 0, 0, 0, 0))[9:] + b"no \xff"
    assert decode_ended(payload).text == "no \N{REPLACEMENT CHARACTER}"


@given(st.binary(max_size=80))
@pytest.mark.parametrize("decode", [decode_ack, decode_credit, decode_ended])
def test_decode_garbage_raises_nothing_but_bad_frame(decode, garbage):
    try:
        decode(garbage)
    except BadFrame:
        pass


@pytest.mark.parametrize("kind", [4, 255])
def test_ended_of_an_unknown_kind_is_bad(kind):
    payload = bytearray(encode_ended(1, EndRecord(EndKind.EXITED, 0, 0, 0, 0, 0, 0))[9:])
    payload[0] = kind
    with pytest.raises(BadFrame, match=f"kind {kind}"):
        decode_ended(bytes(payload))


def test_small_frames_have_the_documented_bytes():
    assert encode_signal(3, 15) == b"\x04\0\0\0\x03\0\0\0\x01\x0f"
    assert encode_resize(3, 24, 80) == b"\x06\0\0\0\x03\0\0\0\x04\0\x18\0\x50"
    assert encode_bye(2) == b"\x07\0\0\0\0\0\0\0\x04\0\0\0\x02"


@pytest.mark.parametrize(
    "request_, fields",
    [
        (RunRequest(b"echo  a\nb"), [b"c=echo  a\nb"]),
        (RunRequest(b""), [b"c="]),
        (RunRequest(None), [b""]),
        (RunRequest(None, argv=(b"echo", b"", b"=")), [b"a=echo", b"a=", b"a=="]),
        (
            RunRequest(b"x", env={b"A": b"1=2\n", b"B": b""}, unset=(b"C",), folder=b"/a b"),
            [b"c=x", b"e=A=1=2\n", b"e=B=", b"u=C", b"d=/a b"],
        ),
        (RunRequest(b"x", stdin=True, nice=-5), [b"c=x", b"i=1", b"n=-5"]),
        (RunRequest(b"x", terminal=(24, 80)), [b"c=x", b"t=24,80"]),
        (RunRequest(b"x", stdout=b"/a 1", stderr=b"/b"), [b"c=x", b"1=/a 1", b"2=/b"]),
    ],
)
def test_run_fields_are_joined_by_nul(request_, fields):
    ((kind, job, payload),) = FrameDecoder().feed(encode_run(4, request_))
    assert (kind, job, bytes(payload).split(b"\0")) == (FrameType.RUN, 4, fields)


def test_agent_has_the_same_numbers():
    """The format is written in two languages."""
    source = worker.AGENT.read_text()
    constants = source.partition("use constant {")[2].partition("};")[0]
    theirs = {name: int(value) for name, value in re.findall(r"([A-Z_]+) => (\d+),", constants)}
    ours = {kind.name: kind.value for kind in [*FrameType, *EndKind]}
    ours |= {"WINDOW": frames.WINDOW, "VERSION": session.VERSION}
    ours |= {"HELLO_SIZE": session.HELLO_SIZE, "NOISE_LIMIT": session.NOISE_LIMIT}
    assert {name: theirs.get(name) for name in ours} == ours
    assert r'MAGIC => "\0WOMM\xf1\r\n"' in constants
    assert session.MAGIC == b"\0WOMM\xf1\r\n"


@pytest.mark.parametrize(
    ("payload", "user"),
    [
        (b"pid=1\0perl=5.036\0uid=1000\0gid=100", (1000, 100)),
        (b"gid=0\0uid=0", (0, 0)),
        (b"pid=1", None),
        (b"", None),
        (b"uid=x\0gid=1", None),
        (b"uid=1", None),
        (b"\xff\0=\0\0", None),
    ],
)
def test_ready_says_who_the_agent_is(payload, user):
    assert decode_ready(payload) == user
