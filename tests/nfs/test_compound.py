"""COMPOUNDs: legality by minor version, the order of operations, sizes, a backend that is away."""

import pytest

from tests.nfs.builder import (
    ROOT_USER,
    close,
    exchange_id,
    getattr_,
    lookup,
    mkdir,
    putfh,
    putrootfh,
    read,
    read_reply,
    readdir,
    sequence,
    write,
)
from womm.nfs import rpc
from womm.nfs.constants import Attr, Op
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32


# -- which operations are legal ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("minor", "op", "status"),
    [
        (0, 2, Status.OP_ILLEGAL),
        (0, 40, Status.OP_ILLEGAL),
        (0, Op.SEQUENCE, Status.OP_ILLEGAL),
        (0, Op.OPENATTR, Status.NOTSUPP),
        (0, Op.DELEGRETURN, Status.NOTSUPP),
        (1, 0, Status.OP_ILLEGAL),
        (1, Op.ALLOCATE, Status.OP_ILLEGAL),
        (1, Op.PUTROOTFH, Status.OP_NOT_IN_SESSION),
        (2, 76, Status.OP_ILLEGAL),
        (2, 0xFFFFFFFF, Status.OP_ILLEGAL),
    ],
)
def test_first_operation_that_is_not_legal_says_why(bench, minor, op, status):
    reply = bench.call(pack_u32(op), minor=minor)
    assert reply.status is status
    assert reply.results == [(Op.ILLEGAL if status is Status.OP_ILLEGAL else op, status, None)]


@pytest.mark.parametrize(
    ("minor", "op", "status"),
    [
        (1, Op.SETCLIENTID, Status.NOTSUPP),
        (1, Op.RENEW, Status.NOTSUPP),
        (1, Op.OPEN_CONFIRM, Status.NOTSUPP),
        (1, Op.RELEASE_LOCKOWNER, Status.NOTSUPP),
        (1, Op.SEEK, Status.OP_ILLEGAL),
        (1, Op.SEQUENCE, Status.SEQUENCE_POS),
        (1, Op.LAYOUTGET, Status.NOTSUPP),
        (2, Op.CLONE, Status.NOTSUPP),
        (2, Op.READ_PLUS, Status.NOTSUPP),
        (2, Op.OFFLOAD_STATUS, Status.NOTSUPP),
        (2, 99, Status.OP_ILLEGAL),
    ],
)
def test_operation_in_a_session_that_is_not_legal_says_why(bench, minor, op, status):
    session = bench.session(minor=minor)
    assert session.call(pack_u32(op)).status is status


def test_minor_version_3_is_a_mismatch_without_results(bench):
    reply = bench.call(putrootfh(), minor=3)
    assert (reply.status, reply.results) == (Status.MINOR_VERS_MISMATCH, [])


def test_exchange_id_beside_another_operation_is_refused(bench):
    reply = bench.call(exchange_id(b"verifier", b"x"), putrootfh(), minor=1)
    assert reply.status is Status.NOT_ONLY_OP


def test_empty_compound_is_ok(bench):
    assert bench.call().results == []
    assert bench.call(minor=1).results == []


def test_more_operations_than_granted_is_refused(bench):
    session = bench.session()
    assert session.call(*[putrootfh()] * 16).status is Status.TOO_MANY_OPS
    session.seqids[0] -= 1  # an error of SEQUENCE leaves the slot as it was (RFC 8881 18.46.3)
    assert session.call(*[putrootfh()] * 15).status is Status.OK
    assert bench.call(*[putrootfh()] * 257).status is Status.RESOURCE


def test_nothing_runs_after_the_first_error(bench):
    reply = bench.call(putrootfh(), lookup(b"none"), mkdir(b"never"))
    assert [status for _, status, _ in reply.results] == [Status.OK, Status.NOENT]
    assert not bench.ok(putrootfh(), readdir()).value(Op.READDIR)["entries"]


def test_truncated_arguments_are_badxdr(bench):
    assert bench.call(putrootfh(), lookup(b"name")[:-4]).status is Status.BADXDR


def test_backend_that_is_away_is_delay_and_sessions_live_on(bench):
    session = bench.session()
    bench.memory.away = True
    assert session.call(putrootfh(), getattr_(Attr.SIZE)).status is Status.DELAY
    assert session.call(putrootfh(), mkdir(b"d")).status is Status.DELAY
    assert session.ok().status is Status.OK
    bench.memory.away = False
    session.ok(putrootfh(), mkdir(b"d"))


# -- sizes ---------------------------------------------------------------------------------------------
def test_reply_that_is_too_big_is_refused(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), write(b"x" * 20000, stateid))
    assert session.call(putfh(handle), read(stateid, 0, 20000), cache=True).results[-1][2][1] == b"x" * 3988
    reads = [read(stateid, 0, 3700)] * 3  # the second is cut short
    assert session.call(putfh(handle), *reads, cache=True).status is Status.REP_TOO_BIG_TO_CACHE
    session.ok(putfh(handle), close(stateid))


def test_request_that_is_too_big_is_refused(bench):
    session = bench.session()
    assert session.call(putrootfh(), write(b"x" * (1 << 20))).status is Status.REQ_TOO_BIG


def test_unknown_session_and_slot(bench):
    session = bench.session()
    assert bench.call(sequence(bytes(16), 1), minor=1).status is Status.BADSESSION
    assert bench.call(sequence(session.sessionid, 1, slot=16), minor=1).status is Status.BADSLOT
    assert bench.call(sequence(session.sessionid, 1, highest=16), minor=1).status is Status.BAD_HIGH_SLOT


def test_reply_of_a_retry_has_the_retrys_xid(bench):
    session = bench.session()
    args = pack_opaque(b"") + pack_u32(1) + pack_u32(1) + sequence(session.sessionid, 2)
    replies = []
    for xid in (71, 72):
        call = rpc.parse_call(rpc.pack_call(xid, 100003, 4, 1, credential=ROOT_USER, args=args)[4:])
        replies.append(bench.run(bench.server.service.compound(call, 100)))
    assert [reply[4:8] for reply in replies] == [pack_u32(71), pack_u32(72)]
    assert read_reply(replies[0]) == read_reply(replies[1])
