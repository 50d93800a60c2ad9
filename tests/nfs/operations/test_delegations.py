"""Read delegations: given where files stay as they are, used as opens, returned."""

from typing import Any

import pytest

from tests.nfs.builder import Bench, close, delegreturn, getfh, open_, putfh, putrootfh, read, write
from womm.nfs import Export, StateLimits
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Op
from womm.nfs.options import Limits
from womm.nfs.state.records import Stateid
from womm.nfs.status import Status
from womm.nfs.xdr import pack_u32

WANT_NONE = 0x400
REVOKED = 0x40


@pytest.fixture
def constant():
    """A server of constant files, `f` among them."""
    memory = MemoryFilesystem()
    limits = Limits(state=StateLimits(opens=8))
    with Bench(exports=[Export("/", memory, constant=True)], limits=limits) as bench:
        bench.session(owner=b"maker").open(b"f")
        yield bench
    assert memory.open_files == 0


def opened(session, *operations, **options):
    reply = session.ok(putrootfh(), open_(b"f", access=1, **options), getfh(), *operations)
    return reply.value(Op.OPEN), reply.value(Op.GETFH)


def test_a_delegation_reads_outlives_its_open_and_is_returned(constant):
    session = constant.session()
    found, handle = opened(session)
    assert (found["delegation"], found["recall"]) == (1, False)
    session.ok(putfh(handle), close(found["stateid"]))
    session.ok(putfh(handle), read(found["delegated"]))
    session.ok(putfh(handle), delegreturn(found["delegated"]))
    assert session.call(putfh(handle), read(found["delegated"])).status is Status.BAD_STATEID
    assert session.call(putfh(handle), delegreturn(found["delegated"])).status is Status.BAD_STATEID


def test_a_client_has_one_delegation_of_a_file_and_goes_with_its_client(constant):
    one, other = constant.session(owner=b"one"), constant.session(owner=b"other")
    first, handle = opened(one)
    assert opened(one)[0]["delegation"] == 0
    second, _ = opened(other)
    assert second["delegation"] == 1 and second["delegated"].other != first["delegated"].other
    assert one.call(putfh(handle), delegreturn(second["delegated"])).status is Status.BAD_STATEID
    count = constant.server.state.opens.open_count
    constant.session(owner=b"one", verifier=b"rebooted")
    assert constant.server.state.opens.open_count == count - 2


def test_a_client_that_returns_it_opens_by_it_first(constant):
    session = constant.session()
    found, handle = opened(session)
    session.ok(putfh(handle), close(found["stateid"]))
    by: dict[str, Any] = {"claim": 5, "access": 1}
    reply = session.ok(putfh(handle), open_(None, delegated=found["delegated"], **by))
    assert reply.value(Op.OPEN)["delegation"] == 0
    wrong = open_(None, delegated=reply.value(Op.OPEN)["stateid"], **by)
    assert session.call(putfh(handle), wrong).status is Status.BAD_STATEID
    assert session.call(putfh(handle), open_(None, delegated=Stateid(1, b"x" * 12), **by)).status is (
        Status.BAD_STATEID
    )
    session.ok(putfh(handle), delegreturn(found["delegated"]))
    session.ok(putfh(handle), close(reply.value(Op.OPEN)["stateid"]))


def test_no_delegation_for_who_writes_or_wants_none_or_speaks_4_0(constant):
    session = constant.session()
    for access in (3, 1 | WANT_NONE):
        reply = session.ok(putrootfh(), open_(b"f", owner=b"%d" % access, access=access))
        assert reply.value(Op.OPEN)["delegation"] in (0, 3)
    clientid = constant.client40(owner=b"old")
    old = constant.ok(putrootfh(), open_(b"f", access=1, clientid=clientid, seqid=1))
    assert old.value(Op.OPEN)["delegation"] == 0


def sequence_flags(session, *operations):
    return session.ok(*operations).value(Op.SEQUENCE)[1][-1]


def test_files_that_are_no_longer_constant_give_none_and_revoke_those_that_are_out(constant):
    session, other = constant.session(), constant.session(owner=b"other")
    found, handle = opened(session)
    constant.server.no_longer_constant(constant._exports[0].filesystem)
    assert opened(other)[0]["delegation"] == 0 and sequence_flags(other) == 0
    delegated = found["delegated"]
    test = pack_u32(Op.TEST_STATEID) + pack_u32(2) + delegated.pack() + found["stateid"].pack()
    free = pack_u32(Op.FREE_STATEID) + delegated.pack()
    assert sequence_flags(session) == REVOKED
    assert session.ok(test).value(Op.TEST_STATEID) == [Status.DELEG_REVOKED, Status.OK]
    for use in (read(delegated), delegreturn(delegated), open_(None, claim=5, access=1, delegated=delegated)):
        assert session.call(putfh(handle), use).status is Status.DELEG_REVOKED
    assert other.call(free).status is Status.BAD_STATEID
    assert sequence_flags(session, free) == REVOKED
    assert sequence_flags(session) == 0
    assert session.call(free).status is Status.BAD_STATEID
    session.ok(putfh(handle), read(found["stateid"]))
    assert opened(session)[0]["delegation"] == 0


def test_who_has_not_freed_a_revoked_delegation_reads_no_new_bytes_and_may_go(constant):
    holder, other = constant.session(owner=b"one"), constant.session(owner=b"other")
    stateid, _ = other.open(b"f")
    found, handle = opened(holder)
    constant.server.no_longer_constant(constant._exports[0].filesystem)
    holder.ok(putfh(handle), read(found["stateid"]))
    other.ok(putfh(handle), write(b"new", stateid))
    assert holder.call(putfh(handle), read(found["stateid"])).status is Status.STALE
    constant.session(owner=b"one", verifier=b"rebooted")
    assert not constant.server.state.opens.revoked


def test_a_file_that_has_changed_gives_its_holder_no_bytes_of_the_new_version(constant):
    holder, other = constant.session(owner=b"one"), constant.session(owner=b"other")
    stateid, _ = other.open(b"f")
    found, handle = opened(holder)
    holder.ok(putfh(handle), read(found["delegated"]))
    other.ok(putfh(handle), write(b"new", stateid))
    for by in (found["delegated"], found["stateid"]):
        assert holder.call(putfh(handle), read(by)).status is Status.STALE
    assert other.ok(putfh(handle), read(stateid)).value(Op.READ)[1] == b"new"


def test_opens_have_room_beside_delegations(constant):
    session = constant.session()
    for number in range(6):
        session.open(b"g%d" % number)
    assert opened(session)[0]["delegation"] == 0
