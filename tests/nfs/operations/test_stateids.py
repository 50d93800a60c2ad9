"""Stateids in arguments, and the sequence of an owner's requests in 4.0."""

from typing import Any

from tests.nfs.builder import (
    Owner40,
    close,
    getfh,
    named,
    open_,
    putfh,
    putrootfh,
    read,
)
from womm.nfs.constants import Op
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
