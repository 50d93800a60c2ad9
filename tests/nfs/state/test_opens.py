"""Opens, share reservations, lock owners and stateids, without a server."""

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.nfs.backends.memory import MemoryFile, MemoryFilesystem
from womm.nfs.constants import MAX_U32, SHARE_BOTH, SHARE_READ, SHARE_WRITE
from womm.nfs.options import StateLimits
from womm.nfs.state.locks import END
from womm.nfs.state.opens import Opens, allows, next_seqid
from womm.nfs.state.records import ANONYMOUS, BYPASS, Client, LockOwner, OpenOwner, Stateid
from womm.nfs.status import NFSError, Status

BOOT = 77
KEY, OTHER_KEY = (b"expo", b"file"), (b"expo", b"other")


def _client(number=1, minor=1):
    return Client(BOOT << 32 | number, minor, b"client %d" % number, b"verifier", (1, 0), 0.0)


def _owner(client, name=b"owner"):
    owner = client.open_owners[name] = OpenOwner(client, name, confirmed=True)
    return owner


def _lock_owner(client, name=b"locker"):
    owner = client.lock_owners[name] = LockOwner(client, name)
    return owner


def _file():
    return MemoryFile(MemoryFilesystem().root(), SHARE_BOTH)


def _opens(*clients, **limits):
    known = {client.clientid for client in clients}
    return Opens(BOOT, StateLimits(**limits), known=known.__contains__)


def _status(work, *args):
    with pytest.raises(NFSError) as caught:
        work(*args)
    return caught.value.status


def _is_empty(opens, *clients):
    assert (opens.by_other, opens.files, opens.open_count, opens.lock_count) == ({}, {}, 0, 0)
    assert not any(client.has_state for client in clients)
    return True


# -- stateids --------------------------------------------------------------------------------------------
def test_stateid_is_found_by_its_client_only_and_tells_its_age():
    client, stranger = _client(), _client(2)
    opens = _opens(client)
    held, _ = opens.open(KEY, _owner(client), _file(), SHARE_READ, 0)
    held.seqid = 5
    assert opens.find(held.stateid, client) is held
    assert opens.find(Stateid(0, held.other), client) is held
    assert _status(opens.find, Stateid(4, held.other), client) is Status.OLD_STATEID
    assert _status(opens.find, Stateid(6, held.other), client) is Status.BAD_STATEID
    assert _status(opens.find, held.stateid, stranger) is Status.BAD_STATEID
    # Without a session it is 4.0, which this client is not.
    assert _status(opens.find, held.stateid, None) is Status.BAD_STATEID


def test_age_of_a_stateid_goes_on_over_the_end_of_the_numbers():
    client = _client()
    opens = _opens(client)
    held, _ = opens.open(KEY, _owner(client), _file(), SHARE_READ, 0)
    held.seqid = 1
    assert _status(opens.find, Stateid(MAX_U32, held.other), client) is Status.OLD_STATEID
    held.seqid = MAX_U32
    assert _status(opens.find, Stateid(1, held.other), client) is Status.BAD_STATEID
    assert next_seqid(MAX_U32) == 1 and next_seqid(1) == 2


def test_stateid_of_4_0_with_seqid_0_is_old():
    client = _client(minor=0)
    opens = _opens(client)
    held, _ = opens.open(KEY, _owner(client), _file(), SHARE_READ, 0)
    assert _status(opens.find, Stateid(0, held.other), None) is Status.OLD_STATEID


def test_unknown_stateid_says_why():
    client = _client()
    opens = _opens(client)
    held, _ = opens.open(KEY, _owner(client), _file(), SHARE_READ, 0)
    opens.close(held)
    assert opens.unknown(held.stateid) is Status.BAD_STATEID
    assert opens.unknown(held.stateid, client) is Status.BAD_STATEID
    assert opens.unknown(Stateid(1, b"\0\0\0\1" + held.other[4:])) is Status.STALE_STATEID
    assert opens.unknown(Stateid(1, held.other[:4] + b"\0\0\0\7" + held.other[8:])) is Status.EXPIRED
    assert opens.unknown(ANONYMOUS) is opens.unknown(BYPASS) is Status.BAD_STATEID


def test_number_of_a_stateid_that_is_in_use_is_left_out_when_they_come_round():
    client = _client()
    opens = _opens(client)
    first, _ = opens.open(KEY, _owner(client, b"one"), _file(), SHARE_READ, 0)
    client.next_stateid = int.from_bytes(first.other[8:], "big") - 1
    second, _ = opens.open(KEY, _owner(client, b"two"), _file(), SHARE_READ, 0)
    assert second.other != first.other
    client.next_stateid = MAX_U32
    third, _ = opens.open(KEY, _owner(client, b"three"), _file(), SHARE_READ, 0)
    assert third.other not in (first.other, second.other)


# -- opens -----------------------------------------------------------------------------------------------
def test_second_open_gives_back_the_file_that_is_not_needed():
    client = _client()
    opens, owner = _opens(client), _owner(client)
    one, two, three = _file(), _file(), _file()
    held, unneeded = opens.open(KEY, owner, one, SHARE_READ, 0)
    assert unneeded is None
    assert opens.open(KEY, owner, two, SHARE_READ, 0) == (held, two)
    assert opens.open(KEY, owner, three, SHARE_BOTH, 0) == (held, one)
    assert (held.file, held.access, held.seqid, opens.open_count) == (three, SHARE_BOTH, 3, 1)
    assert opens.close(held) == (b"expo", three)
    assert _is_empty(opens, client)


@pytest.mark.parametrize(
    ("access", "want", "may"),
    [
        (SHARE_READ, SHARE_READ, True),
        (SHARE_READ, SHARE_WRITE, False),
        (SHARE_WRITE, SHARE_WRITE, True),
        (SHARE_WRITE, SHARE_READ, True),  # RFC 7530 16.23.5
        (SHARE_BOTH, SHARE_WRITE, True),
    ],
)
def test_open_for_writing_may_read_and_not_the_other_way_round(access, want, may):
    assert allows(access, want) is may


MODES = st.tuples(st.integers(1, 3), st.integers(0, 3))


def _unions(asked):
    """What any of these OPENs ask for together."""
    distinct = set(asked)
    for some in chain.from_iterable(combinations(distinct, n) for n in range(1, len(distinct) + 1)):
        access = deny = 0
        for one_access, one_deny in some:
            access, deny = access | one_access, deny | one_deny
        yield access, deny


@given(st.lists(MODES, min_size=1, max_size=5), st.lists(MODES, min_size=1, max_size=3))
def test_downgrade_is_to_what_some_of_the_opens_asked_for_together(asked, wanted):
    client = _client()
    opens, owner = _opens(client), _owner(client)
    for access, deny in asked:
        held, _ = opens.open(KEY, owner, _file(), access, deny)
    possible = set(_unions(asked))
    for access, deny in wanted:
        seqid = held.seqid
        if (access, deny) not in possible:
            before = held.access, held.deny
            assert _status(opens.downgrade, held, access, deny) is Status.INVAL
            assert (held.access, held.deny, held.seqid) == (*before, seqid)
            continue
        opens.downgrade(held, access, deny)
        assert (held.access, held.deny, held.seqid) == (access, deny, seqid + 1)
        asked = [(a, d) for a, d in asked if not a & ~access and not d & ~deny]
        possible = set(_unions(asked))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "lock", "unlock", "free", "forget"]),
        st.integers(0, 2),
        st.sampled_from([KEY, OTHER_KEY]),
        st.integers(1, 3),
        st.integers(0, 3),
        st.integers(0, 8),
    ),
    max_size=40,
)


@given(STEPS)
def test_counts_and_conflicts_are_those_of_what_is_held(steps):
    clients = [_client(number, minor=number % 2) for number in range(3)]
    opens = _opens(*clients)
    for what, number, key, access, deny, start in steps:
        client = clients[number]
        owner = client.open_owners.get(b"owner") or _owner(client)
        locker = client.lock_owners.get(b"locker") or _lock_owner(client)
        held, lock = owner.opens.get(key), locker.locks.get(key)
        if what == "open" and opens.share_conflict(key, access, deny) is None:
            opens.open(key, owner, _file(), access, deny)
        elif what == "close" and held is not None:
            opens.close(held)
        elif what == "lock" and held is not None:
            if opens.lock_conflict(key, locker, start, start + 3, bool(deny & 1)) is None:
                opens.lock(opens.lock_state(locker, held), start, start + 3, bool(deny & 1))
        elif what == "unlock" and lock is not None:
            opens.unlock(lock, start, END)
        elif what == "free" and lock is not None:
            opens.free_lock(lock)
        elif what == "forget":
            opens.release_client(client)
        all_opens = [o for c in clients for w in c.open_owners.values() for o in w.opens.values()]
        all_locks = [s for c in clients for w in c.lock_owners.values() for s in w.locks.values()]
        assert {state.other for state in (*all_opens, *all_locks)} == set(opens.by_other)
        assert opens.open_count == len(all_opens) == sum(c.opens for c in clients)
        assert len(all_locks) == sum(c.locks for c in clients)
        assert opens.lock_count == sum(len(state.state.ranges.of(state.owner)) for state in all_locks)
        for some in (KEY, OTHER_KEY):
            there = [o for o in all_opens if o.state.key == some]
            assert sorted(map(id, opens.of_file(some))) == sorted(map(id, there))
            for wanted in (1, 2, 3):
                conflict = any(o.deny & wanted for o in there)
                assert (opens.share_conflict(some, wanted, 0) is not None) == conflict
    for client in clients:
        opens.release_client(client)
    assert _is_empty(opens, *clients)


def test_client_that_is_released_gives_all_its_files_and_the_others_keep_theirs():
    client, other = _client(), _client(2)
    opens = _opens(client, other)
    files = [_file() for _ in range(4)]
    opens.open(KEY, _owner(client, b"one"), files[0], SHARE_READ, 0)
    opens.open(OTHER_KEY, client.open_owners[b"one"], files[1], SHARE_READ, 0)
    opens.open(KEY, _owner(client, b"two"), files[2], SHARE_READ, 0)
    kept, _ = opens.open(KEY, _owner(other), files[3], SHARE_READ, 0)
    assert [file for _, file in opens.release_client(client)] == files[:3]
    assert list(opens.of_file(KEY)) == [kept] and not client.has_state
    assert opens.close(kept)[1] is files[3] and _is_empty(opens, client, other)


# -- locks -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("minor", [0, 1])
def test_lock_owner_that_holds_nothing_is_kept_in_4_0_only_for_retries(minor):
    client = _client(minor=minor)
    opens = _opens(client)
    held, _ = opens.open(KEY, _owner(client), _file(), SHARE_BOTH, 0)
    state = opens.lock_state(_lock_owner(client), held)
    opens.lock(state, 0, END, True)
    assert opens.lock_state(client.lock_owners[b"locker"], held) is state
    opens.free_lock(state)
    assert (b"locker" in client.lock_owners) == (minor == 0)
    assert opens.lock_conflict(KEY, None, 0, END, True) is None


@pytest.mark.parametrize(("minor", "status"), [(0, Status.RESOURCE), (1, Status.SERVERFAULT)])
def test_locks_are_limited_and_unlocking_makes_room(minor, status):
    client = _client(minor=minor)
    opens = _opens(client, locks=2)
    held, _ = opens.open(KEY, _owner(client), _file(), SHARE_BOTH, 0)
    state = opens.lock_state(_lock_owner(client), held)
    opens.lock(state, 0, 1, True)
    opens.lock(state, 10, 11, True)
    seqid = state.seqid
    assert _status(opens.lock, state, 20, 21, True) is status
    assert (state.seqid, opens.lock_count) == (seqid, 2)
    opens.unlock(state, 0, 5)
    opens.lock(state, 20, 21, True)


def test_room_for_opens_ends_at_the_limit():
    client = _client()
    opens, owner = _opens(client, opens=1), _owner(client)
    assert opens.room()
    held, _ = opens.open(KEY, owner, _file(), SHARE_READ, 0)
    assert not opens.room()
    opens.close(held)
    assert opens.room()
