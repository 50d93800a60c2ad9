"""Clients and sessions as COMPOUNDs: SETCLIENTID to RENEW for 4.0, EXCHANGE_ID to RECLAIM_COMPLETE."""

from struct import pack

import pytest

from tests.nfs.builder import (
    Owner40,
    close,
    create_session,
    exchange_id,
    putfh,
    putrootfh,
    read,
    sessionid_op,
    setclientid,
    setclientid_confirm,
)
from womm.nfs.constants import Op
from womm.nfs.rpc import Credential
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32, pack_u64


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
    owner = Owner40(bench)
    stateid, handle = owner.open(b"f")
    assert bench.client40() == owner.clientid
    bench.ok(putfh(handle), read(stateid))
    assert bench.client40(verifier=b"restartd") != owner.clientid
    assert bench.call(putfh(handle), read(stateid)).status is Status.EXPIRED
    assert bench.memory.open_files == 0


def test_other_principal_is_told_that_the_name_is_in_use(bench):
    owner = Owner40(bench)
    stateid, handle = owner.open(b"f")
    reply = bench.call(setclientid(b"verifier", b"client"), credential=Credential(9, 9))
    assert reply.results == [(Op.SETCLIENTID, Status.CLID_INUSE, (b"", b""))]
    bench.ok(putfh(handle), close(stateid, owner.next()))


def test_renewal_keeps_an_idle_client_and_silence_ends_it(bench):
    owner = Owner40(bench)
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


# -- 4.1 -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("protection", "rest", "status"),
    [
        (0, pack_u32(0), Status.OK),
        (1, pack_u32(0) + pack_u32(0), Status.INVAL),
        (2, b"", Status.ENCR_ALG_UNSUPP),
        (3, pack_u32(0), Status.BADXDR),
        (0, pack_u32(2), Status.BADXDR),  # at most one nfs_impl_id4
        (0, pack_u32(1) + pack_opaque(b"domain") + pack_opaque(b"name") + pack(">qI", 0, 0), Status.OK),
    ],
)
def test_exchange_id_knows_no_protection_of_state(bench, protection, rest, status):
    asked = exchange_id(b"verifier", b"c")[:-8] + pack_u32(protection) + rest
    assert bench.call(asked, minor=1).status is status


@pytest.mark.parametrize(("size", "status"), [(0, Status.INVAL), (1024, Status.OK), (1025, Status.BADXDR)])
def test_name_of_a_client_has_1_to_1024_bytes(bench, size, status):
    assert bench.call(exchange_id(b"verifier", b"x" * size), minor=1).status is status


@pytest.mark.parametrize(
    ("security", "status"),
    [
        (pack_u32(0), Status.OK),
        (pack(">II", 1, 0), Status.OK),
        (pack(">III", 1, 1, 9) + pack_opaque(b"host") + pack(">IIII", 0, 0, 2, 5), Status.BADXDR),
        (pack(">III", 1, 1, 9) + pack_opaque(b"host") + pack(">IIIII", 0, 0, 2, 5, 6), Status.OK),
        (pack(">III", 1, 1, 9) + pack_opaque(b"host") + pack(">III", 0, 0, 17) + bytes(68), Status.BADXDR),
        (pack(">III", 1, 6, 1) + pack_opaque(b"here") + pack_opaque(b"there"), Status.OK),
        (pack(">II", 1, 2), Status.BADXDR),
        (pack_u32(17), Status.BADXDR),
        (pack_u32(0xFFFFFFFF), Status.BADXDR),
    ],
)
def test_security_of_callbacks_is_read_and_forgotten(bench, security, status):
    found = bench.ok(exchange_id(b"verifier", b"c"), minor=1).value(Op.EXCHANGE_ID)
    request = create_session(found["clientid"], found["sequence"])[:-8] + security
    assert bench.call(request, minor=1).status is status


def test_session_with_unknown_flags_is_refused(bench):
    found = bench.ok(exchange_id(b"verifier", b"c"), minor=1).value(Op.EXCHANGE_ID)
    request = create_session(found["clientid"], found["sequence"])
    for flags, status in ((8, Status.INVAL), (0x80000000, Status.INVAL), (7, Status.OK)):
        asked = request[:16] + pack_u32(flags) + request[20:]
        reply = bench.call(asked, minor=1)
        assert reply.status is status
    # Neither persistent nor with a back channel, whatever was asked for.
    assert reply.value(Op.CREATE_SESSION)["flags"] == 0


def test_session_ends_as_the_last_operation_of_its_own_compound_only(bench):
    session = bench.session()
    end = sessionid_op(Op.DESTROY_SESSION, session.sessionid)
    assert session.call(end, putrootfh()).status is Status.NOT_ONLY_OP
    session.ok(putrootfh(), end)
    assert session.call().status is Status.BADSESSION
    assert bench.call(end, minor=1).status is Status.BADSESSION


def test_client_does_not_end_itself_in_its_session(bench):
    session, other = bench.session(b"one"), bench.session(b"other")
    for busy in (session, other):
        end = pack_u32(Op.DESTROY_CLIENTID) + pack_u64(busy.clientid)
        assert session.call(end).status is Status.CLIENTID_BUSY
    other.ok(sessionid_op(Op.DESTROY_SESSION, other.sessionid))
    session.ok(pack_u32(Op.DESTROY_CLIENTID) + pack_u64(other.clientid))
    gone = session.call(pack_u32(Op.DESTROY_CLIENTID) + pack_u64(other.clientid))
    assert gone.status is Status.STALE_CLIENTID


def test_ids_of_clients_are_of_their_minor_version(bench):
    session, clientid = bench.session(b"one"), bench.client40(b"forty")
    assert bench.call(pack_u32(Op.RENEW) + pack_u64(session.clientid)).status is Status.STALE_CLIENTID
    wrong = create_session(clientid, 1)
    assert bench.call(wrong, minor=1).status is Status.STALE_CLIENTID
    destroy = pack_u32(Op.DESTROY_CLIENTID) + pack_u64(clientid)
    assert bench.call(destroy, minor=1).status is Status.STALE_CLIENTID


def test_reclaim_complete_of_one_filesystem_needs_one_and_changes_nothing(bench):
    session = bench.session(reclaim_complete=False)
    one = pack_u32(Op.RECLAIM_COMPLETE) + pack_u32(1)
    assert session.call(one).status is Status.NOFILEHANDLE
    session.ok(putrootfh(), one)
    session.ok(pack_u32(Op.RECLAIM_COMPLETE) + pack_u32(0))
