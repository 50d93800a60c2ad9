"""LOCK, LOCKT, LOCKU, RELEASE_LOCKOWNER, TEST_STATEID and FREE_STATEID."""

import pytest

from tests.nfs.builder import (
    Owner40,
    close,
    lock,
    lockt,
    locku,
    putfh,
    putrootfh,
)
from womm.nfs.constants import Op
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32, pack_u64

ALL = 0xFFFFFFFFFFFFFFFF


def test_locks_conflict_split_and_join(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    one = session.ok(putfh(handle), lock(2, 0, 100, of=stateid, owner=b"one")).value(Op.LOCK)
    denied = session.call(putfh(handle), lock(1, 50, 10, of=stateid, owner=b"two"))
    assert denied.status is Status.DENIED
    assert denied.results[-1][2] == {
        "offset": 0, "length": 100, "kind": 2, "clientid": session.clientid, "owner": b"one",
    }  # fmt: skip
    assert session.call(putfh(handle), lockt(2, 99, 1, b"two")).status is Status.DENIED
    assert session.call(putfh(handle), lockt(2, 99, 1, b"one")).status is Status.OK
    assert session.call(putfh(handle), lockt(2, 100, ALL, b"two")).status is Status.OK
    one = session.ok(putfh(handle), locku(one, 40, 20)).value(Op.LOCKU)
    two = session.ok(putfh(handle), lock(2, 40, 20, of=stateid, owner=b"two")).value(Op.LOCK)
    assert session.call(putfh(handle), lock(2, 30, 20, of=one)).status is Status.DENIED
    session.ok(putfh(handle), locku(two, 0, ALL))
    one = session.ok(putfh(handle), lock(2, 40, 20, of=one)).value(Op.LOCK)
    found = session.call(putfh(handle), lockt(1, 0, ALL, b"three")).results[-1][2]
    assert (found["offset"], found["length"]) == (0, 100)
    # With the open go its locks.
    session.ok(putfh(handle), close(stateid))
    other, _ = session.open(b"f")
    session.ok(putfh(handle), lock(2, 0, ALL, of=other, owner=b"two"))
    session.ok(putfh(handle), close(other))
    assert bench.server.state.opens.lock_count == 0


@pytest.mark.parametrize(
    ("offset", "length", "status"),
    [
        (0, 0, Status.INVAL),
        (1, ALL, Status.OK),
        (2, ALL - 1, Status.INVAL),
        (ALL, 1, Status.INVAL),
        (ALL - 1, 1, Status.OK),
    ],
)
def test_lock_ranges_at_the_end_of_all_offsets(bench, offset, length, status):
    session = bench.session()
    stateid, handle = session.open(b"f")
    assert session.call(putfh(handle), lock(1, offset, length, of=stateid, owner=b"o")).status is status
    session.ok(putfh(handle), close(stateid))


def test_read_lock_needs_an_open_for_reading(bench):
    session = bench.session()
    stateid, handle = session.open(b"f", access=2)
    assert session.call(putfh(handle), lock(1, 0, 1, of=stateid, owner=b"o")).status is Status.OPENMODE
    session.ok(putfh(handle), lock(2, 0, 1, of=stateid, owner=b"o"), close(stateid))


def test_write_lock_needs_an_open_for_writing(bench):
    session = bench.session()
    stateid, handle = session.open(b"f", access=1)
    assert session.call(putfh(handle), lock(2, 0, 1, of=stateid, owner=b"o")).status is Status.OPENMODE
    held = session.ok(putfh(handle), lock(1, 0, 1, of=stateid, owner=b"o")).value(Op.LOCK)
    # FREE_STATEID only of what holds nothing.
    free = pack_u32(Op.FREE_STATEID) + held.pack()
    assert session.call(putfh(handle), free).status is Status.LOCKS_HELD
    gone = session.ok(putfh(handle), locku(held, 0, 1)).value(Op.LOCKU)
    session.ok(pack_u32(Op.FREE_STATEID) + gone.pack())
    test = pack_u32(Op.TEST_STATEID) + pack_u32(2) + stateid.pack() + gone.pack()
    assert session.ok(test).value(Op.TEST_STATEID) == [Status.OK, Status.BAD_STATEID]
    session.ok(putfh(handle), close(stateid))


def test_locks_of_4_0_count_and_are_retried(bench):
    owner = Owner40(bench)
    stateid, handle = owner.open(b"f")
    first = lock(2, 0, 10, of=stateid, owner=b"l", clientid=owner.clientid, seqid=0, open_seqid=owner.next())
    reply = bench.ok(putfh(handle), first)
    assert bench.ok(putfh(handle), first) == reply
    held = reply.value(Op.LOCK)
    more = lock(2, 10, 10, of=held, seqid=1)
    held = bench.ok(putfh(handle), more).value(Op.LOCK)
    assert bench.ok(putfh(handle), more).value(Op.LOCK) == held
    assert bench.call(putfh(handle), lock(2, 20, 10, of=held, seqid=5)).status is Status.BAD_SEQID
    assert bench.call(putfh(handle), lockt(2, 0, 1, b"m", owner.clientid)).status is Status.DENIED
    release = pack_u32(Op.RELEASE_LOCKOWNER) + pack_u64(owner.clientid) + pack_opaque(b"l")
    assert bench.call(release).status is Status.LOCKS_HELD
    bench.ok(putfh(handle), locku(held, 0, ALL, 2))
    bench.ok(release)
    assert bench.call(putfh(handle), lock(2, 0, 1, of=held, seqid=3)).status is Status.BAD_STATEID
    bench.ok(putfh(handle), close(stateid, owner.next()))


def test_silent_clients_lock_is_taken_by_who_wants_it(bench):
    one, two = bench.session(b"one"), bench.session(b"two")
    stateid, handle = one.open(b"f")
    one.ok(putfh(handle), lock(2, 0, 10, of=stateid, owner=b"o"))
    other, _ = two.open(b"f")
    assert two.call(putfh(handle), lock(2, 0, 10, of=other, owner=b"o")).status is Status.DENIED
    bench.clock.now += 80
    two.ok()
    bench.clock.now += 20
    two.ok(putfh(handle), lock(2, 0, 10, of=other, owner=b"o"))
    assert one.call().status is Status.BADSESSION
    two.ok(putfh(handle), close(other))


@pytest.mark.parametrize("minor", [0, 2])
def test_lock_of_what_is_no_lock_or_no_file_is_refused(bench, minor):
    session = bench.session()
    stateid, handle = session.open(b"f")
    for kind in (0, 5, 0xFFFFFFFF):
        assert session.call(putfh(handle), lock(kind, 0, 1, of=stateid, owner=b"o")).status is Status.BADXDR
        assert session.call(putfh(handle), lockt(kind, 0, 1, b"o")).status is Status.BADXDR
    call = session.call if minor else bench.call
    assert call(putrootfh(), lockt(1, 0, 1, b"o", session.clientid)).status is Status.ISDIR
    session.ok(putfh(handle), close(stateid))


def test_lock_under_a_stateid_of_another_kind_or_file_is_bad(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    other, other_handle = session.open(b"g")
    held = session.ok(putfh(handle), lock(2, 0, 1, of=stateid, owner=b"o")).value(Op.LOCK)
    for operation in (
        lock(2, 5, 1, of=stateid),  # an open's where a lock's is wanted
        lock(2, 5, 1, of=held, owner=b"new"),  # and the other way round
        lock(2, 5, 1, of=other, owner=b"new"),
        locku(stateid, 0, 1),
        locku(other, 0, 1),
    ):
        assert session.call(putfh(handle), operation).status is Status.BAD_STATEID
    assert session.call(putfh(other_handle), locku(held, 0, 1)).status is Status.BAD_STATEID
    # What was refused has left no owner and no lock behind.
    assert bench.server.state.opens.lock_count == 1
    assert list(bench.server.state.clients.by_id[session.clientid].lock_owners) == [b"o"]
    session.ok(putfh(handle), close(stateid), putfh(other_handle), close(other))


def test_lock_that_is_denied_leaves_no_owner_behind(bench):
    one, two = bench.session(b"one"), bench.session(b"two")
    stateid, handle = one.open(b"f")
    other, _ = two.open(b"f")
    one.ok(putfh(handle), lock(2, 0, ALL, of=stateid, owner=b"o"))
    for number in range(10):
        request = lock(1, number, 1, of=other, owner=b"%d" % number)
        assert two.call(putfh(handle), request).status is Status.DENIED
    assert not bench.server.state.clients.by_id[two.clientid].lock_owners
    assert len(bench.server.state.opens.by_other) == 3
    one.ok(putfh(handle), close(stateid))
    two.ok(putfh(handle), close(other))


def test_many_stateids_are_tested_at_once(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    made_up = b"\1" * 16
    test = pack_u32(Op.TEST_STATEID) + pack_u32(1000) + (stateid.pack() + made_up) * 500
    assert session.ok(test).value(Op.TEST_STATEID) == [Status.OK, Status.BAD_STATEID] * 500
    assert session.ok(pack_u32(Op.TEST_STATEID) + pack_u32(0)).value(Op.TEST_STATEID) == []
    for count in (1025, 0xFFFFFFFF):
        assert session.call(pack_u32(Op.TEST_STATEID) + pack_u32(count) + made_up).status is Status.BADXDR
    assert session.call(pack_u32(Op.FREE_STATEID) + stateid.pack()).status is Status.LOCKS_HELD
    assert session.call(pack_u32(Op.FREE_STATEID) + made_up).status is Status.BAD_STATEID
    session.ok(putfh(handle), close(stateid))


def test_lock_owner_that_is_unknown_is_released_already(bench):
    clientid = bench.client40()
    release = pack_u32(Op.RELEASE_LOCKOWNER) + pack_u64(clientid) + pack_opaque(b"never")
    bench.ok(release)
    unknown = pack_u32(Op.RELEASE_LOCKOWNER) + pack_u64(1) + pack_opaque(b"never")
    assert bench.call(unknown).status is Status.STALE_CLIENTID
