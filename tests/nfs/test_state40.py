"""Clients, owners and stateids of 4.0; share reservations and locks of all versions."""

from struct import pack
from typing import Any

import pytest

from tests.nfs.builder import (
    Bench,
    close,
    getfh,
    lock,
    lockt,
    locku,
    named,
    open_,
    open_confirm,
    open_downgrade,
    putfh,
    putrootfh,
    read,
    setclientid,
    setclientid_confirm,
    write,
)
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.state.records import Stateid
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32, pack_u64

ALL = 0xFFFFFFFFFFFFFFFF


@pytest.fixture
def bench():
    with Bench() as found:
        yield found


class Owner:
    """An open owner of 4.0: counts its seqid."""

    def __init__(self, bench, owner=b"owner", client=b"client"):
        self.bench, self.owner = bench, owner
        self.clientid = bench.client40(client)
        self.seqid = 0

    def next(self):
        self.seqid += 1
        return self.seqid

    def open(self, name, **options):
        """Open, and confirm if that is asked for; return stateid and handle."""
        args = {"create": 0, "owner": self.owner, "clientid": self.clientid, **options}
        reply = self.bench.ok(putrootfh(), open_(name, seqid=self.next(), **args), getfh())
        found, handle = reply.value(Op.OPEN), reply.value(Op.GETFH)
        stateid = found["stateid"]
        if found["flags"] & 2:
            stateid = self.bench.ok(putfh(handle), open_confirm(stateid, self.next())).value(Op.OPEN_CONFIRM)
        return stateid, handle


# -- SETCLIENTID -----------------------------------------------------------------------------------------
def test_client_has_to_confirm(bench):
    clientid, confirm = bench.ok(setclientid(b"verifier", b"c")).value(Op.SETCLIENTID)
    assert bench.call(pack_u32(Op.RENEW) + pack_u64(clientid)).status is Status.STALE_CLIENTID
    assert bench.call(setclientid_confirm(clientid, b"otherone")).status is Status.STALE_CLIENTID
    stranger = Credential(9, 9)
    assert bench.call(setclientid_confirm(clientid, confirm), credential=stranger).status is Status.CLID_INUSE
    bench.ok(setclientid_confirm(clientid, confirm))
    bench.ok(setclientid_confirm(clientid, confirm))  # a retry
    bench.ok(pack_u32(Op.RENEW) + pack_u64(clientid))
    assert bench.call(pack_u32(Op.RENEW) + pack_u64(1)).status is Status.STALE_CLIENTID


def test_same_verifier_keeps_state_and_another_one_drops_it(bench):
    owner = Owner(bench)
    stateid, handle = owner.open(b"f")
    assert bench.client40() == owner.clientid
    bench.ok(putfh(handle), read(stateid))
    assert bench.client40(verifier=b"restartd") != owner.clientid
    assert bench.call(putfh(handle), read(stateid)).status is Status.EXPIRED
    assert bench.memory.open_files == 0


def test_other_principal_is_told_that_the_name_is_in_use(bench):
    owner = Owner(bench)
    stateid, handle = owner.open(b"f")
    reply = bench.call(setclientid(b"verifier", b"client"), credential=Credential(9, 9))
    assert reply.results == [(Op.SETCLIENTID, Status.CLID_INUSE, (b"", b""))]
    bench.ok(putfh(handle), close(stateid, owner.next()))


def test_stateid_of_an_earlier_boot_is_stale(bench):
    owner = Owner(bench)
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


# -- the seqid of owners ---------------------------------------------------------------------------------
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


def test_retried_open_is_answered_from_the_cache(bench):
    owner = Owner(bench)
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
    owner = Owner(bench)
    owner.open(b"f")
    args = {"create": 1, "owner": owner.owner, "clientid": owner.clientid, "seqid": owner.next()}
    assert bench.call(putrootfh(), open_(b"f", **args)).status is Status.EXIST
    bench.ok(putrootfh(), named(Op.REMOVE, b"f"))
    assert bench.call(putrootfh(), open_(b"f", **args)).status is Status.EXIST


def test_retried_close_is_answered_though_the_open_is_gone(bench):
    owner = Owner(bench)
    stateid, handle = owner.open(b"f")
    seqid = owner.next()
    first = bench.ok(putfh(handle), close(stateid, seqid))
    assert bench.ok(putfh(handle), close(stateid, seqid)) == first
    owner.open(b"g")
    assert bench.call(putfh(handle), close(stateid, seqid)).status is Status.BAD_STATEID


def test_unconfirmed_open_is_forgotten_when_its_owner_opens_anew(bench):
    clientid = bench.client40()
    one = bench.ok(putrootfh(), open_(b"f", create=0, clientid=clientid, seqid=1), getfh())
    bench.ok(putrootfh(), open_(b"g", create=0, clientid=clientid, seqid=50))
    stateid, handle = one.value(Op.OPEN)["stateid"], one.value(Op.GETFH)
    assert bench.call(putfh(handle), open_confirm(stateid, 2)).status is Status.BAD_STATEID
    assert bench.memory.open_files == 1


def test_renewal_keeps_an_idle_client_and_silence_ends_it(bench):
    owner = Owner(bench)
    _stateid, _handle = owner.open(b"f")
    for _ in range(5):
        bench.clock.now += 80
        bench.ok(pack_u32(Op.RENEW) + pack_u64(owner.clientid))
        assert bench.server.state.clients.expire(0) == 0
    bench.clock.now += 91
    assert bench.server.state.clients.expire(0) == 1
    assert bench.call(pack_u32(Op.RENEW) + pack_u64(owner.clientid)).status is Status.EXPIRED
    assert bench.call(pack_u32(Op.RENEW) + pack_u64(owner.clientid + 1)).status is Status.STALE_CLIENTID
    bench.run(bench.server.service.close_files())


# -- creating --------------------------------------------------------------------------------------------
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


# -- share reservations ----------------------------------------------------------------------------------
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


# -- locks -----------------------------------------------------------------------------------------------
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
    owner = Owner(bench)
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


def test_opens_and_locks_are_limited():
    from womm.nfs import Limits, StateLimits

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
