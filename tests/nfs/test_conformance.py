"""Rules of the RFCs that clients rarely meet, clause by clause; each test names its section."""

import random
from struct import pack

import pytest

from tests.nfs.builder import (
    CURRENT,
    ZERO,
    Bench,
    Session41,
    close,
    create_session,
    exchange_id,
    fattr,
    getattr_,
    getfh,
    lock,
    lockt,
    mkdir,
    named,
    open_,
    open_confirm,
    plain,
    putfh,
    putrootfh,
    read,
    readdir,
    sequence,
    write,
)
from womm.nfs import rpc
from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.state.records import Stateid
from womm.nfs.state.recovery import Stable
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32, pack_u64

ONE, TWO = Credential(1001, 1001), Credential(1002, 1002)


@pytest.fixture(params=["memory", "local"])
def any_bench(request, tmp_path):
    with Bench(LocalFilesystem(tmp_path) if request.param == "local" else None) as found:
        yield found


# -- bitmaps (RFC 7530 2.1: bitmap4 has any number of words; RFC 8881 5.5) -----------------------------------
def _wide(*bits, words):
    """A bitmap of that many words."""
    mask = sum(1 << bit for bit in bits)
    return pack_u32(words) + b"".join(pack_u32(mask >> 32 * word & 0xFFFFFFFF) for word in range(words))


@pytest.mark.parametrize("words", [1, 2, 3, 8, 9, 40, 1000])
def test_bitmap_of_any_length_is_read_and_unknown_attributes_are_left_out(bench, words):
    # RFC 8881 18.7.3: GETATTR does not return what the server does not support.
    wide = _wide(Attr.SIZE, *range(83, 32 * words), words=words)
    reply = bench.ok(putrootfh(), pack_u32(Op.GETATTR) + wide)
    assert reply.value(Op.GETATTR) == (1 << Attr.SIZE, pack_u64(0))
    bench.ok(putrootfh(), mkdir(b"d"))
    listed = bench.ok(putrootfh(), pack(">IQQII", Op.READDIR, 0, 0, 8192, 8192) + wide).value(Op.READDIR)
    assert [(name, found[0]) for _, name, found in listed["entries"]] == [(b"d", 1 << Attr.SIZE)]


@pytest.mark.parametrize("attribute", [90, 255, 256, 300, 31999])
def test_unknown_attribute_that_is_to_be_set_or_compared_is_not_supported(bench, attribute):
    # RFC 8881 18.30.3, 18.31.3
    wide = _wide(attribute, words=1000) + pack_opaque(pack_u32(1))
    for op in (pack_u32(Op.SETATTR) + ZERO.pack(), pack_u32(Op.VERIFY), pack_u32(Op.NVERIFY)):
        assert bench.call(putrootfh(), op + wide).status is Status.ATTRNOTSUPP
    empty = _wide(words=1000) + pack_opaque(b"")
    bench.ok(putrootfh(), pack_u32(Op.SETATTR) + ZERO.pack() + empty, pack_u32(Op.VERIFY) + empty)


def test_bitmap_that_is_longer_than_its_request_is_bad_xdr(bench):
    for words in (9, 0x3FFFFFFF, 0xFFFFFFFF):
        request = pack_u32(Op.GETATTR) + pack_u32(words) + bytes(32)
        assert bench.call(putrootfh(), request).status is Status.BADXDR


# -- share reservations (RFC 7530 9.9, RFC 8881 9.7) ---------------------------------------------------------
@pytest.mark.parametrize("access", [1, 2, 3])
@pytest.mark.parametrize("deny", [0, 1, 2, 3])
def test_share_reservation_holds_for_the_same_owner_too(bench, access, deny):
    session = bench.session()
    for wanted in (1, 2, 3):
        for refused in (0, 1, 2, 3):
            name = b"%d%d" % (wanted, refused)
            stateid, handle = session.open(name, access=access, deny=deny)
            reply = session.call(putfh(handle), open_(None, claim=4, access=wanted, deny=refused))
            conflict = bool(wanted & deny or refused & access)
            assert reply.status is (Status.SHARE_DENIED if conflict else Status.OK), (wanted, refused)
            # What was refused has left the open as it was.
            session.ok(putfh(handle), close(stateid if conflict else reply.value(Op.OPEN)["stateid"]))


def test_open_that_truncates_counts_as_a_write_for_share_reservations(bench):
    # RFC 8881 18.16.3: the size is set as SETATTR sets it.
    session = bench.session()
    stateid, handle = session.open(b"f", access=2, deny=0)
    session.ok(putfh(handle), write(b"content", stateid), close(stateid))
    held, _ = session.open(b"f", access=1, deny=2, owner=b"one")
    cut = open_(b"f", access=1, create=0, values={Attr.SIZE: pack_u64(0)}, owner=b"two")
    assert session.call(putrootfh(), cut).status is Status.SHARE_DENIED
    assert session.ok(putfh(handle), read(held)).value(Op.READ) == (True, b"content")


# -- READ (RFC 7530 16.23.4, RFC 8881 18.22.3) ---------------------------------------------------------------
def test_read_of_nothing_is_at_the_end_only_there(any_bench):
    session = any_bench.session()
    stateid, handle = session.open(b"f")
    assert session.ok(putfh(handle), read(stateid, 0, 0)).value(Op.READ) == (True, b"")
    session.ok(putfh(handle), write(b"content", stateid))
    ends = [session.ok(putfh(handle), read(stateid, at, 0)).value(Op.READ) for at in (0, 6, 7, 8, 2**40)]
    assert ends == [(False, b""), (False, b""), (True, b""), (True, b""), (True, b"")]
    assert session.ok(putfh(handle), read(stateid, 0, 6)).value(Op.READ) == (False, b"conten")
    assert session.ok(putfh(handle), read(stateid, 0, 7)).value(Op.READ) == (True, b"content")


# -- seqids of 4.0 (RFC 7530 9.1.7, 16.10.5) -----------------------------------------------------------------
def _open40(bench, clientid, name=b"f"):
    """Open and confirm with seqids 1 and 2; return stateid and handle."""
    opened = bench.ok(putrootfh(), open_(name, clientid=clientid, seqid=1, create=0), getfh())
    handle = opened.value(Op.GETFH)
    confirm = open_confirm(opened.value(Op.OPEN)["stateid"], 2)
    return bench.ok(putfh(handle), confirm).value(Op.OPEN_CONFIRM), handle


def test_open_seqid_of_a_lock_is_the_next_one(bench):
    clientid = bench.client40()
    stateid, handle = _open40(bench, clientid)

    def first_lock(open_seqid):
        return lock(2, 0, 1, of=stateid, owner=b"l", clientid=clientid, open_seqid=open_seqid, seqid=7)

    for wrong in (0, 1, 2, 4):
        assert bench.call(putfh(handle), first_lock(wrong)).status is Status.BAD_SEQID
    held = bench.ok(putfh(handle), first_lock(3)).value(Op.LOCK)
    # A retry gets the same answer, and any other request under that number none.
    assert bench.ok(putfh(handle), first_lock(3)).value(Op.LOCK) == held
    assert bench.call(putfh(handle), close(stateid, 3)).status is Status.BAD_SEQID
    assert bench.call(putfh(handle), first_lock(2)).status is Status.BAD_SEQID


def test_lock_seqid_of_an_owner_that_is_known_goes_on(bench):
    clientid = bench.client40()
    stateid, handle = _open40(bench, clientid)

    def first_lock(open_seqid, seqid, offset):
        wanted = {"owner": b"l", "clientid": clientid, "open_seqid": open_seqid, "seqid": seqid}
        return lock(2, offset, 1, of=stateid, **wanted)

    held = bench.ok(putfh(handle), first_lock(3, 7, 0)).value(Op.LOCK)
    assert bench.call(putfh(handle), first_lock(4, 7, 5)).status is Status.BAD_SEQID
    again = bench.ok(putfh(handle), first_lock(4, 8, 5)).value(Op.LOCK)
    assert again == Stateid(held.seqid + 1, held.other)
    more = bench.ok(putfh(handle), lock(2, 9, 1, of=again, seqid=9)).value(Op.LOCK)
    assert more.seqid == held.seqid + 2


# -- who may use a stateid (RFC 7530 16.36.4, RFC 8881 18.32.3) ----------------------------------------------
@pytest.mark.parametrize("minor", [0, 2])
def test_io_by_another_principal_than_the_openers_is_checked_against_the_mode(minor):
    with Bench() as bench:
        bench.ok(putrootfh(), pack_u32(Op.SETATTR) + ZERO.pack() + fattr({Attr.MODE: pack_u32(0o777)}))
        mode = {Attr.MODE: pack_u32(0o600)}
        if minor:
            session = Session41(bench, credential=ONE)
            stateid, handle = session.open(b"f", values=mode)
        else:
            clientid = bench.client40()
            request = open_(b"f", clientid=clientid, seqid=1, create=0, values=mode)
            opened = bench.ok(putrootfh(), request, getfh(), credential=ONE)
            handle = opened.value(Op.GETFH)
            confirm = open_confirm(opened.value(Op.OPEN)["stateid"], 2)
            stateid = bench.ok(putfh(handle), confirm, credential=ONE).value(Op.OPEN_CONFIRM)

        def call(operation, credential):
            if minor:
                session.credential = credential
                return session.call(putfh(handle), operation).status
            return bench.call(putfh(handle), operation, credential=credential).status

        cut = pack_u32(Op.SETATTR) + stateid.pack() + fattr({Attr.SIZE: pack_u64(1)})
        operations = [write(b"xx", stateid), read(stateid), cut]
        assert [call(operation, ONE) for operation in operations] == [Status.OK] * 3
        assert [call(operation, TWO) for operation in operations] == [Status.ACCESS] * 3
        chmod = pack_u32(Op.SETATTR) + ZERO.pack()
        assert call(chmod + fattr({Attr.MODE: pack_u32(0o444)}), ONE) is Status.OK
        # The opener's rights are those of then; another's those of now; and root has all.
        assert [call(operation, ONE) for operation in operations] == [Status.OK] * 3
        assert [call(operation, TWO) for operation in operations] == [Status.ACCESS, Status.OK, Status.ACCESS]
        assert [call(operation, Credential(0, 0)) for operation in operations] == [Status.OK] * 3


# -- EXCHANGE_ID (RFC 8881 18.35.3, RFC 7862 14.1) -----------------------------------------------------------
def test_flags_of_exchange_id_are_those_of_the_minor_version(bench):
    fence = exchange_id(b"verifier", b"c", 0x4)
    assert bench.call(fence, minor=1).status is Status.INVAL
    assert bench.call(fence, minor=2).status is Status.OK
    for bit in range(32):
        status = bench.call(exchange_id(b"verifier", b"new", 1 << bit), minor=1).status
        known = {0: Status.OK, 1: Status.OK, 8: Status.OK, 16: Status.OK, 17: Status.OK, 18: Status.OK}
        assert status is {**known, 30: Status.NOENT}.get(bit, Status.INVAL), bit


# -- sizes of a session (RFC 8881 2.10.6.4, 18.36.3, 18.46.3) ------------------------------------------------
def _channel(request=8192, response=8192, cached=8192, operations=16, slots=8):
    return pack(">7I", 0, request, response, cached, operations, slots, 0)


def _create(bench, fore, back=None, owner=b"client"):
    """Make a client and a session; return the reply of CREATE_SESSION."""
    found = bench.ok(exchange_id(b"verifier", owner), minor=1).value(Op.EXCHANGE_ID)
    whole = create_session(found["clientid"], found["sequence"], fore)
    head, tail = whole[: 20 + len(fore)], whole[20 + 2 * len(fore) :]
    return bench.call(head + (back or fore) + tail, minor=1)


def _small(bench, **sizes):
    """A session with such a fore channel, ready for use."""
    number = sum(sizes.values())
    session = bench.session(b"%d %d" % (number, len(bench.server.state.clients.by_id)))
    made = bench.ok(create_session(session.clientid, 2, _channel(**sizes)), minor=1)
    session.sessionid = made.value(Op.CREATE_SESSION)["sessionid"]
    session.seqids = [0] * 8
    return session


def test_session_may_be_as_small_as_400_bytes(bench):
    assert _create(bench, _channel(400, 400, 400), owner=b"a").status is Status.OK
    for number, sizes in enumerate([(399, 400), (400, 399), (0, 8192), (8192, 0), (20, 8192)]):
        reply = _create(bench, _channel(*sizes), owner=b"%d" % number)
        assert reply.status is Status.TOOSMALL, sizes


def test_sizes_of_the_back_channel_are_checked(bench):
    good = _channel()
    for number, back in enumerate(
        [_channel(10), _channel(response=10), _channel(operations=0), _channel(slots=0)]
    ):
        assert _create(bench, good, back, owner=b"%d" % number).status is Status.TOOSMALL
    reply = _create(bench, good, _channel(1024, 1024, 0, 2, 1), owner=b"ok")
    assert reply.value(Op.CREATE_SESSION)["back"] == [0, 1024, 1024, 0, 2, 1, 0]


def _reply_bytes(bench, session, *operations, cache=False, tag=b"tag"):
    """Run a COMPOUND; return its status and how large its reply is, as a session counts."""
    session.seqids[0] += 1
    first = sequence(session.sessionid, session.seqids[0], 0, cache)
    args = pack_opaque(tag) + pack(">II", 2, len(operations) + 1) + first + b"".join(operations)
    record = rpc.pack_call(1, 100003, 4, 1, credential=Credential(0, 0), args=args)[4:]
    reply = bench.run(bench.server.service.compound(rpc.parse_call(record), len(record)))
    whole = reply if isinstance(reply, bytes) else b"".join(reply)
    return Status(int.from_bytes(whole[28:32], "big")), len(whole) - 4


@pytest.mark.parametrize("cache", [False, True])
def test_reply_is_never_larger_than_the_session_allows(bench, cache):
    # The whole of it counts: RPC header, tag, SEQUENCE's own result.
    too_big = Status.REP_TOO_BIG_TO_CACHE if cache else Status.REP_TOO_BIG
    big = bench.session(b"big")
    stateid, handle = big.open(b"f")
    big.ok(putfh(handle), write(b"x" * 9000, stateid))
    rng = random.Random(1)
    asked = [
        lambda: getattr_(*rng.sample(sorted(set(Attr) - {48, 54, 81}), rng.randrange(1, 30))),
        lambda: read(ZERO, 0, rng.randrange(0, 4000)),
        getfh,
        lambda: readdir(Attr.TYPE, Attr.FILEID, limit=rng.randrange(200, 4000)),
        lambda: putfh(handle),
        putrootfh,
        lambda: named(Op.SECINFO, b"f") + putrootfh(),
    ]
    seen = set()
    for response in range(400, 1400, 25):
        session = _small(bench, response=response if not cache else 8192, cached=response)
        for _ in range(12):
            operations = [rng.choice(asked)() for _ in range(rng.randrange(1, 9))]
            status, size = _reply_bytes(
                bench, session, *operations, cache=cache, tag=b"t" * rng.randrange(40)
            )
            assert size <= response
            seen.add(status)
    assert {too_big, Status.OK} <= seen


def test_sequence_counts_against_the_cached_size(bench):
    session = _small(bench, cached=10)
    assert session.call(cache=True).status is Status.REP_TOO_BIG_TO_CACHE
    # An error of SEQUENCE leaves the slot as it was.
    session.seqids[0] -= 1
    session.ok()
    session.ok(putrootfh(), getfh())
    # Exactly SEQUENCE alone fits, and nothing after it.
    _, alone = _reply_bytes(bench, session, tag=b"")
    session = _small(bench, cached=alone)
    assert _reply_bytes(bench, session, cache=True, tag=b"") == (Status.OK, alone)
    assert _reply_bytes(bench, session, putrootfh(), cache=True, tag=b"")[0] is Status.REP_TOO_BIG_TO_CACHE
    session.seqids[0] -= 1
    assert _reply_bytes(bench, session, cache=True, tag=b"t")[0] is Status.REP_TOO_BIG_TO_CACHE


def test_change_whose_result_might_not_fit_is_not_made(bench):
    # RFC 8881 2.10.6.4: the reply is looked at before what cannot be undone.
    session = _small(bench, response=400)
    bench.ok(putrootfh(), mkdir(b"d"))
    fill = getattr_(Attr.TYPE, Attr.CHANGE, Attr.SIZE, Attr.FSID, Attr.FILEID, Attr.MODE)
    reply = session.call(putrootfh(), *[fill] * 4, named(Op.REMOVE, b"d"))
    assert reply.status is Status.REP_TOO_BIG
    assert reply.results[-1][0] == Op.REMOVE
    bench.ok(putrootfh(), named(Op.LOOKUP, b"d"))
    session.ok(putrootfh(), named(Op.REMOVE, b"d"))


# -- leases that are over (RFC 7530 9.6.3, 16.28.4) ----------------------------------------------------------
def _renew(clientid):
    return pack_u32(Op.RENEW) + pack_u64(clientid)


@pytest.mark.parametrize("how", ["open", "lock"])
def test_client_of_4_0_that_lost_its_state_to_another_hears_that_it_is_expired(bench, how):
    first = bench.client40(b"first")
    stateid, handle = _open40(bench, first)
    held = lock(2, 0, 10, of=stateid, owner=b"l", clientid=first, open_seqid=3)
    bench.ok(putfh(handle), held)
    second = bench.client40(b"second")
    bench.clock.now += 100
    bench.server.state.clients.renew(bench.server.state.clients.by_id[second])
    if how == "open":
        request = open_(b"f", clientid=second, seqid=1, deny=3)
        opened = bench.ok(putrootfh(), request).value(Op.OPEN)["stateid"]
        assert opened
    else:
        bench.ok(putfh(handle), lockt(2, 0, 10, b"m", second))
    again = open_(b"g", clientid=first, seqid=4, create=0)
    for operations in (
        [_renew(first)],
        [putfh(handle), write(b"x", stateid)],
        [putfh(handle), close(stateid, 4)],
        [putrootfh(), again],
        [putfh(handle), lockt(2, 0, 10, b"l", first)],
    ):
        assert bench.call(*operations).status is Status.EXPIRED
    assert bench.call(_renew(first + 1000)).status is Status.STALE_CLIENTID
    # It begins again under a new id.
    assert bench.client40(b"first", b"another.") != first


# -- READDIR (RFC 7530 16.24.4, RFC 8881 18.23.3) ------------------------------------------------------------
@pytest.mark.parametrize("limit", range(0, 64, 4))
def test_readdir_without_room_for_one_entry_is_too_small(any_bench, limit):
    any_bench.ok(putrootfh(), mkdir(b"empty"), putrootfh(), mkdir(b"name"))
    any_bench.ok(putrootfh(), named(Op.LOOKUP, b"name"), mkdir(b"entry"))
    # Verifier, entry (one more follows, cookie, name, no attributes), no more, end.
    whole = 8 + (4 + 8 + 4 + 8 + 8) + 4 + 4
    reply = any_bench.call(putrootfh(), named(Op.LOOKUP, b"name"), readdir(limit=limit))
    assert reply.status is (Status.OK if limit >= whole else Status.TOOSMALL)
    reply = any_bench.call(putrootfh(), named(Op.LOOKUP, b"empty"), readdir(limit=limit))
    assert reply.status is (Status.OK if limit >= 16 else Status.TOOSMALL)


# -- stateids that a client has made up (RFC 7530 9.1.4.3) ---------------------------------------------------
def test_first_boot_has_a_number_that_no_client_can_guess():
    boots = {Stable(None, random.Random(seed).randbytes).boot for seed in range(500)}
    assert len(boots) == 500
    assert min(boots) > 2 and max(boots) < 0xFFFFFFFF
    assert Stable(None, bytes).boot and Stable(None, lambda count: b"\xff" * count).boot


def test_stateid_that_a_client_has_made_up_is_of_no_boot(bench):
    clientid = bench.client40()
    _, handle = _open40(bench, clientid)
    for boot in (0, 1, 2, 3, 0xFFFFFFFF):
        for number in (1, 2, clientid & 0xFFFFFFFF):
            made_up = Stateid(1, pack(">III", boot, number, 1))
            assert bench.call(putfh(handle), read(made_up)).status is Status.STALE_STATEID


def test_current_stateid_needs_one(bench):
    # RFC 8881 16.2.3.1.2
    session = bench.session()
    _, handle = session.open(b"f")
    assert session.call(putfh(handle), read(CURRENT)).status is Status.BAD_STATEID
    assert (
        session.call(putrootfh(), plain(Op.SAVEFH), plain(Op.RESTOREFH), read(CURRENT)).status
        is Status.BAD_STATEID
    )
