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
from tests.share.lazy.sftp_server.client import Client
from womm.share.lazy.sftp_server.files import largest_size
from womm.share.lazy.versions import version_of
from womm.wire.attributes import NewAttributes
from womm.wire.extensions import (
    Expect,
    Largest,
    Position,
)
from womm.wire.fields import U32, U64, Reader, string
from womm.wire.replies import BODY_AT, read_status
from womm.wire.sftp import Code, Kind


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


# -- writes to a version of a file
def write(handle: bytes, offset: int, data: bytes) -> bytes:
    return string(handle) + U64.pack(offset) + string(data)


async def ok(client: Client, kind: Kind, body: bytes) -> None:
    assert read_status(await client.ask(kind, body)).code == Code.OK


async def test_writes_to_an_expected_version_keep_what_the_user_has_made_of_it(folder):
    (folder / "f").write_bytes(b"one\n")
    async with Client(folder) as client:
        handle = await client.open(b"f")
        version = version_of(os.stat(folder / "f"))
        assert read_status(await client.extended(Expect(handle, True, version))).code == Code.OK
        await ok(client, Kind.WRITE, write(handle, 4, b"job 1\n"))
        assert os.listdir(folder) == ["f"]
        (folder / "f").write_bytes(b"user\n")
        await ok(client, Kind.WRITE, write(handle, 5, b"job 2\n"))
        await ok(client, Kind.WRITE, write(handle, 11, b"job 3\n"))
    assert (folder / "f.womm-share").read_bytes() == b"user\n"
    assert (folder / "f").read_bytes() == b"user\njob 2\njob 3\n"
    assert sorted(os.listdir(folder)) == ["f", "f.womm-share"]


async def test_size_that_is_set_in_an_expected_version_keeps_the_users(folder):
    (folder / "f").write_bytes(b"one\n")
    async with Client(folder) as client:
        handle = await client.open(b"f")
        await client.extended(Expect(handle, False, version_of(os.stat(folder / "f"))))
        (folder / "f").write_bytes(b"one\ntwo\n")
        mode = NewAttributes(permissions=0o600).pack()
        await ok(client, Kind.FSETSTAT, string(handle) + mode)  # nothing is lost by that
        assert os.listdir(folder) == ["f"]
        await ok(client, Kind.FSETSTAT, string(handle) + NewAttributes(size=0).pack())
    assert (folder / "f.womm-share").read_bytes() == b"one\ntwo\n"
    assert (folder / "f").read_bytes() == b""


async def test_writes_that_nobody_expects_anything_of_keep_nothing(folder):
    (folder / "f").write_bytes(b"one\n")
    async with Client(folder) as client:
        handle = await client.open(b"f")
        (folder / "f").write_bytes(b"user\n")
        await ok(client, Kind.WRITE, write(handle, 0, b"job"))
    assert os.listdir(folder) == ["f"] and (folder / "f").read_bytes() == b"jobr\n"


@pytest.mark.parametrize("removed", ["before", "after"])
async def test_file_that_must_have_a_name_is_stale_without_one(folder, removed):
    (folder / "f").write_bytes(b"one\n")
    version = version_of(os.stat(folder / "f"))
    async with Client(folder) as client:
        handle = await client.open(b"f")
        if removed == "after":
            await client.extended(Expect(handle, True, version))
        (folder / "f").unlink()
        if removed == "before":
            found = await client.extended(Expect(handle, True, version))
        else:
            found = await client.ask(Kind.WRITE, write(handle, 0, b"x"))
        assert read_status(found).errno == errno.ESTALE
        await client.extended(Expect(handle, False, version))
        await ok(client, Kind.WRITE, write(handle, 0, b"x"))  # as on any disk


async def test_requests_of_one_handle_have_the_order_in_which_they_came_also_after_a_copy(folder):
    (folder / "f").write_bytes(b"one\n")
    async with Client(folder) as client:
        handle = await client.open(b"f")
        await client.extended(Expect(handle, True, ()))  # no version: the first write copies, in a thread
        numbers = [
            client.begin(Kind.WRITE, write(handle, 0, b"a" * 100)),
            client.begin(Kind.WRITE, write(handle, 50, b"b" * 100)),
            client.begin(Kind.FSETSTAT, string(handle) + NewAttributes(size=120).pack()),
            client.begin(Kind.READ, string(handle) + U64.pack(0) + U32.pack(1000)),
            client.begin(Kind.CLOSE, string(handle)),
        ]
        assert numbers[0] not in client.packets
        for number in numbers:
            await client.answer(number)
        assert client.packets[numbers[3]][9:129] == b"a" * 50 + b"b" * 70
        assert descriptors(folder / "f") == 0
        found = await client.ask(Kind.CLOSE, string(handle))
        assert read_status(found) == (Code.INVALID_HANDLE, errno.EBADF)
    assert (folder / "f.womm-share").read_bytes() == b"one\n"


async def test_largest_size_is_asked_of_an_open_file(folder):
    async with Client(folder) as client:
        handle = await client.open(b"f", how=0)
        with largest_file(12345):
            packet = await client.extended(Largest(handle))
        assert Position.read(Reader(memoryview(packet), BODY_AT)).offset == 12345
