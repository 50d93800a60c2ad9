"""The SFTP channel: against garbage, random requests, and a client that does not read."""

import asyncio
import errno
import os
import random
import struct

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
from tests.soak import count
from womm.share.fence import Fence
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.sftp_server.channel import SftpChannel


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
