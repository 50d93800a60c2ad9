"""Stateids in arguments, and the sequence of an owner's requests in 4.0."""

from typing import Any

import pytest

from tests.nfs.builder import (
    Owner40,
    close,
    getfh,
    named,
    open_,
    open_downgrade,
    putfh,
    putrootfh,
    read,
    setattr_,
    write,
)
from womm.nfs.constants import Attr, Op
from womm.nfs.state.records import Stateid
from womm.nfs.status import Status


def test_stateid_of_an_earlier_boot_is_stale(bench):
    owner = Owner40(bench)
    stateid, handle = owner.open(b"f")
    old = Stateid(1, b"\0\0\0\7" + stateid.other[4:])
    assert bench.call(putfh(handle), read(old)).status is Status.STALE_STATEID
    strange = Stateid(1, stateid.other[:8] + b"\0\0\1\1")
    assert bench.call(putfh(handle), read(strange)).status is Status.BAD_STATEID
    assert (
        bench.call(putfh(handle), read(Stateid(stateid.seqid - 1, stateid.other))).status
        is Status.OLD_STATEID
    )
    assert (
        bench.call(putfh(handle), read(Stateid(stateid.seqid + 1, stateid.other))).status
        is Status.BAD_STATEID
    )


def test_retried_open_is_answered_from_the_cache(bench):
    owner = Owner40(bench)
    owner.open(b"first")
    request = (
        putrootfh(),
        open_(b"f", create=1, owner=owner.owner, clientid=owner.clientid, seqid=owner.next()),
        getfh(),
    )
    first = bench.ok(*request)
    again = bench.ok(*request)
    assert again == first  # GUARDED: done twice it would be EXIST
    far = open_(b"f", create=0, owner=owner.owner, clientid=owner.clientid, seqid=owner.seqid + 5)
    assert bench.call(putrootfh(), far).status is Status.BAD_SEQID


def test_retried_error_is_the_same_error(bench):
    owner = Owner40(bench)
    owner.open(b"f")
    args: dict[str, Any] = {
        "create": 1,
        "owner": owner.owner,
        "clientid": owner.clientid,
        "seqid": owner.next(),
    }
    assert bench.call(putrootfh(), open_(b"f", **args)).status is Status.EXIST
    bench.ok(putrootfh(), named(Op.REMOVE, b"f"))
    assert bench.call(putrootfh(), open_(b"f", **args)).status is Status.EXIST


def test_retried_close_is_answered_though_the_open_is_gone(bench):
    owner = Owner40(bench)
    stateid, handle = owner.open(b"f")
    seqid = owner.next()
    first = bench.ok(putfh(handle), close(stateid, seqid))
    assert bench.ok(putfh(handle), close(stateid, seqid)) == first
    owner.open(b"g")
    assert bench.call(putfh(handle), close(stateid, seqid)).status is Status.BAD_STATEID


def test_seqid_of_an_owner_goes_round_to_0(bench):
    owner = Owner40(bench)
    owner.seqid = 0xFFFFFFFD
    stateid, handle = owner.open(b"f")  # and OPEN_CONFIRM
    assert owner.seqid == 0xFFFFFFFF
    request = open_(b"g", create=0, owner=owner.owner, clientid=owner.clientid, seqid=0)
    first = bench.ok(putrootfh(), request, getfh())
    assert bench.ok(putrootfh(), request, getfh()) == first
    bench.ok(putfh(handle), close(stateid, 1))


def test_errors_that_do_not_count_leave_the_seqid_and_others_do_not(bench):
    owner = Owner40(bench)
    stateid, handle = owner.open(b"f")
    other, other_handle = owner.open(b"g")
    seqid = owner.seqid + 1
    # BAD_STATEID: the stateid is another file's (RFC 7530 9.1.7).
    assert bench.call(putfh(handle), close(other, seqid)).status is Status.BAD_STATEID
    # INVAL counts: the same number is a retry of it, and gets its answer.
    narrow = open_downgrade(stateid, 0, 0, seqid)
    assert bench.call(putfh(handle), narrow).status is Status.INVAL
    assert bench.call(putfh(handle), narrow).status is Status.INVAL
    assert bench.call(putfh(handle), close(stateid, seqid)).status is Status.BAD_SEQID
    bench.ok(putfh(handle), close(stateid, seqid + 1), putfh(other_handle), close(other, seqid + 2))


@pytest.mark.parametrize("minor", [0, 2])
def test_stateid_is_good_for_its_own_file_only(bench, minor):
    if minor:
        session = bench.session()
        (one, handle), (two, other) = session.open(b"f"), session.open(b"g")
        call, ends = session.call, [(handle, close(one)), (other, close(two))]
    else:
        owner = Owner40(bench)
        (one, handle), (two, other) = owner.open(b"f"), owner.open(b"g")
        call = bench.call
        ends = [(handle, close(one, owner.next())), (other, close(two, owner.next()))]
    for operation in (read(two), write(b"x", two), setattr_({Attr.SIZE: bytes(8)}, two)):
        assert call(putfh(handle), operation).status is Status.BAD_STATEID
    assert call(putrootfh(), read(one)).status is Status.ISDIR
    for where, end in ends:
        assert call(putfh(where), end).status is Status.OK


def test_special_stateids_are_those_two_and_no_others(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), close(stateid))
    for seqid, other, status in (
        (0, bytes(12), Status.OK),
        (0xFFFFFFFF, b"\xff" * 12, Status.OK),
        (2, bytes(12), Status.BAD_STATEID),
        (0xFFFFFFFF, bytes(12), Status.BAD_STATEID),  # RFC 8881 8.2.3: the invalid one
        (0, b"\xff" * 12, Status.BAD_STATEID),
        (1, b"\xff" * 12, Status.BAD_STATEID),
        (1, bytes(12), Status.BAD_STATEID),  # the current one, where there is none
    ):
        assert session.call(putfh(handle), read(Stateid(seqid, other))).status is status, (seqid, other)
