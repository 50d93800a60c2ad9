"""The SFTP channel: against garbage, random requests, and a client that does not read."""

import asyncio
import errno
import os
import random
import struct
import threading

import asyncssh
import pytest
from asyncssh.packet import String, UInt32, UInt64
from asyncssh.sftp import SFTPAttrs

from tests.share.eager.pod import (
    CREATE_NEW,
    NONE,
    OPEN_EXISTING,
    READ,
    WRITE,
    fails,
    with_sftp,
)
from tests.share.lazy.sftp_server.client import Client
from tests.soak import count
from womm.share.fence import Fence
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.sftp_server.channel import SftpChannel
from womm.wire.extensions import PosixRename, Tree, pack_request
from womm.wire.fields import string
from womm.wire.replies import message
from womm.wire.sftp import Kind


async def test_garbage_closes_the_channel_and_nothing_else(serving, folder):
    async with with_sftp(serving) as (sftp, pod):
        for garbage in (
            b"\0\0\0\1\1",
            b"\xff\xff\xff\xff",
            struct.pack(">IBI", 5, 1, 3),  # version 3
            struct.pack(">IBI", 5, 5, 6),
            os.urandom(100),
        ):
            writer, reader, _ = await pod.ssh.open_session(subsystem="sftp", encoding=None)
            writer.write(garbage)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()
        # A request that ends too early, or has no such fields: an error, and the channel goes on.
        for body in (b"", UInt32(100), String(b"x") + b"\0"):
            with pytest.raises(asyncssh.SFTPError):
                await sftp._make_request(3, body)
        with pytest.raises(asyncssh.SFTPError):
            await sftp._make_request(99, b"")
        with fails(errno.EINVAL):
            handle = await sftp.open56(b"f", READ | WRITE, CREATE_NEW, NONE)
            await sftp.read(handle, 1 << 63, 10)
        with fails(errno.EINVAL):
            await sftp.write(handle, (1 << 64) - 1, b"x")
        assert list(await sftp.names(b"")) == [b"f"]


class _Recorder:
    """A channel that keeps what is written."""

    def __init__(self):
        self.written = bytearray()
        self.aborted = False

    def write(self, data):
        self.written += data

    def pause_reading(self): ...

    def resume_reading(self): ...

    def abort(self):
        self.aborted = True


def _requests(rnd, folder):
    """Requests that make sense, all kinds of them."""
    attrs = SFTPAttrs(size=5, permissions=0o600, atime=1, mtime=2, extended=[(b"force@womm", b"1")]).encode(6)
    path = lambda: String(rnd.choice([b"", b"a", b"d", b"d/a", b"..", b"l", b"a\0", b"d/" * 300, b"x" * 300]))  # noqa: E731
    handle = lambda: String(rnd.choice([1, 2, 3, 4, 5, 99]).to_bytes(8, "big"))  # noqa: E731
    number = lambda: UInt32(rnd.choice([0, 1, 2, 3, 100, 0xFFFFFFFF]))  # noqa: E731
    large = lambda: UInt64(rnd.choice([0, 1, 100, 1 << 20, 1 << 63, (1 << 64) - 1]))  # noqa: E731
    kind = rnd.choice([*range(3, 22), 200, 200, 200, 250])
    body = {
        3: lambda: path() + number() + number() + attrs,
        4: handle,
        5: lambda: handle() + large() + number(),
        6: lambda: handle() + UInt64(rnd.choice([0, 1, 100, 1 << 63])) + String(b"data"),
        8: handle,
        9: lambda: path() + attrs,
        10: lambda: handle() + attrs,
        12: handle,
        14: lambda: path() + attrs,
        18: lambda: path() + path() + number(),
        21: lambda: path() + path() + b"\1",
    }.get(kind, lambda: path() + number())()
    if kind == 200:
        name = rnd.choice(
            [b"tree@womm", b"get@womm", b"put@womm", b"access@womm", b"stats@womm", b"largest@womm"]
        )
        rest = {
            b"tree@womm": lambda: path() + number(),
            b"get@womm": lambda: path() + large() + number(),
            b"put@womm": lambda: path() + number() + UInt64(5) + String(b"data") + attrs,
        }.get(name, lambda: number() + path())()
        body = String(name) + rest
    return bytes([kind]) + UInt32(rnd.randrange(1000)) + body


async def test_fuzzed_requests_are_answered_or_refused(folder, tmp_path):
    """Garbage makes errors or ends the channel; no exception, nothing outside, no descriptor left."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "d").mkdir()
    (folder / "a").write_text("a")
    (folder / "l").symlink_to(outside)
    rnd = random.Random(1)

    before = len(os.listdir("/proc/self/fd"))
    export = ExportedFolder(Fence(folder))
    for _ in range(count(60, 3000)):
        recorder = _Recorder()
        channel = SftpChannel(export, recorder, lambda: 0)
        channel.received(b"\0\0\0\5\1\0\0\0\6")
        for _ in range(50):
            request = bytearray(_requests(rnd, folder))
            if rnd.random() < 0.5:
                for _ in range(rnd.randint(1, 3)):
                    request[rnd.randrange(len(request))] = rnd.randrange(256)
            if rnd.random() < 0.2:
                del request[rnd.randrange(5, len(request) + 1) :]
            data = UInt32(len(request)) + request
            cut = rnd.randrange(len(data))
            channel.received(data[:cut])
            channel.received(data[cut:])
            if recorder.aborted:
                break
            if rnd.random() < 0.1:
                await asyncio.sleep(0)
        channel.closed()
        assert recorder.written
    await asyncio.to_thread(export.close)
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= before
    assert os.listdir(outside) == []
    assert set(os.listdir(tmp_path)) <= {"folder", "outside"}


async def test_a_reader_that_takes_nothing_costs_little_memory(serving, folder):
    """It asks for 8 GB with a window of 64 MB: no more than the window and a bit is read."""
    (folder / "f").write_bytes(bytes(1 << 20))

    async with with_sftp(serving) as (sftp, pod):
        handle = await sftp.open56(b"f", READ, OPEN_EXISTING, NONE)
        transport = pod.ssh._transport
        transport.pause_reading()
        for number in range(8192):
            answer: asyncio.Future[object] = asyncio.Future()
            answer.add_done_callback(lambda answer: answer.exception())
            sftp._send_request(5, (String(handle), UInt64(0), UInt32(1 << 20)), answer)
            if number % 512 == 0:
                await asyncio.sleep(0.01)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert pod.export.traffic.read_bytes < 128 << 20
        transport.resume_reading()


# -- one channel, in packets
def lstat(path: bytes) -> bytes:
    return string(path)


async def test_answers_are_the_same_in_whatever_pieces_requests_come(folder):
    (folder / "f").touch()
    found = []
    for size in (1, 3, 1000):
        async with Client(folder) as client:
            data = b"".join(client.pack(Kind.LSTAT, lstat(path)) for path in (b"f", b"none", b""))
            for at in range(0, len(data), size):
                client.it.received(data[at : at + size])
            found.append(client.packets)
    assert found[0] == found[1] == found[2]
    assert [packet[0] for packet in found[0].values()] == [Kind.ATTRS, Kind.STATUS, Kind.ATTRS]


async def test_answers_of_one_batch_are_one_write(folder):
    async with Client(folder) as client:
        client.it.received(b"".join(client.pack(Kind.LSTAT, lstat(b"")) for _ in range(100)))
        assert len(client.channel.writes) == 1 and len(client.packets) == 100


@pytest.mark.parametrize(
    "first", [b"\0\0\0\0", b"\0\0\0\4\1\0\0\0", b"\1\0\0\0", message(Kind.LSTAT, 1, lstat(b""))]
)
async def test_words_that_are_no_first_ones_end_the_channel(folder, first):
    client = Client(folder)
    client.it.received(first)
    assert client.channel.aborted and client.channel.writes == []
    await client.__aexit__()


async def test_closed_channel_takes_and_says_nothing(folder):
    async with Client(folder) as client:
        number = client.begin(Kind.EXTENDED, pack_request(Tree(b"", 10)))  # in a thread
        client.it.closed()
        client.begin(Kind.LSTAT, lstat(b""))
        await asyncio.to_thread(client.export.pool.shutdown)
        await asyncio.sleep(0)
        assert number not in client.packets and client.channel.writes == []
        assert "closed" in repr(client.it)


async def test_requests_wait_while_the_other_side_takes_no_answers(folder):
    async with Client(folder) as client:
        client.it.pause()
        numbers = [client.begin(Kind.LSTAT, lstat(b"")) for _ in range(3)]
        assert client.packets == {} and not client.channel.reading
        client.it.resume()
        assert list(client.packets) == numbers and client.channel.reading


async def test_requests_wait_while_the_link_is_full_and_go_on_by_themselves(folder):
    async with Client(folder) as client:
        client.backlog = 100 << 20
        number = client.begin(Kind.LSTAT, lstat(b""))
        await asyncio.sleep(0.1)
        assert client.packets == {} and not client.channel.reading
        client.backlog = 0
        await client.answer(number)
        assert client.channel.reading


async def test_request_that_is_alone_is_done_before_the_next_begins(folder):
    (folder / "d").mkdir()
    (folder / "d/f").touch()
    async with Client(folder) as client:
        rename = client.begin(Kind.EXTENDED, pack_request(PosixRename(b"d", b"e")))
        look = client.begin(Kind.LSTAT, lstat(b"e/f"))
        assert rename not in client.packets and not client.channel.reading
        packet = await client.answer(look)
        assert packet[0] == Kind.ATTRS and list(client.packets) == [rename, look]
        assert client.channel.reading


async def test_no_more_requests_run_in_threads_than_memory_is_meant_for(folder):
    async with Client(folder) as client:
        gate = threading.Event()
        for _ in range(64):  # as many threads as there may be, and more
            client.export.pool.submit(gate.wait, 30)
        try:
            numbers = [client.begin(Kind.EXTENDED, pack_request(Tree(b"", 10))) for _ in range(40)]
            assert not client.channel.reading and "32 in threads" in repr(client.it)
        finally:
            gate.set()
        for number in numbers:
            assert (await client.answer(number))[0] == Kind.NAME
        assert client.channel.reading
