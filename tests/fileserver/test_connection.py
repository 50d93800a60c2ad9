"""The link to the user's side, with connections that nothing is behind."""

import asyncio

import pytest

from womm.fileserver.connection import Connection, Lines, UserLink
from womm.nfs.status import NFSError, Status
from womm.wire import lines as wire_lines


def run(work):
    asyncio.run(work())


def connection():
    return Connection(lambda lines, line: None, lambda ended: None)


def refused(link):
    with pytest.raises(NFSError) as caught:
        link.session()
    return caught.value.status


async def test_without_a_connection_the_client_asks_again():
    link = UserLink()
    assert refused(link) is Status.DELAY
    assert not link.up and link.drop() is None
    link.check()


async def test_the_control_channel_is_greeted_before_anything_else_uses_the_link():
    link = UserLink()
    waiting = asyncio.ensure_future(link.wait())
    await asyncio.sleep(0)
    new = connection()
    greeted = []

    def greet(lines):
        greeted.append(lines)
        assert not waiting.done()

    link.take(new, greet)
    assert greeted == [new.lines]
    assert await waiting is new.session is link.session()
    assert link.uses(new) and link.connections == 1
    new.abort()


async def test_a_link_that_is_held_is_as_without_a_connection_until_it_is_released():
    link = UserLink()
    link.hold()
    new = connection()
    link.take(new, lambda lines: None)
    assert not link.up and refused(link) is Status.DELAY
    waiting = asyncio.ensure_future(link.wait())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    link.release()
    assert await waiting is new.session
    new.abort()


async def test_bytes_of_all_connections_are_counted():
    link = UserLink()
    for size in (5, 7):
        new = connection()
        link.take(new, lambda lines: None)
        new.channel.received_bytes = size
        dropped = link.drop()
        assert dropped is not None and dropped is new
        dropped.abort()
    assert link.received_bytes == 12
    assert not link.up


def test_the_control_channel_cuts_its_lines_and_ends_with_one_that_is_too_long():
    lost: list[int] = []
    heard: list[bytes] = []
    lines = Lines(lambda lines, line: heard.append(line), lambda: lost.append(1))
    for data in (b"a", b"b\nc\n", b"\nd"):
        lines.data_received(data, None)
    assert heard == [b"ab", b"c", b""] and not lost
    lines.data_received(bytes(wire_lines.LINE_BYTES), None)
    assert lost == [1]
    lines.send(b"to nobody\n")
