"""The SFTP server against asyncssh's client: every request, its errors, what is hidden."""

import asyncio
import errno
import os
import socket
import stat

import asyncssh
import pytest
from asyncssh.packet import String
from asyncssh.sftp import SFTPAttrs

from tests.fileserver.lazy import descriptors, failing_close
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
    mode_of,
    number_of,
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


async def test_directories_of_any_size_are_listed(serving, folder):
    many = folder / "many"
    many.mkdir()
    for number in range(1500):
        (many / f"{number}").touch()
    (folder / "empty").mkdir()

    async with with_sftp(serving) as (sftp, _):
        found = await sftp.names(b"many")
        assert set(found) == {b"%d" % number for number in range(1500)}
        assert pairs(found[b"7"])[b"ino@womm"] == os.stat(many / "7").st_ino
        assert await sftp.names(b"empty") == {}
        with fails(errno.ENOENT):
            await sftp.names(b"none")
        handle = await sftp.open56(b"many/7", READ, OPEN_EXISTING, NONE)
        with fails(errno.ENOTDIR):
            await sftp.readdir(handle)
        # Asked for several times at once: no entry twice.
        handle = await sftp.opendir(b"many")
        answers = await asyncio.gather(*(sftp.readdir(handle) for _ in range(6)), return_exceptions=True)
        names = [name.filename for answer in answers if isinstance(answer, tuple) for name in answer[0]]
        assert sorted(names) == sorted(found)


async def test_trees_are_listed_breadth_first_with_end_marks(serving, folder):
    (folder / "a/b").mkdir(parents=True)
    (folder / "c").mkdir()
    for name in ("f", "a/f", "a/b/f", "c/f", "c/g"):
        (folder / name).touch()
    (folder / "l").symlink_to("a")

    async with with_sftp(serving) as (sftp, _):
        entries, at_end = await sftp.tree(b"", 1000)
        names = [name for name, _ in entries]
        assert at_end
        assert set(names[:4]) == {b"a", b"c", b"f", b"l"} and names[4] == b"/."
        assert sorted(names[5:]) == sorted(
            [b"a/b", b"a/f", b"a/.", b"c/f", b"c/g", b"c/.", b"a/b/f", b"a/b/."]
        )
        assert names.index(b"a/.") > max(names.index(b"a/b"), names.index(b"a/f"))
        assert names[-2:] == [b"a/b/f", b"a/b/."]
        attrs = dict(entries)
        assert pairs(attrs[b"a/."])[b"ino@womm"] == os.stat(folder / "a").st_ino
        assert stat.S_ISLNK(mode_of(attrs[b"l"]))
        below, at_end = await sftp.tree(b"a", 1000)
        assert at_end and {name for name, _ in below} == {b"b", b"f", b"/.", b"b/f", b"b/."}
        for most in range(13):
            some, at_end = await sftp.tree(b"", most)
            assert [name for name, _ in some] == names[:most] and at_end == (most == 13)
        with fails(errno.ENOENT):
            await sftp.tree(b"none", 10)
        with fails(errno.ENOTDIR):
            await sftp.tree(b"f", 10)


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
