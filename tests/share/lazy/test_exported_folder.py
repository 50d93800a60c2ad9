"""The SFTP server against asyncssh's client: attributes, modes, what is hidden, read-only or outside."""

import asyncio
import errno
import os
import socket
import stat

from asyncssh.packet import String
from asyncssh.sftp import SFTPAttrs

from tests.share.eager.pod import (
    CREATE_NEW,
    NONE,
    OPEN_EXISTING,
    OPEN_OR_CREATE,
    READ,
    WRITE,
    fails,
    mode_of,
    pairs,
    with_sftp,
)


async def test_attributes_have_nanoseconds_types_and_extended_pairs(serving, folder):
    file = folder / "f"
    file.write_bytes(b"x" * 5000)
    os.utime(file, ns=(1_600_000_000_123_456_789, 1_700_000_000_987_654_321))
    os.link(file, folder / "g")
    (folder / "l").symlink_to("/etc/passwd")
    os.mkfifo(folder / "p")

    async with with_sftp(serving) as (sftp, _):
        found, real = await sftp.lstat(b"f", 0), os.lstat(file)
        assert (found.size, mode_of(found)) == (5000, real.st_mode)
        assert (found.atime, found.atime_ns) == (1_600_000_000, 123_456_789)
        assert (found.mtime, found.mtime_ns) == (1_700_000_000, 987_654_321)
        assert (int(found.owner), int(found.group)) == (real.st_uid, real.st_gid)
        assert pairs(found) == {
            b"ino@womm": real.st_ino,
            b"dev@womm": real.st_dev,
            b"ctime@womm": real.st_ctime_ns,
            b"nlink@womm": 2,
            b"blocks@womm": real.st_blocks,
        }
        for path, is_kind in ((b"l", stat.S_ISLNK), (b"p", stat.S_ISFIFO), (b"", stat.S_ISDIR)):
            assert is_kind(mode_of(await sftp.lstat(path, 0)))
        # stat follows no link either.
        assert stat.S_ISLNK(mode_of(await sftp.stat(b"l", 0)))
        for path in (b".", b"/", b"./"):
            assert pairs(await sftp.lstat(path, 0))[b"ino@womm"] == os.stat(folder).st_ino
        handle = await sftp.open56(b"f", READ, OPEN_EXISTING, NONE)
        assert pairs(await sftp.fstat(handle, 0))[b"ino@womm"] == real.st_ino
        await sftp.close(handle)
        before_1970 = SFTPAttrs(atime=(-2) % (1 << 64), mtime=(-2) % (1 << 64), mtime_ns=5)
        await sftp._make_request(9, String(b"f"), before_1970.encode(6))
        assert os.lstat(file).st_mtime_ns == -2_000_000_000 + 5


async def test_pods_make_no_setuid_files(serving, folder):
    async with with_sftp(serving) as (sftp, _):
        wanted = SFTPAttrs(permissions=0o6755)
        await sftp.close(await sftp.open56(b"a", WRITE, CREATE_NEW, wanted))
        await sftp.put(b"b", b"", attrs=wanted)
        await sftp.write_all(b"c", b"")
        await sftp.setstat(b"c", wanted)
        handle = await sftp.open56(b"d", WRITE, CREATE_NEW, NONE)
        await sftp.fsetstat(handle, wanted)
        await sftp.close(handle)
        for name in "abcd":
            assert stat.S_IMODE(os.stat(folder / name).st_mode) == 0o755
        await sftp.mkdir(b"e", SFTPAttrs(permissions=0o2755))
        assert stat.S_IMODE(os.stat(folder / "e").st_mode) & 0o777 == 0o755


async def test_read_only_changes_nothing(serving, folder):
    (folder / "f").write_text("old")
    (folder / "d").mkdir()
    before = os.stat(folder / "f")

    async with with_sftp(serving, read_only=True) as (sftp, _):
        assert await sftp.read_all(b"f") == b"old"
        await sftp.access(b"f", 4)
        for attempt in (
            sftp.write_all(b"f", b"new"),
            sftp.write_all(b"g", b"new"),
            sftp.put(b"f", b"new"),
            sftp.mkdir(b"e", NONE),
            sftp.mknod(b"e", stat.S_IFIFO),
            sftp.rmdir(b"d"),
            sftp.remove(b"f"),
            sftp.rename(b"f", b"g", 1),
            sftp.make_link(b"f", b"g", False),
            sftp.make_link(b"f", b"g", True),
            sftp.setstat(b"f", SFTPAttrs(permissions=0o600)),
            sftp.setstat(b"f", SFTPAttrs(size=0)),
            sftp.access(b"f", 2),
        ):
            with fails(errno.EROFS):
                await attempt
        handle = await sftp.open56(b"f", READ, OPEN_EXISTING, NONE)
        for attempt in (
            sftp.write(handle, 0, b"new"),
            sftp.fsetstat(handle, SFTPAttrs(size=0)),
        ):
            with fails(errno.EROFS):
                await attempt

    assert os.stat(folder / "f").st_mtime_ns == before.st_mtime_ns
    assert sorted(os.listdir(folder)) == ["d", "f"]


async def test_what_is_ignored_is_not_there_and_cannot_be_made(serving, folder):
    (folder / ".wommignore").write_text("build/\n*.o\nsecret*\n!keep.o\n")
    (folder / "build").mkdir()
    for name in ("build/x", "a.o", "keep.o", "a.c", "secret"):
        (folder / name).write_text(name)
    (folder / "sub").mkdir()
    (folder / "sub/.wommignore").write_text("*.c\n")
    (folder / "sub/b.c").touch()
    (folder / "secretdir").mkdir()

    async with with_sftp(serving) as (sftp, pod):
        assert set(await sftp.names(b"")) == {b".wommignore", b"keep.o", b"a.c", b"sub"}
        assert set(await sftp.names(b"sub")) == {b".wommignore"}
        names = {name for name, _ in (await sftp.tree(b"", 100))[0]}
        assert names == {b".wommignore", b"keep.o", b"a.c", b"sub", b"/.", b"sub/.wommignore", b"sub/."}
        for hidden in (b"a.o", b"build", b"build/x", b"secret", b"sub/b.c", b"secretdir"):
            for attempt in (
                sftp.lstat(hidden, 0),
                sftp.read_all(hidden),
                sftp.get(hidden),
                sftp.access(hidden, 4),
                sftp.seek(hidden, 0, 1),
                sftp.write_all(hidden, b"", OPEN_EXISTING),
                sftp.setstat(hidden, SFTPAttrs(permissions=0o777)),
                sftp.opendir(hidden),
                sftp.tree(hidden, 10),
                sftp.readlink(hidden),
                sftp.remove(hidden),
                sftp.rmdir(hidden),
                sftp.rename(hidden, b"shown", 1),
                sftp.make_link(hidden, b"shown", False),
            ):
                with fails(errno.ENOENT):
                    await attempt
        assert not (folder / "shown").exists()
        assert not pod.said
        for attempt in (
            sftp.write_all(b"new.o", b""),
            sftp.put(b"new.o", b""),
            sftp.mkdir(b"build", NONE),
            sftp.mknod(b"x.o", stat.S_IFIFO),
            sftp.mkdir(b"sub/build", NONE),
            sftp.rename(b"a.c", b"a.o", 1),
            sftp.make_link(b"a.c", b"b.o", False),
            sftp.make_link(b"a.c", b"b.o", True),
        ):
            with fails(errno.EACCES) as caught:
                await attempt
            assert ".wommignore" in caught.value.reason
        assert len(pod.said) == 1 and ".wommignore" in pod.said[0] and "new.o" in pod.said[0]
        await sftp.write_all(b"new.c", b"1")
        with fails(errno.ENOTEMPTY):
            await sftp.rmdir(b"sub")

    assert (folder / "a.o").read_text() == "a.o"
    assert not (folder / "new.o").exists()


async def test_what_is_no_file_is_never_opened(serving, folder):
    os.mkfifo(folder / "fifo")
    here = os.open(".", os.O_RDONLY)
    listener = socket.socket(socket.AF_UNIX)
    os.chdir(folder)
    try:
        listener.bind("socket")
    finally:
        os.fchdir(here)
        os.close(here)

    async with with_sftp(serving) as (sftp, _):
        for name in (b"fifo", b"socket"):
            for attempt in (
                sftp.read_all(name),
                sftp.write_all(name, b"x"),
                sftp.get(name),
                sftp.put(name, b""),
            ):
                with fails(errno.EINVAL):
                    async with asyncio.timeout(5):
                        await attempt
            await sftp.remove(name)

    listener.close()


async def test_links_out_are_objects_like_any_other(serving, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    (folder / "abs").symlink_to(outside)
    (folder / "file").symlink_to(outside / "file")

    async with with_sftp(serving) as (sftp, _):
        await sftp.mkdir(b"d", NONE)
        await sftp.mkdir(b"d/e", NONE)
        await sftp.make_link(b"../../outside/file", b"d/e/l", True)
        await sftp.mkdir(b"x", NONE)
        await sftp.rename(b"d/e/l", b"x/l2", 0)
        await sftp.rename(b"x/l2", b"l2", 0)
        await sftp.make_link(b"file", b"hard", False)
        for path in (b"abs/file", b"file", b"l2", b"hard"):
            for attempt in (
                sftp.read_all(path),
                sftp.write_all(path, b"bad"),
                sftp.write_all(path, b"bad", OPEN_OR_CREATE),
                sftp.get(path),
                sftp.put(path, b"bad"),
                sftp.setstat(path, SFTPAttrs(size=0)),
            ):
                with fails(errno.ELOOP, errno.ENOTDIR):
                    await attempt
        for path in (b"abs/file", b"abs/new"):
            with fails(errno.ELOOP, errno.ENOTDIR):
                await sftp.remove(path)
            with fails(errno.ELOOP, errno.ENOTDIR):
                await sftp.mkdir(path, NONE)
        await sftp.setstat(b"file", SFTPAttrs(permissions=0o777))
        with fails(errno.ENOTDIR, errno.ELOOP):
            await sftp.names(b"abs")

    assert (outside / "file").read_text() == "secret"
    assert stat.S_IMODE((outside / "file").stat().st_mode) == 0o644
    assert os.listdir(outside) == ["file"]


async def test_a_file_changed_here_while_it_is_open_there(serving, folder):
    file = folder / "f"
    file.write_bytes(b"old" * 1000)

    async with with_sftp(serving) as (sftp, _):
        handle = await sftp.open56(b"f", READ, OPEN_EXISTING, NONE)
        os.replace(_made(folder / "new", b"new"), file)
        assert (await sftp.read(handle, 0, 3))[0] == b"old"
        assert pairs(await sftp.fstat(handle, 0))[b"nlink@womm"] == 0
        await sftp.close(handle)
        handle = await sftp.open56(b"f", READ, OPEN_EXISTING, NONE)
        os.truncate(file, 1)
        assert await sftp.read(handle, 0, 3) == (b"n", True)
        file.unlink()
        assert await sftp.read(handle, 0, 3) == (b"n", True)
        await sftp.close(handle)


def _made(path, data):
    path.write_bytes(data)
    return path


async def test_files_left_open_are_closed_with_the_channel(serving, folder):
    (folder / "f").write_bytes(bytes(100))
    before = len(os.listdir("/proc/self/fd"))

    async with serving() as pod:
        for _ in range(50):
            await pod.sftp.open56(b"f", READ | WRITE, OPEN_EXISTING, NONE)
            await pod.sftp.opendir(b"")
        assert len(os.listdir("/proc/self/fd")) >= before + 100
    assert len(os.listdir("/proc/self/fd")) <= before + 1
