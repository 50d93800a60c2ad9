"""The SFTP client against garbage: the user's side is trusted, its bytes are checked all the same."""

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


def _requests():
    lost = []
    requests = sftp.RequestChannel(lambda: lost.append(1))
    channel = _Channel()
    requests.connection_made(channel)  # type: ignore[arg-type]
    return requests, channel, lost


async def test_garbage_ends_the_requests_and_fails_what_waits():
    chance = random.Random(5)
    for _ in range(300):
        requests, channel, lost = _requests()
        waiter = sftp.Session(requests).lstat(b"x")
        while not requests.dead:
            kind = chance.choice([2, 101, 102, 105, 255, chance.randrange(256)])
            body = bytes([kind]) + chance.randbytes(chance.randrange(40))
            requests.data_received(len(body).to_bytes(4, "big") + body, None)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                break
        else:
            assert lost == [1]
            assert channel.aborted
            with pytest.raises(sftp.LinkLost):
                await waiter
        requests.abort()


async def test_replies_cut_anywhere_are_the_same_replies():
    requests, _, _ = _requests()
    waiters = [sftp.Session(requests).read(b"h", 0, 10) for _ in range(3)]
    stream = b""
    for number, data in enumerate([b"", b"abc", b"x" * 50]):
        body = bytes([Kind.DATA]) + number.to_bytes(4, "big") + string(data)
        stream += len(body).to_bytes(4, "big") + body
    for at in range(len(stream)):
        requests.data_received(stream[at : at + 1], None)
    assert [sftp.as_data(await waiter) for waiter in waiters] == [b"", b"abc", b"x" * 50]
    requests.abort()


async def test_request_without_an_answer_ends_the_requests():
    requests, _channel, _ = _requests()
    waiter = sftp.Session(requests).lstat(b"x")
    requests.check()
    assert not requests.dead
    requests._order[0] = (requests._order[0][0], requests._order[0][1] - sftp.STUCK_S - 1)
    requests._heard_s = requests._order[0][1] + 2
    requests.check()
    assert not requests.dead  # other answers come: the link is slow
    requests._heard_s -= 1
    requests.check()
    assert requests.dead
    with pytest.raises(sftp.LinkLost):
        await waiter
