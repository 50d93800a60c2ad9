"""Files, pipes and sockets that take a job's output: whole, in order, and without a wait."""

import asyncio
import os
import socket

import pytest

from womm.engine.gnu.outputs import HIGH_WATER, JobFile, Stream, is_gone

BIG = b"0123456789abcdef" * 200_000


@pytest.fixture
def events():
    return []


def opened(fd, events):
    return Stream(fd, lambda: events.append("room"), events.append)


def test_file_takes_output_after_what_is_there_and_gives_it_back(tmp_path):
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"before")
    file = JobFile(fd, 6, 6)
    assert file.path() == b"/proc/%d/fd/%d" % (os.getpid(), fd)
    file.write(b"some output")
    assert file.path() is None
    assert (file.read_back(4), file.read_back(100)) == (b"some", b"some output")
    file.take_back()
    assert file.path() is not None
    file.write(b"again")
    assert (tmp_path / "out").read_bytes() == b"beforeagain"
    file.close()
    with pytest.raises(OSError):
        file.write(b"more")


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_stream_holds_up_its_writer_and_writes_all_in_order(events, kind):
    if kind == "socket":
        ours, theirs = socket.socketpair()
        reader, fd = theirs.detach(), ours.detach()
    else:
        reader, fd = os.pipe()
    stream = opened(fd, events)
    assert stream.write(b"first ")
    assert not stream.write(BIG[: 2 * HIGH_WATER])
    stream.write(BIG[2 * HIGH_WATER :])
    stream.when_empty(lambda: events.append("empty"))
    read = asyncio.create_task(asyncio.to_thread(_read, reader, len(BIG) + 6))
    async with asyncio.timeout(30):
        assert await read == b"first " + BIG
        while "empty" not in events:
            await asyncio.sleep(0.001)
    assert events == ["room", "empty"]
    stream.close()
    stream.close()
    os.close(reader)


def _read(fd, size):
    found = b""
    while len(found) < size:
        found += os.read(fd, 65536)
    return found


async def test_flags_of_a_pipe_that_others_have_open_stay(events):
    reader, fd = os.pipe()
    other = os.dup(fd)
    stream = opened(fd, events)
    stream.write(b"x" * 200_000)
    assert os.get_blocking(other)
    stream.close()
    os.close(other)
    os.close(reader)


async def test_stream_whose_reader_goes_says_so_once_and_drops_the_rest(events):
    reader, fd = os.pipe()
    stream = opened(fd, events)
    stream.write(BIG)
    stream.when_empty(lambda: events.append("empty"))
    os.close(reader)
    async with asyncio.timeout(30):
        while len(events) < 2 or not isinstance(events[-1], OSError):
            await asyncio.sleep(0.001)
    assert stream.write(b"more")
    assert [event for event in events if isinstance(event, str)] == ["room", "empty"]
    (error,) = [event for event in events if isinstance(event, OSError)]
    assert is_gone(error)
    stream.close()
