"""One session over any number of connections: two real ends, wired together without I/O."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from womm.link.frames import BadFrame, FrameDecoder, FrameType, encode, encode_ack
from womm.link.session import ACK_EVERY, HELLO_SIZE, MAGIC, NOISE_LIMIT, Refused, Session

ID = bytes(range(1, 17))
OTHER_ID = bytes(range(2, 18))


def units(kind: int, job: int, payload: bytes) -> list[bytes]:
    """What arrives as a whole: frames, and single bytes of output."""
    if kind in (FrameType.OUT, FrameType.ERR):
        return [encode(kind, job, payload[at : at + 1]) for at in range(len(payload))]
    return [encode(kind, job, payload)]


class End:
    """A session, what it has sent and got, and bytes on their way to it."""

    def __init__(self, session_id: bytes = ID, *, connector: bool) -> None:
        self.session = Session(session_id, connector=connector)
        self.sent: list[bytes] = []
        self.got: list[bytes] = []
        self.size = 0
        self.wire = bytearray()

    @property
    def kept(self) -> int:
        """Bytes that it keeps since the other end has not acknowledged them."""
        return int(repr(self.session).rpartition("+")[2].removesuffix(" out>"))

    def send(self, frame: bytes) -> None:
        ((kind, job, payload),) = FrameDecoder().feed(frame)
        self.sent += units(kind, job, bytes(payload))
        self.size += len(frame)
        self.session.send(frame)

    def take(self, size: int) -> int:
        """Receive up to so many of the bytes on their way; return how many."""
        data = bytes(self.wire[:size])
        del self.wire[:size]
        if data:
            for kind, job, payload in self.session.receive_data(data):
                self.got += units(kind, job, bytes(payload))
        return len(data)


class ConnectionPair:
    """A connector and an acceptor, and the connection between them while there is one."""

    def __init__(self, connector_id: bytes = ID, acceptor_id: bytes = ID) -> None:
        self.connector = End(connector_id, connector=True)
        self.acceptor = End(acceptor_id, connector=False)
        self.ends = (self.connector, self.acceptor)
        self.up = False

    def connect(self) -> None:
        assert not self.up
        self.up = True
        for end in self.ends:
            end.session.connection_made()

    def cut(self) -> None:
        """Bytes that are on their way are lost."""
        self.up = False
        for end in self.ends:
            end.session.connection_lost()
            end.wire.clear()

    def write(self) -> None:
        self.acceptor.wire += self.connector.session.data_to_send()
        self.connector.wire += self.acceptor.session.data_to_send()

    def pump(self, to_connector: int = 1 << 30, to_acceptor: int = 1 << 30, step: int = 1 << 30) -> None:
        """Move bytes until there are none, or so many have arrived in one of the directions."""
        self.write()
        while True:
            moved = self.connector.take(min(step, to_connector))
            to_connector -= moved
            more = self.acceptor.take(min(step, to_acceptor))
            to_acceptor -= more
            self.write()
            if not moved and not more:
                return

    def check_all_arrived(self) -> None:
        assert self.acceptor.got == self.connector.sent
        assert self.connector.got == self.acceptor.sent


def talk(pair: ConnectionPair, count: int = 4) -> None:
    for number in range(count):
        pair.connector.send(encode(FrameType.RUN, number, b"r" * (number * 7 % 23)))
        pair.acceptor.send(encode(FrameType.OUT, number, b"o" * (number * 11 % 29)))
    pair.connector.send(encode(FrameType.PING))


@pytest.mark.parametrize("step", [1, 2, 9, 33, 34, 35, 1 << 30])
def test_session_in_pieces_of_any_size_carries_all(step):
    pair = ConnectionPair()
    talk(pair)
    pair.connect()
    pair.pump(step=step)
    pair.check_all_arrived()
    assert all(end.session.connected for end in pair.ends)
    talk(pair)
    pair.pump(step=step)
    pair.check_all_arrived()


LENGTHS = ConnectionPair()
talk(LENGTHS)
LONGEST = HELLO_SIZE + max(end.size for end in LENGTHS.ends) + 1


@pytest.mark.parametrize("direction", ["to_connector", "to_acceptor"])
def test_session_cut_at_every_byte_carries_all_once(direction):
    for size in range(LONGEST):
        pair = ConnectionPair()
        talk(pair)
        pair.connect()
        pair.pump(**{direction: size})
        pair.cut()
        pair.connect()
        pair.pump()
        pair.check_all_arrived()


def test_session_cut_at_every_pair_of_bytes_carries_all_once():
    """The second cut in the other direction, where the first one left off."""
    for first in range(0, LONGEST, 3):
        for second in range(0, LONGEST, 3):
            pair = ConnectionPair()
            talk(pair)
            pair.connect()
            pair.pump(to_connector=first)
            pair.cut()
            pair.connect()
            pair.pump(to_acceptor=second)
            pair.cut()
            pair.connect()
            pair.pump()
            pair.check_all_arrived()


def test_session_sent_during_a_cut_arrives_after_it():
    pair = ConnectionPair()
    pair.connect()
    pair.pump()
    pair.cut()
    talk(pair)
    assert all(end.session.data_to_send() == b"" for end in pair.ends)
    pair.connect()
    pair.pump()
    pair.check_all_arrived()


@pytest.mark.parametrize(
    "noise",
    [b"Welcome!\r\n", MAGIC[:-1], b"\0WOMM" * 100, b"\0" * 70, b"x" * (NOISE_LIMIT - 100)],
    ids=["words", "half a magic number", "many beginnings", "zeros", "much"],
)
@pytest.mark.parametrize("step", [1, 1 << 30])
def test_session_noise_before_the_magic_number_is_skipped(noise, step):
    if step == 1 and len(noise) > 1000:
        noise = noise[:1000]
    for name in ("connector", "acceptor"):
        pair = ConnectionPair()
        talk(pair)
        pair.connect()
        getattr(pair, name).wire += noise
        pair.pump(step=step)
        pair.check_all_arrived()


@pytest.mark.parametrize("connector", [True, False])
def test_session_too_much_noise_is_bad(connector):
    end = Session(ID, connector=connector)
    end.connection_made()
    assert list(end.receive_data(b"x" * NOISE_LIMIT)) == []
    with pytest.raises(BadFrame, match="no hello"):
        list(end.receive_data(b"x"))


def test_session_a_stream_that_changes_line_ends_never_connects():
    pair = ConnectionPair()
    pair.connect()
    pair.acceptor.wire += pair.connector.session.data_to_send().replace(b"\r\n", b"\n")
    pair.pump()
    assert not pair.connector.session.connected
    assert not pair.acceptor.session.connected


def test_session_another_version_is_refused_by_both():
    pair = ConnectionPair()
    pair.connect()
    hello = bytearray(pair.connector.session.data_to_send())
    hello[9] += 1
    with pytest.raises(Refused, match="version 2"):
        list(pair.acceptor.session.receive_data(bytes(hello)))
    answer = pair.acceptor.session.data_to_send()
    assert len(answer) == HELLO_SIZE
    with pytest.raises(Refused):
        list(pair.connector.session.receive_data(answer))
    assert not any(end.session.connected for end in pair.ends)


def test_session_another_id_is_refused_by_both_and_the_acceptor_keeps_its_own():
    pair = ConnectionPair(acceptor_id=OTHER_ID)
    talk(pair)
    pair.connect()
    with pytest.raises(Refused, match="other session"):
        pair.pump()
    pair.write()
    assert OTHER_ID not in pair.connector.wire  # a stranger learns nothing
    with pytest.raises(Refused):
        pair.connector.take(1 << 30)
    right = ConnectionPair(OTHER_ID, OTHER_ID)
    right.acceptor = pair.acceptor
    right.ends = (right.connector, right.acceptor)
    right.acceptor.wire.clear()
    talk(right, 1)
    right.connect()
    right.pump()
    right.check_all_arrived()


@pytest.mark.parametrize("connector", [True, False])
def test_session_a_peer_that_got_more_than_was_sent_is_refused(connector):
    end, peer = Session(ID, connector=connector), Session(ID)
    end.connection_made()
    peer.connection_made()
    hello = peer.data_to_send()[:-8] + (1).to_bytes(8)
    with pytest.raises(Refused):
        list(end.receive_data(hello))


def test_session_a_peer_that_lacks_what_it_acknowledged_is_refused():
    """An agent that was started anew cannot go on with the old session."""
    pair = ConnectionPair()
    talk(pair)
    pair.connect()
    pair.pump()
    for end in pair.ends:
        end.session.acknowledge()
    pair.pump()
    pair.cut()
    fresh = Session(ID, connector=False)
    fresh.connection_made()
    pair.connector.session.connection_made()
    list(fresh.receive_data(pair.connector.session.data_to_send()[: HELLO_SIZE - 8] + bytes(8)))
    with pytest.raises(Refused):
        list(pair.connector.session.receive_data(fresh.data_to_send()))


@pytest.mark.parametrize("session_id", [b"", b"short", bytes(16), bytes(17)])
def test_session_id_must_be_16_bytes_and_not_zero(session_id):
    with pytest.raises(ValueError, match="16 bytes"):
        Session(session_id)


# ---- acknowledgements


def test_ack_releases_what_was_kept():
    pair = ConnectionPair()
    pair.connect()
    pair.pump()
    pair.connector.send(encode(FrameType.STDIN_DATA, 1, bytes(1000)))
    pair.pump()
    assert pair.connector.kept == 1009
    assert pair.acceptor.session.owes_ack
    pair.acceptor.session.acknowledge()
    pair.pump()
    assert pair.connector.kept == 0
    assert not pair.connector.session.owes_ack  # else two idle ends would acknowledge for ever
    pair.connector.send(encode(FrameType.PING))
    pair.pump()
    pair.check_all_arrived()


def test_ack_comes_by_itself_and_bounds_memory_both_ways():
    pair = ConnectionPair()
    pair.connect()
    payload = bytes(60_000)
    for number in range(200):
        pair.connector.session.send(encode(FrameType.STDIN_DATA, number, payload))
        pair.acceptor.session.send(encode(FrameType.STARTED, number, payload))
        pair.pump(step=65536)
        for end in pair.ends:
            assert end.kept < ACK_EVERY + 2 * len(payload)
            end.got.clear()


def test_ack_during_a_cut_is_made_good_by_the_hello():
    """What the peer says to have received is not sent again, and not lost if it lies."""
    pair = ConnectionPair()
    talk(pair)
    pair.connect()
    pair.pump()
    before = pair.connector.kept
    pair.acceptor.session.acknowledge()
    pair.cut()  # the ack was never written
    pair.connect()
    pair.pump()
    assert pair.connector.kept < before
    pair.check_all_arrived()


@given(st.integers(0, 2**64 - 1))
def test_ack_of_bytes_never_sent_is_bad(offset):
    pair = ConnectionPair()
    pair.connect()
    pair.pump()
    pair.connector.send(encode(FrameType.PING))
    pair.pump()
    pair.connector.wire += encode_ack(offset)
    if offset <= len(encode(FrameType.PING)):
        pair.connector.take(1 << 30)
    else:
        with pytest.raises(BadFrame, match="acknowledged byte"):
            pair.connector.take(1 << 30)


def test_ack_with_a_short_payload_is_bad():
    pair = ConnectionPair()
    pair.connect()
    pair.pump()
    pair.connector.wire += encode(FrameType.ACK, 0, b"123")
    with pytest.raises(BadFrame):
        pair.connector.take(1 << 30)


# ---- garbage


@given(st.binary(max_size=300), st.booleans(), st.booleans(), st.integers(1, 100))
def test_receive_garbage_raises_nothing_but_bad_frame_or_refused(garbage, connector, hello_first, step):
    peer, end = Session(ID, connector=not connector), Session(ID, connector=connector)
    end.connection_made()
    peer.connection_made()
    stream = garbage
    if hello_first:
        stream = Session.data_to_send(_greeted(peer, end)) + garbage
    try:
        for at in range(0, len(stream), step):
            for kind, _, _ in end.receive_data(stream[at : at + step]):
                assert kind in set(FrameType)
    except (BadFrame, Refused):
        pass
    end.connection_lost()
    assert not end.connected


def _greeted(peer: Session, end: Session) -> Session:
    """Return `peer` with its hello ready, whichever of the two speaks first."""
    data = end.data_to_send()
    if data:
        list(peer.receive_data(data))
    return peer


@given(st.integers(0, HELLO_SIZE - 1), st.integers(1, 255))
def test_receive_a_damaged_hello_connects_with_nobody(at, flip):
    pair = ConnectionPair()
    pair.connect()
    hello = bytearray(pair.connector.session.data_to_send())
    hello[at] ^= flip
    try:
        assert list(pair.acceptor.session.receive_data(bytes(hello))) == []
    except (BadFrame, Refused):
        pass
    assert not pair.acceptor.session.connected


# ---- any order of events


class AnyOrder(RuleBasedStateMachine):
    """Sends, deliveries, cuts and acknowledgements in any order: a prefix arrives, in the end all."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = ConnectionPair()
        self.number = 0

    def end(self, which: bool) -> End:
        return self.pair.ends[which]

    @rule(which=st.booleans(), size=st.integers(0, 2000))
    def send(self, which: bool, size: int) -> None:
        self.number += 1
        self.end(which).send(encode(FrameType.OUT, self.number, bytes(size)))

    @rule(which=st.booleans())
    def acknowledge(self, which: bool) -> None:
        self.end(which).session.acknowledge()

    @precondition(lambda self: not self.pair.up)
    @rule()
    def connect(self) -> None:
        self.pair.connect()

    @precondition(lambda self: self.pair.up)
    @rule()
    def cut(self) -> None:
        self.pair.cut()

    @precondition(lambda self: self.pair.up)
    @rule()
    def write(self) -> None:
        self.pair.write()

    @precondition(lambda self: self.pair.up)
    @rule(which=st.booleans(), size=st.integers(1, 3000))
    def deliver(self, which: bool, size: int) -> None:
        self.end(which).take(size)

    @invariant()
    def only_what_was_sent(self) -> None:
        connector, acceptor = self.pair.ends
        assert acceptor.got == connector.sent[: len(acceptor.got)]
        assert connector.got == acceptor.sent[: len(connector.got)]

    def teardown(self) -> None:
        if not self.pair.up:
            self.pair.connect()
        self.pair.pump()
        self.pair.check_all_arrived()


TestAnyOrder = AnyOrder.TestCase
