"""Clients of 4.0 and their leases, as COMPOUNDs: SETCLIENTID, SETCLIENTID_CONFIRM, RENEW."""

from tests.nfs.builder import (
    Owner40,
    close,
    putfh,
    read,
    setclientid,
    setclientid_confirm,
)
from womm.nfs.constants import Op
from womm.nfs.rpc import Credential
from womm.nfs.status import Status
from womm.nfs.xdr import pack_u32, pack_u64


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
