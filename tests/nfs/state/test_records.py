"""Stateids on the wire, and what records show of themselves."""

from womm.nfs.constants import MAX_U32
from womm.nfs.options import StateLimits
from womm.nfs.state.clients import Clients
from womm.nfs.state.records import ANONYMOUS, BYPASS, CURRENT, INVALID, ChannelLimits, Stateid


def test_stateid_is_packed_as_seqid_and_twelve_bytes():
    assert Stateid(1, b"abcdefghijkl").pack() == b"\0\0\0\1abcdefghijkl"
    assert Stateid(MAX_U32, bytes(12)).pack() == b"\xff" * 4 + bytes(12)


def test_special_stateids_are_those_of_the_rfc():
    # RFC 8881 8.2.3
    assert [stateid.pack() for stateid in (ANONYMOUS, BYPASS)] == [bytes(16), b"\xff" * 16]
    assert CURRENT.pack() == b"\0\0\0\1" + bytes(12)
    assert INVALID.pack() == b"\xff" * 4 + bytes(12)


def test_client_has_state_while_it_has_an_open_or_a_lock_and_shows_no_secret():
    clients = Clients(
        7, lease_s=90, limits=StateLimits(), clock=lambda: 0.0, random=bytes, release=lambda client: None
    )
    client = clients.exchange_id(b"verifier", b"secret name", (1, 0), False)
    assert (client.key, client.has_state) == ((1, b"secret name"), False)
    client.locks = 1
    assert client.has_state
    _, session = clients.create_session(client.clientid, 1, (1, 0), ChannelLimits(1, 1, 1, 1, 3))
    assert session is not None
    session.slots[0].busy = True
    assert "1 busy" in repr(session) and "1 locks" in repr(session)
    assert "secret name" not in repr(session)
