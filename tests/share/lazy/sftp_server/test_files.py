"""Requests about open files, from asyncssh's client."""

import asyncio
import errno
import os
import stat

import asyncssh
import pytest
from asyncssh.sftp import SFTPAttrs

from tests.fileserver.lazy import descriptors, failing_close
from tests.fileserver.test_limits import largest_file
from tests.share.eager.pod import (
    CREATE_NEW,
    CREATE_TRUNCATE,
    NONE,
    OPEN_EXISTING,
    OPEN_OR_CREATE,
    READ,
    TRUNCATE_EXISTING,
    WRITE,
    fails,
    with_sftp,
)
from womm.share.lazy.sftp_server.files import largest_size


async def test_files_are_written_and_read_in_any_order(serving, folder):
    data = os.urandom(5_000_000)

    async with with_sftp(serving) as (sftp, pod):
        handle = await sftp.open56(b"f", READ | WRITE, CREATE_NEW, SFTPAttrs(permissions=0o640))
        size = 256 << 10
        offsets = list(range(0, len(data), size))
        await asyncio.gather(*(sftp.write(handle, at, data[at : at + size]) for at in reversed(offsets)))
        await sftp.fsync(handle)
        assert (folder / "f").read_bytes() == data
        assert stat.S_IMODE(os.stat(folder / "f").st_mode) == 0o640
        parts = await asyncio.gather(*(sftp.read(handle, at, size) for at in offsets))
        assert b"".join(part for part, _ in parts) == data
        assert [at_end for _, at_end in parts] == [False] * (len(offsets) - 1) + [True]
        with pytest.raises(asyncssh.SFTPEOFError):
            await sftp.read(handle, len(data), 10)
        big, _ = await sftp.read(handle, 0, 4 << 20)
        assert big == data[: 4 << 20]
        await sftp.fsetstat(handle, SFTPAttrs(size=3, permissions=0o600, atime=1, mtime=2, mtime_ns=7))
        await sftp.close(handle)
        found = os.stat(folder / "f")
        assert (found.st_size, found.st_mode & 0o777, found.st_mtime_ns) == (3, 0o600, 2_000_000_007)
        with fails(errno.EBADF):
            await sftp.close(handle)
        with fails(errno.EBADF):
            await sftp.read(handle, 0, 1)
        assert pod.export.traffic.written_bytes == len(data)


async def test_requests_in_one_go_have_the_effects_of_their_order(serving, folder):
    """Nothing waits for an answer here but the handle."""

    async with with_sftp(serving) as (sftp, pod):
        for number in range(20):
            pod.export.write_s = 1.0 if number % 2 else 0.0  # a slow disk, a quick one
            handle = await sftp.open56(b"f", WRITE, CREATE_TRUNCATE, NONE)
            *_, found, _, _, _ = await asyncio.gather(
                *(sftp.write(handle, at, b"x" * 100_000) for at in range(0, 1_000_000, 100_000)),
                sftp.fsetstat(handle, SFTPAttrs(size=999_999, mtime=number)),
                sftp.fstat(handle, 0),
                sftp.fsync(handle),
                sftp.write(handle, 999_999, b"y"),
                sftp.close(handle),
            )
            assert (found.size, found.mtime) == (999_999, number)
            assert (folder / "f").read_bytes()[-2:] == b"xy"
            assert os.path.getsize(folder / "f") == 1_000_000


async def test_dispositions_of_open(serving, folder):
    async with with_sftp(serving) as (sftp, _):

        async def opened(how, path=b"f"):
            handle = await sftp.open56(path, WRITE, how, NONE)
            await sftp.write(handle, 0, b"ab")
            await sftp.close(handle)
            return (folder / os.fsdecode(path)).read_bytes()

        with fails(errno.ENOENT):
            await opened(OPEN_EXISTING)
        with fails(errno.ENOENT):
            await opened(TRUNCATE_EXISTING)
        assert await opened(CREATE_NEW) == b"ab"
        with fails(errno.EEXIST):
            await opened(CREATE_NEW)
        (folder / "f").write_bytes(b"12345")
        assert await opened(OPEN_EXISTING) == b"ab345"
        assert await opened(OPEN_OR_CREATE) == b"ab345"
        assert await opened(TRUNCATE_EXISTING) == b"ab"
        (folder / "f").write_bytes(b"12345")
        assert await opened(CREATE_TRUNCATE) == b"ab"
        assert await opened(OPEN_OR_CREATE, b"g") == b"ab"
        with fails(errno.EINVAL):
            await opened(7)


async def test_errors_of_the_disk_come_through(serving, folder):
    """/dev/full is no regular file; a file size limit is what a full disk can be had as without root."""
    import resource

    (folder / "f").touch()

    async with with_sftp(serving) as (sftp, _):
        import signal

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            with fails(errno.EFBIG):
                await sftp.write_all(b"f", b"x" * 20_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        with fails(errno.ELOOP):
            os.symlink("f", folder / "l")
            await sftp.read_all(b"l")


async def test_errors_of_close_come_through_and_leave_nothing_open(serving, folder, monkeypatch):
    async with serving() as pod:
        sftp = pod.sftp
        for _ in range(3):
            handle = await sftp.open56(b"f", READ | WRITE, OPEN_OR_CREATE, NONE)
        await sftp.write(handle, 0, b"x")
        with failing_close(monkeypatch, folder / "f", errno.EDQUOT):
            with fails(errno.EDQUOT):
                await sftp.fsetstat(handle, SFTPAttrs(atime=1, mtime=2))
            with fails(errno.EDQUOT):
                await sftp.put(b"f", b"x")
            with fails(errno.EDQUOT):
                await sftp.close(handle)
            assert descriptors(folder / "f") == 2
            pod.connection.abort()
            await pod.connection.wait_closed()
        assert descriptors(folder / "f") == 0


def test_largest_size_is_that_of_the_disk_and_of_the_process(tmp_path):
    path = tmp_path / "f"
    with open(path, "wb") as file:
        largest = largest_size(file.fileno())
        os.truncate(path, largest)
        if largest < (1 << 63) - 1:
            with pytest.raises(OSError):
                os.truncate(path, largest + 1)
        with largest_file(12345):
            assert largest_size(file.fileno()) == 12345
