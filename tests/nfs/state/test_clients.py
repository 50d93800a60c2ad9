"""Clients and sessions of 4.1: EXCHANGE_ID's cases, slots and retries, leases, reclaim."""

import asyncio
from struct import pack

import pytest

from tests.nfs.builder import (
    ROOT_USER,
    Bench,
    Session41,
    close,
    create_session,
    exchange_id,
    getattr_,
    getfh,
    mkdir,
    open_,
    putfh,
    putrootfh,
    read,
    sequence,
    sessionid_op,
    write,
)
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.status import Status
from womm.nfs.xdr import pack_u32, pack_u64

CONFIRMED = 0x80000000
UPDATE = 0x40000000
ANOTHER = Credential(55, 55)


def _exchange(bench, verifier=b"verifier", owner=b"client", flags=0, credential=ROOT_USER):
    reply = bench.call(exchange_id(verifier, owner, flags), minor=1, credential=credential)
    return reply.status, reply.results[-1][2]


# -- EXCHANGE_ID (RFC 8881 18.35.4, in its order) --------------------------------------------------------
def test_new_owner_gets_an_unconfirmed_id(bench):
    status, found = _exchange(bench)
    assert status is Status.OK
    assert not found["flags"] & CONFIRMED
    assert found["major_id"] == found["scope"] == bench.server.state.stable.instance


def test_unconfirmed_owner_is_replaced(bench):
    first, second = _exchange(bench)[1], _exchange(bench)[1]
    assert first["clientid"] != second["clientid"]
    reply = bench.call(create_session(first["clientid"], first["sequence"]), minor=1)
    assert reply.status is Status.STALE_CLIENTID


def test_confirmed_owner_gets_its_id_again(bench):
    session = bench.session()
    status, found = _exchange(bench)
    assert (status, found["clientid"]) == (Status.OK, session.clientid)
    assert found["flags"] & CONFIRMED


def test_other_principal_takes_over_only_what_holds_nothing(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    assert _exchange(bench, credential=ANOTHER)[0] is Status.CLID_INUSE
    session.ok(putfh(handle), close(stateid))
    status, found = _exchange(bench, credential=ANOTHER)
    assert status is Status.OK
    assert found["clientid"] != session.clientid


def test_restarted_client_loses_its_state_when_it_confirms(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    status, found = _exchange(bench, verifier=b"restartd")
    assert status is Status.OK
    # Until then the old one lives.
    session.ok(putfh(handle), read(stateid))
    bench.ok(create_session(found["clientid"], found["sequence"]), minor=1)
    assert session.call().status is Status.BADSESSION
    assert bench.memory.open_files == 0


@pytest.mark.parametrize(
    ("verifier", "owner", "credential", "status"),
    [
        (b"verifier", b"client", Credential(0, 0), Status.OK),
        (b"verifier", b"nobody", Credential(0, 0), Status.NOENT),
        (b"another.", b"client", Credential(0, 0), Status.NOT_SAME),
        (b"verifier", b"client", ANOTHER, Status.PERM),
    ],
)
def test_update_of_a_confirmed_owner(bench, verifier, owner, credential, status):
    bench.session()
    assert _exchange(bench, verifier, owner, UPDATE, credential)[0] is status


def test_exchange_id_with_unknown_flags_or_protection(bench):
    assert _exchange(bench, flags=0x80000000)[0] is Status.INVAL
    machine_cred = exchange_id(b"verifier", b"x")[:-8] + pack(">IIII", 1, 0, 0, 0)
    assert bench.call(machine_cred, minor=1).status is Status.INVAL
    assert (
        bench.call(exchange_id(b"verifier", b"x")[:-8] + pack(">I", 2), minor=1).status
        is Status.ENCR_ALG_UNSUPP
    )


# -- CREATE_SESSION --------------------------------------------------------------------------------------
def test_create_session_is_answered_again_from_the_cache(bench):
    found = _exchange(bench)[1]
    request = create_session(found["clientid"], found["sequence"])
    first = bench.ok(request, minor=1).value(Op.CREATE_SESSION)
    assert bench.ok(request, minor=1).value(Op.CREATE_SESSION) == first
    assert len(bench.server.state.clients.sessions) == 1
    later = create_session(found["clientid"], found["sequence"] + 2)
    assert bench.call(later, minor=1).status is Status.SEQ_MISORDERED
    bench.ok(create_session(found["clientid"], found["sequence"] + 1), minor=1)
    assert len(bench.server.state.clients.sessions) == 2


def test_session_gets_no_more_than_the_server_has(bench):
    found = _exchange(bench)[1]
    channel = pack(">7I", 0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    made = bench.ok(create_session(found["clientid"], found["sequence"], channel), minor=1)
    fore = made.value(Op.CREATE_SESSION)["fore"]
    assert fore[1:6] == [(1 << 20) + 4096, (1 << 20) + 4096, 8192, 64, 64]
    tiny = pack(">7I", 0, 100, 100, 100, 1, 1, 0)
    assert (
        bench.call(create_session(found["clientid"], found["sequence"] + 1, tiny), minor=1).status
        is Status.TOOSMALL
    )


def test_sessions_of_a_client_are_limited(bench):
    found = _exchange(bench)[1]
    for number in range(16):
        bench.ok(create_session(found["clientid"], found["sequence"] + number), minor=1)
    reply = bench.call(create_session(found["clientid"], found["sequence"] + 16), minor=1)
    assert reply.status is Status.DELAY


def test_destroying_sessions_and_clients(bench):
    session = bench.session()
    destroy = pack_u32(Op.DESTROY_CLIENTID) + pack_u64(session.clientid)
    assert bench.call(destroy, minor=1).status is Status.CLIENTID_BUSY
    within = sessionid_op(Op.DESTROY_SESSION, session.sessionid)
    assert session.call(within, putrootfh()).status is Status.NOT_ONLY_OP
    session.ok(within)
    assert session.call().status is Status.BADSESSION
    bench.ok(destroy, minor=1)
    assert bench.call(destroy, minor=1).status is Status.STALE_CLIENTID
    assert not bench.server.state.clients.by_id


def test_connection_is_bound_to_a_session(bench):
    session = bench.session()
    bind = sessionid_op(Op.BIND_CONN_TO_SESSION, session.sessionid)
    found = bench.call(bind + pack(">II", 3, 0), minor=1)
    assert found.results[-1][2] == (session.sessionid, 1, False)
    assert bench.call(bind + pack(">II", 2, 0), minor=1).status is Status.INVAL
    unknown = sessionid_op(Op.BIND_CONN_TO_SESSION, bytes(16))
    assert bench.call(unknown + pack(">II", 1, 0), minor=1).status is Status.BADSESSION


# -- slots -----------------------------------------------------------------------------------------------
def _raw(bench, session, seqid, *operations, slot=0, cache=True):
    return bench.call(sequence(session.sessionid, seqid, slot, cache), *operations, minor=session.minor)


def test_retry_is_answered_from_the_cache_without_a_second_effect(bench):
    session = bench.session()
    request = (putrootfh(), mkdir(b"once"), getfh())
    first = _raw(bench, session, 2, *request)
    assert first.status is Status.OK
    assert _raw(bench, session, 2, *request) == first
    assert _raw(bench, session, 3, *request).status is Status.EXIST


def test_retry_gets_the_error_that_the_first_got(bench):
    session = bench.session()
    request = (putrootfh(), mkdir(b""))
    first = _raw(bench, session, 2, *request)
    assert first.status is Status.INVAL
    assert _raw(bench, session, 2, *request) == first


def test_large_reply_that_was_not_to_be_kept_is_retry_uncached(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), write(b"x" * 9000, stateid))
    request = (putfh(handle), read(stateid, 0, 9000))
    assert _raw(bench, session, 4, *request, cache=False).status is Status.OK
    assert _raw(bench, session, 4, *request, cache=False).status is Status.RETRY_UNCACHED_REP
    assert _raw(bench, session, 5, putfh(handle), close(stateid)).status is Status.OK


@pytest.mark.parametrize("seqid", [0, 3, 100, 0xFFFFFFFF])
def test_seqid_out_of_order_is_misordered(bench, seqid):
    session = bench.session()  # RECLAIM_COMPLETE was 1
    assert _raw(bench, session, seqid).status is Status.SEQ_MISORDERED
    assert _raw(bench, session, 0, slot=5).status is Status.SEQ_MISORDERED
    assert _raw(bench, session, 2).status is Status.OK


def test_another_request_under_the_same_number_is_a_false_retry(bench):
    session = bench.session()
    _raw(bench, session, 2, putrootfh(), mkdir(b"a"))
    assert _raw(bench, session, 2, putrootfh(), mkdir(b"b")).status is Status.SEQ_FALSE_RETRY


def test_seqid_goes_round_to_zero(bench):
    session = bench.session()
    bench.server.state.clients.sessions[session.sessionid].slots[0].seqid = 0xFFFFFFFE
    assert _raw(bench, session, 0xFFFFFFFF, putrootfh()).status is Status.OK
    first = _raw(bench, session, 0, putrootfh(), mkdir(b"d"))
    assert first.status is Status.OK
    assert _raw(bench, session, 0, putrootfh(), mkdir(b"d")) == first


class _Slow(MemoryFilesystem):
    """A memory filesystem whose getattr waits until it is let go."""

    inline = False

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.asked = 0

    async def getattr(self, node, want):
        self.asked += 1
        await self.let_go.wait()
        return await super().getattr(node, want)


def test_same_slot_and_seqid_while_the_first_still_runs_is_delay_then_the_answer():
    slow = _Slow()
    with Bench(slow) as bench:
        session = Session41(bench)
        request = (sequence(session.sessionid, 2), putrootfh(), getattr_(Attr.SIZE))

        async def story():
            first = asyncio.ensure_future(bench.compound(*request, minor=2))
            while not slow.asked:
                await asyncio.sleep(0)
            again = await bench.compound(*request, minor=2)
            next_one = await bench.compound(sequence(session.sessionid, 3), minor=2)
            other_slot = await bench.compound(sequence(session.sessionid, 1, 1), minor=2)
            assert not first.done()
            slow.let_go.set()
            return again, next_one, other_slot, await first, await bench.compound(*request, minor=2)

        again, next_one, other_slot, first, kept = bench.run(story())
        assert again.status is Status.DELAY
        assert again.results == [(Op.SEQUENCE, Status.DELAY, None)]
        assert next_one.status is Status.SEQ_MISORDERED
        assert other_slot.status is Status.OK
        assert first.status is Status.OK
        assert kept == first
        assert slow.asked == 1


# -- leases ----------------------------------------------------------------------------------------------
def test_any_sequence_renews_the_lease(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    for _ in range(10):
        bench.clock.now += 80
        assert bench.server.state.clients.expire(0) == 0
        session.ok()
    bench.clock.now += 91
    assert bench.server.state.clients.expire(0) == 1
    assert session.call(putfh(handle), read(stateid)).status is Status.BADSESSION
    bench.run(bench.server.service.close_files())


def test_client_that_holds_state_is_kept_until_another_wants_it(bench):
    one = bench.session(b"one")
    stateid, handle = one.open(b"f", deny=2)
    two = bench.session(b"two")
    assert two.call(putrootfh(), open_(b"f")).status is Status.SHARE_DENIED
    bench.clock.now += 1000
    assert bench.server.state.clients.expire(3600) == 1  # two, which holds nothing
    # It comes back, and nothing was lost.
    one.ok(putfh(handle), write(b"x", stateid))
    two = bench.session(b"two", b"second..")
    bench.clock.now += 1000
    two.ok()
    taken = two.ok(putrootfh(), open_(b"f")).value(Op.OPEN)["stateid"]
    assert one.call(putfh(handle), write(b"x", stateid)).status is Status.BADSESSION
    two.ok(putfh(handle), close(taken))


def test_request_under_way_keeps_its_client():
    slow = _Slow()
    with Bench(slow) as bench:
        session = Session41(bench)
        request = (sequence(session.sessionid, 2), putrootfh(), getattr_(Attr.SIZE))

        async def story():
            first = asyncio.ensure_future(bench.compound(*request, minor=2))
            while not slow.asked:
                await asyncio.sleep(0)
            bench.clock.now += 10_000
            assert bench.server.state.clients.expire(0) == 0
            slow.let_go.set()
            return await first

        assert bench.run(story()).status is Status.OK


def test_clients_are_limited_and_dead_ones_make_room():
    from womm.nfs import Limits, StateLimits

    with Bench(limits=Limits(state=StateLimits(clients=4))) as bench:
        sessions = [bench.session(b"%d" % number) for number in range(4)]
        assert _exchange(bench, owner=b"fifth")[0] is Status.DELAY
        bench.clock.now += 91
        sessions[1].ok()
        assert _exchange(bench, owner=b"fifth")[0] is Status.OK
        sessions[1].ok()
