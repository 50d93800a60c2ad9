"""The SFTP client against garbage: the user's side is trusted, its bytes are checked all the same."""

import asyncio
import random

import pytest

from womm.fileserver import sftp
from womm.wire.fields import string
from womm.wire.sftp import Kind


class _Channel:
    """Takes what is sent."""

    def __init__(self):
        self.sent = b""
        self.aborted = False

    def write(self, data):
        self.sent += data

    def abort(self):
        self.aborted = True


def _session():
    lost = []
    session = sftp.Session(lambda: lost.append(1))
    channel = _Channel()
    session.connection_made(channel)  # type: ignore[arg-type]
    return session, channel, lost


def test_garbage_ends_the_session_and_fails_what_waits():
    async def work():
        chance = random.Random(5)
        for _ in range(300):
            session, channel, lost = _session()
            waiter = session.lstat(b"x")
            while not session.dead:
                kind = chance.choice([2, 101, 102, 105, 255, chance.randrange(256)])
                body = bytes([kind]) + chance.randbytes(chance.randrange(40))
                session.data_received(len(body).to_bytes(4, "big") + body, None)
                if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                    break
            else:
                assert lost == [1]
                assert channel.aborted
                with pytest.raises(sftp.LinkLost):
                    await waiter
            session.abort()

    asyncio.run(work())


def test_replies_cut_anywhere_are_the_same_replies():
    async def work():
        session, _, _ = _session()
        waiters = [session.read(b"h", 0, 10) for _ in range(3)]
        stream = b""
        for number, data in enumerate([b"", b"abc", b"x" * 50]):
            body = bytes([Kind.DATA]) + number.to_bytes(4, "big") + string(data)
            stream += len(body).to_bytes(4, "big") + body
        for at in range(len(stream)):
            session.data_received(stream[at : at + 1], None)
        assert [sftp.as_data(await waiter) for waiter in waiters] == [b"", b"abc", b"x" * 50]
        session.abort()

    asyncio.run(work())


def test_request_without_an_answer_ends_the_session():
    async def work():
        session, _channel, _ = _session()
        waiter = session.lstat(b"x")
        session.check()
        assert not session.dead
        session._order[0] = (session._order[0][0], session._order[0][1] - sftp.STUCK_S - 1)
        session._heard_s = session._order[0][1] + 2
        session.check()
        assert not session.dead  # other answers come: the link is slow
        session._heard_s -= 1
        session.check()
        assert session.dead
        with pytest.raises(sftp.LinkLost):
            await waiter

    asyncio.run(work())
