"""The SFTP client against garbage: the user's side is trusted, its bytes are checked all the same."""

import asyncio
import random
import stat

import pytest

from womm.fileserver import sftp
from womm.share.lazy import sftp as theirs


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
            body = bytes([sftp.DATA]) + number.to_bytes(4, "big") + sftp.string(data)
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


def test_attributes_are_read_as_the_exporter_packs_them(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    found = path.lstat()
    packed = theirs.pack_attrs(found)
    read, end = sftp.read_attributes(packed, 0)
    assert end == len(packed)
    assert stat.S_ISREG(read.mode)
    assert (read.size, read.ino, read.mtime_ns, read.ctime_ns) == (
        5,
        found.st_ino,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )
