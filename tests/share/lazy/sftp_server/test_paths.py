"""Requests about paths, from asyncssh's client."""

import errno
import os
import stat

import asyncssh
import pytest
from asyncssh.packet import String
from asyncssh.sftp import SFTPAttrs

from tests.share.eager.pod import (
    NONE,
    fails,
    number_of,
    pairs,
    with_sftp,
)
from tests.share.lazy.sftp_server.client import Client
from womm.wire.extensions import (
    Access,
    Expect,
    Get,
    PosixRename,
    Seek,
    Stats,
)
from womm.wire.fields import U64, string
from womm.wire.replies import read_names, read_status
from womm.wire.sftp import Code, Kind


async def test_names_are_made_moved_linked_and_removed(serving, folder):
    async with with_sftp(serving) as (sftp, _):
        await sftp.mkdir(b"d", SFTPAttrs(permissions=0o2775))
        assert stat.S_IMODE(os.stat(folder / "d").st_mode) & 0o777 == 0o775
        await sftp.write_all(b"d/\xff\xfe \n", b"1")
        assert os.listdir(os.fsencode(folder / "d")) == [b"\xff\xfe \n"]
        await sftp.rename(b"d/\xff\xfe \n", b"a", 0)
        await sftp.write_all(b"b", b"22")
        with fails(errno.EEXIST):
            await sftp.rename(b"a", b"b", 0)
        await sftp.rename(b"a", b"b", 1)
        assert (folder / "b").read_bytes() == b"1"
        await sftp.posix_rename(b"b", b"c")
        await sftp.make_link(b"c", b"hard", False)
        await sftp._make_request(b"hardlink@openssh.com", String(b"c"), String(b"hard2"))
        assert os.stat(folder / "hard").st_nlink == 3
        await sftp.make_link(b"../../anywhere", b"soft", True)
        names, _ = await sftp.readlink(b"soft")
        assert names[0].filename == b"../../anywhere"
        assert os.readlink(folder / "soft") == "../../anywhere"
        await sftp.remove(b"hard")
        with fails(errno.EISDIR, errno.EPERM):
            await sftp.remove(b"d")
        with fails(errno.ENOTDIR):
            await sftp.rmdir(b"c")
        await sftp.write_all(b"d/x", b"")
        with fails(errno.ENOTEMPTY) as caught:
            await sftp.rmdir(b"d")
        assert isinstance(caught.value, asyncssh.SFTPDirNotEmpty)
        await sftp.remove(b"d/x")
        await sftp.rmdir(b"d")
        await sftp.setstat(b"c", SFTPAttrs(size=100, permissions=0o604))
        assert (os.stat(folder / "c").st_size, os.stat(folder / "c").st_mode & 0o777) == (100, 0o604)
        await sftp.setstat(b"soft", SFTPAttrs(permissions=0o600, atime=1, mtime=5))
        assert os.lstat(folder / "soft").st_mtime == 5
        with fails(errno.ENAMETOOLONG):
            await sftp.mkdir(b"x" * 256, NONE)
        with fails(errno.EACCES):
            await sftp.lstat(b"../x", 0)
        with fails(errno.EINVAL):
            await sftp.lstat(b"a\0b", 0)
        assert (await sftp.realpath(b"/c/./"))[0][0].filename == b"c"
        vfs = await sftp.statvfs(b"")
        assert vfs.blocks == os.statvfs(folder).f_blocks
        await sftp.request_limits()
        assert sftp.limits.max_read_len == 4 << 20
        with fails(errno.EOPNOTSUPP):
            await sftp._make_request(b"nothing@womm")


async def test_fifos_and_sockets_are_made_and_no_devices(serving, folder):
    async with with_sftp(serving) as (sftp, _):
        await sftp.mknod(b"fifo", stat.S_IFIFO | 0o622)
        await sftp.mknod(b"socket", stat.S_IFSOCK | 0o600)
        assert os.stat(folder / "fifo").st_mode == stat.S_IFIFO | 0o622
        assert os.stat(folder / "socket").st_mode == stat.S_IFSOCK | 0o600
        for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFREG, stat.S_IFDIR, 0):
            with fails(errno.EINVAL):
                await sftp.mknod(b"other", kind | 0o600)
        with fails(errno.EEXIST):
            await sftp.mknod(b"fifo", stat.S_IFIFO)


async def test_seek_finds_data_and_holes(serving, folder):
    with (folder / "f").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(512 << 10)
        file.write(b"x" * 4096)
    expected = []
    with (folder / "f").open("rb") as file:
        for offset in (0, 512 << 10, 600 << 10):
            for how in (os.SEEK_DATA, os.SEEK_HOLE):
                try:
                    expected.append(os.lseek(file.fileno(), offset, how))
                except OSError as exc:
                    expected.append(-(exc.errno or 0))

    async with with_sftp(serving) as (sftp, _):
        found = []
        for offset in (0, 512 << 10, 600 << 10):
            for data in (1, 0):
                try:
                    found.append(await sftp.seek(b"f", offset, data))
                except asyncssh.SFTPError as exc:
                    found.append(-number_of(exc))
        assert found == expected
        with fails(errno.ENXIO):
            await sftp.seek(b"f", 2 << 20, 1)
        with fails(errno.EISDIR):
            await sftp.seek(b"", 0, 1)


async def test_many_are_looked_at_with_one_request(serving, folder):
    (folder / ".wommignore").write_text("*.o\n")
    for name in ("a", "b", "c.o"):
        (folder / name).touch()

    async with with_sftp(serving) as (sftp, _):
        found = await sftp.stats([b"b", b"none", b"./a", b"../x", b"c.o", b"", b"a\0"])
        assert list(found) == [b"b", b"./a", b""]
        assert pairs(found[b"b"])[b"ino@womm"] == os.stat(folder / "b").st_ino


async def test_get_and_put_need_one_request(serving, folder):
    async with with_sftp(serving) as (sftp, _):
        (folder / "f").write_bytes(b"0123456789")
        attrs, data, at_end = await sftp.get(b"f")
        assert (attrs.size, data, at_end) == (10, b"0123456789", True)
        assert (await sftp.get(b"f", 2, 3))[1:] == (b"234", False)
        assert (await sftp.get(b"f", 50))[1:] == (b"", True)
        for path, number in ((b"", errno.EISDIR), (b"none", errno.ENOENT)):
            with fails(number):
                await sftp.get(path)
        attrs = await sftp.put(b"f", b"ab", flags=0, offset=1)
        assert (folder / "f").read_bytes() == b"0ab3456789" and attrs.size == 10
        with fails(errno.ENOENT):
            await sftp.put(b"g", b"", flags=0)
        with fails(errno.EEXIST):
            await sftp.put(b"f", b"", flags=2)
        wanted = SFTPAttrs(permissions=0o444, size=4, atime=1, mtime=9, mtime_ns=8)
        attrs = await sftp.put(b"g", b"abcdef", flags=1 | 2 | 8, attrs=wanted)
        assert (folder / "g").read_bytes() == b"abcd"
        assert (attrs.size, attrs.permissions & 0o777, attrs.mtime, attrs.mtime_ns) == (4, 0o444, 9, 8)
        attrs = await sftp.put(b"g", b"z", flags=4 | 16)
        assert (folder / "g").read_bytes() == b"z" and attrs.permissions & 0o777 == 0o444


# -- one channel, in packets
async def test_open_files_are_known_by_their_new_paths_after_a_rename(folder):
    (folder / "d/e").mkdir(parents=True)
    for name in ("d/e/f", "dd"):
        (folder / name).write_bytes(b"user")
    async with Client(folder) as client:
        handle, other = await client.open(b"d/e/f"), await client.open(b"dd")
        assert read_status(await client.extended(PosixRename(b"d", b"new"))).code == Code.OK
        assert read_status(await client.extended(PosixRename(b"new/e/f", b"new/e/g"))).code == Code.OK
        for one in (handle, other):
            await client.extended(Expect(one, True, ()))  # what the user has there is kept at the first write
            await client.ask(Kind.WRITE, string(one) + U64.pack(0) + string(b"job"))
    assert (folder / "new/e/g.womm-share").read_bytes() == b"user"
    assert (folder / "dd.womm-share").read_bytes() == b"user"


async def test_open_files_keep_their_paths_when_a_rename_fails(folder):
    for name in ("d", "full/inner"):
        (folder / name).mkdir(parents=True)
    (folder / "d/f").write_bytes(b"user")
    async with Client(folder) as client:
        handle = await client.open(b"d/f")
        found = await client.extended(PosixRename(b"d", b"full"))
        assert read_status(found).errno in (errno.ENOTEMPTY, errno.EEXIST)
        await client.extended(Expect(handle, True, ()))
        await client.ask(Kind.WRITE, string(handle) + U64.pack(0) + string(b"job"))
    assert (folder / "d/f.womm-share").read_bytes() == b"user"


@pytest.mark.parametrize(
    "path, number",
    [(b"none", errno.ENOENT), (b"f/below", errno.ENOTDIR), (b"..", errno.EACCES), (b"\0", errno.EINVAL)],
)
async def test_paths_that_lead_nowhere_are_errors_of_the_disk(folder, path, number):
    (folder / "f").touch()
    async with Client(folder) as client:
        requests = [Access(path, os.R_OK), Get(path, 0, 10), Seek(path, 0, True), PosixRename(path, b"g")]
        packets = [await client.extended(request) for request in requests]
        packets += [await client.ask(kind, string(path)) for kind in (Kind.LSTAT, Kind.REMOVE, Kind.READLINK)]
        assert [read_status(packet).errno for packet in packets] == [number] * len(packets)
    assert os.listdir(folder) == ["f"]


async def test_access_asks_what_the_user_may_and_a_read_only_share_more(folder):
    (folder / "f").touch()
    async with Client(folder) as client:
        for mode in (os.F_OK, os.R_OK, os.R_OK | os.W_OK):
            assert read_status(await client.extended(Access(b"f", mode))).code == Code.OK
        assert read_status(await client.extended(Access(b"f", os.X_OK))).errno == errno.EACCES
        client.export.read_only = True
        assert read_status(await client.extended(Access(b"f", os.R_OK))).code == Code.OK
        assert read_status(await client.extended(Access(b"f", os.W_OK))).errno == errno.EROFS


async def test_stats_of_too_many_paths_are_of_the_first(folder):
    (folder / "f").touch()
    async with Client(folder) as client:
        found, at_end = read_names(await client.extended(Stats((b"f",) * 5000)))
        assert (len(found), at_end) == (4096, True)
