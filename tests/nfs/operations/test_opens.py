"""OPEN, OPEN_CONFIRM, OPEN_DOWNGRADE and CLOSE: owners, create modes, share reservations."""

from struct import pack
from typing import Any

import pytest

from tests.nfs.builder import (
    Bench,
    close,
    getfh,
    lock,
    named,
    open_,
    open_confirm,
    open_downgrade,
    putfh,
    putrootfh,
    read,
    write,
)
from womm.nfs import Limits, StateLimits
from womm.nfs.constants import Attr, Op
from womm.nfs.state.records import Stateid
from womm.nfs.status import Status


def test_first_open_of_an_owner_has_to_be_confirmed(bench):
    clientid = bench.client40()
    reply = bench.ok(putrootfh(), open_(b"f", create=0, clientid=clientid, seqid=5), getfh())
    found, handle = reply.value(Op.OPEN), reply.value(Op.GETFH)
    assert found["flags"] & 2
    assert bench.call(putfh(handle), read(found["stateid"])).status is Status.BAD_STATEID
    stateid = bench.ok(putfh(handle), open_confirm(found["stateid"], 6)).value(Op.OPEN_CONFIRM)
    assert stateid == Stateid(2, found["stateid"].other)
    second = bench.ok(putrootfh(), open_(b"g", create=0, clientid=clientid, seqid=7))
    assert not second.value(Op.OPEN)["flags"] & 2


def test_unconfirmed_open_is_forgotten_when_its_owner_opens_anew(bench):
    clientid = bench.client40()
    one = bench.ok(putrootfh(), open_(b"f", create=0, clientid=clientid, seqid=1), getfh())
    bench.ok(putrootfh(), open_(b"g", create=0, clientid=clientid, seqid=50))
    stateid, handle = one.value(Op.OPEN)["stateid"], one.value(Op.GETFH)
    assert bench.call(putfh(handle), open_confirm(stateid, 2)).status is Status.BAD_STATEID
    assert bench.memory.open_files == 1


def test_create_modes(bench):
    session = bench.session()
    one, handle = session.open(b"f", create=1)
    assert session.call(putrootfh(), open_(b"f", create=1)).status is Status.EXIST
    session.ok(putfh(handle), write(b"content", one))
    truncated = session.ok(putrootfh(), open_(b"f", create=0, values={Attr.SIZE: pack(">Q", 0)}))
    assert truncated.value(Op.OPEN)["attrset"] == 1 << 4
    assert session.ok(putfh(handle), read(truncated.value(Op.OPEN)["stateid"])).value(Op.READ) == (True, b"")
    exclusive: dict[str, Any] = {"create": 3, "verifier": b"exclusiv"}
    first = session.ok(putrootfh(), open_(b"x", owner=b"o1", **exclusive), getfh())
    again = session.ok(putrootfh(), open_(b"x", owner=b"o1", **exclusive), getfh())
    assert first.value(Op.GETFH) == again.value(Op.GETFH)
    assert first.value(Op.OPEN)["attrset"] >> 48 & 1
    other = open_(b"x", create=3, verifier=b"another.")
    assert session.call(putrootfh(), other).status is Status.EXIST
    assert session.call(putrootfh(), open_(b"none")).status is Status.NOENT


def test_open_checks_its_arguments(bench):
    session = bench.session()
    assert session.call(putrootfh(), open_(b"f", access=0, create=0)).status is Status.INVAL
    assert session.call(putrootfh(), open_(b"f", deny=4, create=0)).status is Status.INVAL
    assert session.call(putrootfh(), open_(b"f", create=4)).status is Status.BADXDR
    assert session.call(putrootfh(), open_(None, claim=4)).status is Status.ISDIR
    assert session.call(putrootfh(), open_(None, claim=1)).status is Status.NO_GRACE


def test_open_says_why_there_is_no_delegation(bench):
    session = bench.session()
    reply = session.ok(putrootfh(), open_(b"f", access=1 | 0x400, create=0))
    assert (reply.value(Op.OPEN)["delegation"], reply.value(Op.OPEN)["why"]) == (3, 0)
    assert session.ok(putrootfh(), open_(b"f", access=1)).value(Op.OPEN)["delegation"] == 0


@pytest.mark.parametrize("access", [1, 2, 3])
@pytest.mark.parametrize("deny", [0, 1, 2, 3])
def test_share_reservations_exclude_each_other(bench, access, deny):
    session = bench.session()
    stateid, handle = session.open(b"f", access=access, deny=deny, owner=b"one")
    for wanted in (1, 2, 3):
        for refused in (0, 1, 2, 3):
            reply = session.call(
                putfh(handle), open_(None, claim=4, access=wanted, deny=refused, owner=b"two")
            )
            conflict = bool(wanted & deny or refused & access)
            assert reply.status is (Status.SHARE_DENIED if conflict else Status.OK), (wanted, refused)
            if not conflict:
                session.ok(putfh(handle), close(reply.value(Op.OPEN)["stateid"]))
    # What has no stateid is subject to it, too.
    assert session.call(putfh(handle), read()).status is (Status.LOCKED if deny & 1 else Status.OK)
    assert session.call(putfh(handle), write(b"x")).status is (Status.LOCKED if deny & 2 else Status.OK)
    assert stateid


def test_second_open_of_an_owner_widens_the_first(bench):
    session = bench.session()
    first, handle = session.open(b"f", access=1)
    second, _ = session.open(b"f", access=2)
    assert second == Stateid(first.seqid + 1, first.other)
    session.ok(putfh(handle), write(b"x", second))
    assert session.call(putfh(handle), write(b"x", first)).status is Status.OLD_STATEID
    third = session.ok(putfh(handle), open_downgrade(second, 1)).value(Op.OPEN_DOWNGRADE)
    assert session.call(putfh(handle), write(b"x", third)).status is Status.OPENMODE
    assert session.call(putfh(handle), open_downgrade(third, 2)).status is Status.INVAL
    session.ok(putfh(handle), close(third))
    assert bench.memory.open_files == 0


def test_opens_and_locks_are_limited():
    with Bench(limits=Limits(state=StateLimits(opens=3, locks=5))) as bench:
        session = bench.session()
        opened = [session.open(b"f%d" % number) for number in range(3)]
        assert session.call(putrootfh(), open_(b"g", create=0)).status is Status.SERVERFAULT
        stateid, handle = opened[0]
        held = session.ok(putfh(handle), lock(2, 0, 1, of=stateid, owner=b"o")).value(Op.LOCK)
        for number in range(1, 5):
            held = session.ok(putfh(handle), lock(2, 10 * number, 1, of=held)).value(Op.LOCK)
        assert session.call(putfh(handle), lock(2, 1000, 1, of=held)).status is Status.SERVERFAULT
        for stateid, handle in opened:
            session.ok(putfh(handle), close(stateid))
        assert bench.server.state.opens.open_count == bench.server.state.opens.lock_count == 0


def test_open_file_lives_on_without_a_name(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), write(b"alive", stateid))
    session.ok(putrootfh(), named(Op.REMOVE, b"f"))
    assert session.ok(putfh(handle), read(stateid)).value(Op.READ) == (True, b"alive")
    session.ok(putfh(handle), close(stateid))
    assert session.call(putfh(handle), read()).status is Status.STALE


def test_owners_of_4_0_that_made_room_for_others_leave_nothing_behind():
    with Bench(limits=Limits(state=StateLimits(owners=4))) as bench:
        clientid = bench.client40()
        for number in range(20):
            owner: dict[str, Any] = {"owner": b"%d" % number, "clientid": clientid}
            opened = bench.ok(putrootfh(), open_(b"f", create=0, seqid=1, **owner), getfh())
            handle = opened.value(Op.GETFH)
            stateid = bench.ok(putfh(handle), open_confirm(opened.value(Op.OPEN)["stateid"], 2))
            bench.ok(putfh(handle), close(stateid.value(Op.OPEN_CONFIRM), 3))
            assert len(bench.server.state.opens.closed) <= 4
        assert len(bench.server.state.clients.by_id[clientid].open_owners) <= 4
        bench.clock.now += 100
        assert bench.server.state.clients.expire(0) == 1
        assert bench.server.state.opens.closed == {}


@pytest.mark.parametrize(
    ("claim", "rest", "status"),
    [
        (2, bytes(16) + b"\0\0\0\1f\0\0\0", Status.BAD_STATEID),  # with a delegation: there are none
        (3, b"\0\0\0\1f\0\0\0", Status.NOTSUPP),
        (5, bytes(16), Status.BAD_STATEID),
        (6, b"", Status.NOTSUPP),
        (7, b"", Status.BADXDR),
    ],
)
def test_open_with_a_delegation_is_refused(bench, claim, rest, status):
    session = bench.session()
    whole = open_(None, claim=4)
    assert session.call(putrootfh(), whole[:-4] + pack(">I", claim) + rest).status is status


@pytest.mark.parametrize("how", [2, 0xFFFFFFFF])
def test_open_that_is_neither_with_nor_without_creating_is_bad_xdr(bench, how):
    request = open_(b"f")
    at = request.index(pack(">I", 5) + b"owner") + 12
    session = bench.session()
    request = request[:at] + pack(">I", how) + request[at + 4 :]
    assert session.call(putrootfh(), request).status is Status.BADXDR


def test_exclusive_create_of_4_1_sets_only_what_is_no_time(bench):
    session = bench.session()
    for attribute, value, status in (
        (Attr.MODE, pack(">I", 0o600), Status.OK),
        (Attr.SIZE, bytes(8), Status.OK),
        (Attr.TIME_MODIFY_SET, bytes(4), Status.INVAL),
        (Attr.TIME_ACCESS_SET, bytes(4), Status.INVAL),
    ):
        request = open_(b"%d" % attribute, create=3, verifier=b"verifier", values={attribute: value})
        assert session.call(putrootfh(), request).status is status


def test_open_of_a_file_by_its_handle_is_of_that_file(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), write(b"content", stateid), close(stateid))
    session.ok(putrootfh(), named(Op.REMOVE, b"f"))
    assert session.call(putfh(handle), open_(None, claim=4)).status is Status.STALE
    other, _ = session.open(b"f")
    assert session.call(putfh(handle), open_(None, claim=4)).status is Status.STALE
    session.ok(putrootfh(), open_(b"f", access=1), close(other._replace(seqid=0)))


def test_close_of_one_owner_leaves_the_other_ones_open(bench):
    session = bench.session()
    one, handle = session.open(b"f", owner=b"one")
    two, _ = session.open(b"f", owner=b"two")
    session.ok(putfh(handle), close(one))
    assert session.call(putfh(handle), close(one)).status is Status.BAD_STATEID
    session.ok(putfh(handle), write(b"x", two), close(two))
    assert bench.memory.open_files == 0
