"""What ties clients, opens and the state file together: grace, conflicts with silent clients, owners."""

import random

import pytest

from tests.nfs.builder import Clock
from womm.nfs.backends.memory import MemoryFile, MemoryFilesystem
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.options import Limits, ServerOptions, StateLimits
from womm.nfs.state import State
from womm.nfs.state.locks import END
from womm.nfs.status import NFSError, Status

KEY = (b"expo", b"file")
PRINCIPAL = (1, 0)


def _state(path=None, clock=None, seed=1, **limits):
    options = ServerOptions(state_file=path, limits=Limits(state=StateLimits(**limits)))
    return State(options, clock=clock or Clock(), random=random.Random(seed).randbytes)


def _client(state, name=b"client"):
    """A confirmed client of 4.0."""
    clients = state.clients
    client = clients.setclientid(b"verifier", name, PRINCIPAL)
    return clients.setclientid_confirm(client.clientid, client.confirm, PRINCIPAL)


def _opened(state, client, deny=0, owner=b"owner"):
    file = MemoryFile(MemoryFilesystem().root(), SHARE_BOTH)
    return state.opened(KEY, state.open_owner(client, owner), file, SHARE_BOTH, deny)


def _status(work, *args):
    with pytest.raises(NFSError) as caught:
        work(*args)
    return caught.value.status


# -- grace -----------------------------------------------------------------------------------------------
def test_first_start_has_no_grace_period(tmp_path):
    state = _state(tmp_path / "state")
    assert not state.in_grace()
    client = _client(state)
    state.check_grace(client, False)
    assert _status(state.check_grace, client, True) is Status.NO_GRACE


def test_only_clients_that_had_opens_reclaim_and_only_until_the_grace_ends(tmp_path):
    clock = Clock()
    first = _state(tmp_path / "state", clock)
    _opened(first, _client(first, b"holder"))
    _client(first, b"idle")
    second = _state(tmp_path / "state", clock, seed=2)
    holder, idle = _client(second, b"holder"), _client(second, b"idle")
    assert second.in_grace()
    assert (second.may_reclaim(holder), second.may_reclaim(idle)) == (True, False)
    second.check_grace(holder, True)
    assert _status(second.check_grace, idle, True) is Status.NO_GRACE
    assert _status(second.check_grace, holder, False) is Status.GRACE
    clock.now += second.lease_s
    assert not second.in_grace() and not second.may_reclaim(holder)
    second.check_grace(idle, False)
    # That it is over is on the disk: holder has reclaimed nothing.
    third = _state(tmp_path / "state", clock, seed=3)
    assert not third.in_grace()


def test_grace_ends_when_all_have_said_that_they_are_done(tmp_path):
    clock = Clock()
    first = _state(tmp_path / "state", clock)
    for name in (b"one", b"two"):
        client = first.clients.exchange_id(b"verifier", name, PRINCIPAL, False)
        _opened(first, client)
    second = _state(tmp_path / "state", clock, seed=2)
    clients = [second.clients.exchange_id(b"verifier", name, PRINCIPAL, False) for name in (b"one", b"two")]
    second.reclaim_complete(clients[0])
    assert second.in_grace() and not second.may_reclaim(clients[0])
    assert _status(second.reclaim_complete, clients[0]) is Status.COMPLETE_ALREADY
    second.reclaim_complete(clients[1])
    assert not second.in_grace()


def test_client_that_went_is_not_waited_for_after_the_next_start(tmp_path):
    state = _state(tmp_path / "state")
    client = _client(state)
    _opened(state, client)
    state.clients.drop(client)
    assert not _state(tmp_path / "state", seed=2).in_grace()
    assert len(state.take_closing()) == 1 and state.take_closing() == []


# -- conflicts -------------------------------------------------------------------------------------------
def test_silent_clients_lose_what_is_in_the_way_and_no_others():
    clock = Clock()
    state = _state(clock=clock)
    silent, live = _client(state, b"silent"), _client(state, b"live")
    _opened(state, silent, deny=2)
    clock.now += 60
    state.clients.renew(live)
    assert state.share_conflict(KEY, 2, 0)
    clock.now += 40
    assert state.share_conflict(KEY, 1, 0) is False
    assert silent.clientid in state.clients.by_id  # nobody wanted what it denies
    assert state.share_conflict(KEY, 2, 0) is False
    assert list(state.clients.by_id) == [live.clientid]
    assert len(state.take_closing()) == 1


def test_lock_of_a_client_with_a_request_under_way_is_not_taken():
    clock = Clock()
    state = _state(clock=clock)
    client, other = _client(state), _client(state, b"other")
    held = _opened(state, client)
    lock = state.opens.lock_state(state.lock_owner(client, b"locker"), held)
    state.opens.lock(lock, 0, END, True)
    clock.now += 1000
    client.under_way = 1
    found = state.lock_conflict(KEY, state.lock_owner(other, b"locker"), 5, 6, False)
    assert found is not None and found.owner is lock.owner
    client.under_way = 0
    assert state.lock_conflict(KEY, state.lock_owner(other, b"locker"), 5, 6, False) is None


# -- owners ----------------------------------------------------------------------------------------------
def test_owner_is_the_same_until_it_makes_room():
    state = _state(owners=2)
    client = _client(state)
    assert state.open_owner(client, b"a") is state.open_owner(client, b"a")
    kept = _opened(state, client, owner=b"a").owner
    state.open_owner(client, b"b")
    state.open_owner(client, b"c")
    assert set(client.open_owners) == {b"a", b"c"} and client.open_owners[b"a"] is kept


@pytest.mark.parametrize(("minor", "status"), [(0, Status.RESOURCE), (1, Status.DELAY)])
def test_owners_that_all_hold_something_are_limited(minor, status):
    state = _state(owners=2)
    client = _client(state)
    client.minor = minor
    _opened(state, client, owner=b"a")
    state.open_owner(client, b"b").busy = True
    assert _status(state.open_owner, client, b"c") is status
    held = client.open_owners[b"a"].opens[KEY]
    for name in (b"x", b"y"):
        state.opens.lock_state(state.lock_owner(client, name), held)
        client.lock_owners[name].busy = True
    assert _status(state.lock_owner, client, b"z") is status
