"""Record marking and the heads of calls: whole, byte by byte, in fragments, and wrong."""

import itertools
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.nfs import rpc
from womm.nfs.rpc import NOBODY, Assembler, Credential, RPCError, pack_call, parse_call
from womm.nfs.xdr import BadXDR

LIMIT = 300_000


def _feed(assembler, data, step):
    """Give the stream in pieces of at most `step` bytes; return the records."""
    found, pos = [], 0
    while pos < len(data):
        buffer = assembler.buffer()
        size = min(len(buffer), step, len(data) - pos)
        assert size > 0
        buffer[:size] = data[pos : pos + size]
        del buffer
        found += [bytes(record) for record in assembler.received(size)]
        pos += size
    return found


def _fragments(record, cuts):
    """Write a record as fragments cut at the given places."""
    places = [0, *sorted(cuts), len(record)]
    out = b""
    pieces = list(itertools.pairwise(places))
    for number, (begin, end) in enumerate(pieces):
        last = number == len(pieces) - 1
        out += pack(">I", end - begin | (0x80000000 if last else 0)) + record[begin:end]
    return out


RECORDS = [b"", b"abcd", bytes(range(256)) * 10, b"x" * 65532, b"y" * 65537, b"z" * 200_001, b"end!"]


@pytest.mark.parametrize("step", [1, 3, 1000, 65536, 10**9])
def test_records_come_out_however_the_stream_is_cut(step):
    records = RECORDS if step > 1 else [record for record in RECORDS if len(record) < 70_000]
    stream = b"".join(rpc.mark(len(record)) + record for record in records)
    assembler = Assembler(LIMIT)
    assert _feed(assembler, stream, step) == records
    assert not assembler.partial
    assert assembler.held_bytes == 0


@given(
    st.lists(st.tuples(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5)), max_size=6),
    st.integers(1, 97),
)
def test_fragments_are_put_together(items, step):
    stream, records = b"", []
    for record, cuts in items:
        stream += _fragments(record, [cut for cut in cuts if cut <= len(record)])
        records.append(record)
    assert _feed(Assembler(LIMIT), stream, step) == records


@pytest.mark.parametrize("mark", [0x7FFFFFFF, 0xFFFFFFFF, 0x80000000 | LIMIT + 1, LIMIT + 1])
def test_record_that_is_too_long_is_refused_before_it_takes_memory(mark):
    assembler = Assembler(LIMIT)
    with pytest.raises(BadXDR):
        _feed(assembler, pack(">I", mark) + b"x" * 100, 1000)
    assert assembler.held_bytes == 0


def test_fragments_together_are_limited_in_size_and_number():
    with pytest.raises(BadXDR):
        _feed(Assembler(LIMIT), (pack(">I", 200_000) + b"x" * 200_000) * 2, 65536)
    with pytest.raises(BadXDR):
        _feed(Assembler(LIMIT), pack(">I", 0) * 2000, 65536)


def test_length_alone_takes_little_memory():
    assembler = Assembler(1 << 30)
    _feed(assembler, pack(">I", 0x80000000 | 1 << 29) + b"x" * 100, 1000)
    assembler.buffer()
    assert assembler.held_bytes <= rpc.GROW_BYTES + 100
    assert assembler.partial


@given(st.binary(max_size=5000), st.integers(1, 700))
def test_any_stream_gives_records_or_badxdr(data, step):
    assembler = Assembler(2000)
    try:
        for record in _feed(assembler, data, step):
            assert len(record) <= 2000
    except BadXDR:
        pass


def test_call_comes_back():
    credential = Credential(1000, 100, (4, 24, 27), b"laptop")
    call = parse_call(pack_call(7, 100003, 4, 1, credential=credential, args=b"args")[4:])
    assert (call.xid, call.program, call.version, call.procedure) == (7, 100003, 4, 1)
    assert call.credential == credential
    assert call.args.fixed(4) == b"args"


def test_call_without_a_credential_is_nobodys():
    head = pack(">IIIIII", 1, 0, 2, 100003, 4, 0)
    assert parse_call(head + bytes(16)).credential == NOBODY


@pytest.mark.parametrize(
    ("flavor", "body", "reply"),
    [
        (6, b"", pack(">5I", 9, 1, 1, 1, 5)),  # RPCSEC_GSS: AUTH_TOOWEAK
        (1, b"\0" * 4, pack(">5I", 9, 1, 1, 1, 1)),  # AUTH_BADCRED
        (1, pack(">IIIII", 0, 0, 0, 0, 17) + bytes(68), pack(">5I", 9, 1, 1, 1, 1)),  # 17 groups
        (1, pack(">IIIII", 0, 0, 0, 0, 0) + bytes(4), pack(">5I", 9, 1, 1, 1, 1)),  # more than a credential
    ],
)
def test_credential_that_is_not_accepted_is_denied(flavor, body, reply):
    record = pack(">8I", 9, 0, 2, 100003, 4, 1, flavor, len(body)) + body + bytes(8)
    with pytest.raises(RPCError) as caught:
        parse_call(record)
    assert caught.value.reply[4:] == reply


def test_other_rpc_version_is_a_mismatch():
    with pytest.raises(RPCError) as caught:
        parse_call(pack(">8I", 9, 0, 3, 100003, 4, 1, 0, 0) + bytes(8))
    assert caught.value.reply[4:] == pack(">6I", 9, 1, 1, 0, 2, 2)


@given(st.binary(max_size=200))
def test_any_record_is_a_call_or_refused(record):
    try:
        call = parse_call(record)
    except (BadXDR, RPCError):
        return
    assert call.args.left >= 0


def test_replies_have_a_mark_and_one_fragment():
    reply = rpc.reply(5, [b"abc", b"d"])
    assert reply == pack(">7I", 0x80000000 | 28, 5, 1, 0, 0, 0, 0) + b"abcd"
    assert rpc.prog_mismatch(5, 4, 4)[4:] == pack(">8I", 5, 1, 0, 0, 0, 2, 4, 4)
