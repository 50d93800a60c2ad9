"""Writes on their way: how many may be, and which have arrived."""

import asyncio
import errno
import struct
from typing import Any

import pytest

from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.fileserver.contents.sending import LEAST_BYTES, MOST_BYTES, Sending, Window, chunks
from womm.fileserver.sftp import LinkLost
from womm.fileserver.writelog import Piece, Pieces, WriteLog, WriteLogs
from womm.nfs.status import NFSError


async def test_window_becomes_as_wide_as_what_the_link_carries():
    window = Window()
    assert window.size_bytes == MOST_BYTES
    for _ in range(MOST_BYTES // BLOCK_BYTES):
        await window.take(BLOCK_BYTES)
    waiting = asyncio.ensure_future(window.take(BLOCK_BYTES))
    await asyncio.sleep(0.3)
    window.give(BLOCK_BYTES)  # the first look
    await waiting
    waiting = asyncio.ensure_future(window.take(BLOCK_BYTES))
    await asyncio.sleep(0.3)
    window.give(BLOCK_BYTES)  # a block in a third of a second
    assert window.size_bytes == LEAST_BYTES
    await asyncio.sleep(0)
    assert not waiting.done()
    while not waiting.done():
        window.give(BLOCK_BYTES)
        await asyncio.sleep(0)


def status(code):
    """A reply that is a STATUS."""
    return 101, struct.pack(">BII", 101, 1, code) + struct.pack(">II", 0, 0)


async def test_writes_that_have_arrived_are_left_out_when_a_later_one_fails():
    sending, loop = Sending(Window()), asyncio.get_running_loop()
    replies: list[Any] = [loop.create_future() for _ in range(4)]
    for number, reply in enumerate(replies):
        sending.add(reply, 10 * number, 10)
    replies[0].set_result(status(0))
    replies[1].set_result(status(0))
    replies[2].set_result(status(14))
    replies[3].set_exception(LinkLost())
    await sending.arrival()
    await sending.arrival()
    with pytest.raises(OSError) as caught:
        await sending.arrival()
    assert caught.value.errno == errno.ENOSPC
    await sending.settle()
    assert (sending.arrived, sending.size_bytes, list(sending.waiting)) == ([(0, 20)], 20, [])
    pieces = Pieces()
    pieces.add(Piece(5, 30, 100))
    pieces.add(Piece(10, 2, 200))  # newer than the turn
    sending.leave_out_of(pieces, 150)
    assert [(piece.offset, piece.end) for piece in pieces] == [(10, 12), (20, 35)]


async def test_lost_link_fails_an_arrival_with_delay():
    sending = Sending(Window())
    reply: Any = asyncio.get_running_loop().create_future()
    sending.add(reply, 0, 10)
    reply.set_exception(LinkLost())
    with pytest.raises(NFSError):
        await sending.arrival()


def test_chunks_are_whole_within_blocks(tmp_path):
    logs = WriteLogs(tmp_path)
    log = WriteLog(logs, 7)
    log.append(BLOCK_BYTES - 4, b"abcdefgh", 1)
    log.append(BLOCK_BYTES + 4, b"ijkl", 2)
    log.append(3 * BLOCK_BYTES, b"mn", 3)
    found = list(chunks(log))
    assert found == [(BLOCK_BYTES - 4, b"abcd"), (BLOCK_BYTES, b"efghijkl"), (3 * BLOCK_BYTES, b"mn")]
    log.close(remove=True)
    logs.close()
