"""What only the user's disk knows - sizes, names, quotas, a disk that is read-only - reaches the program."""

import asyncio
import errno
import logging
import os
import resource
import subprocess
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.fileserver.client import content, fails, make, names
from tests.fileserver.lazy import Lazy, failing_close
from womm.nfs.constants import SHARE_BOTH, SHARE_READ, SHARE_WRITE, FileType
from womm.nfs.filesystem import NOTHING, Settings
from womm.nfs.status import NFSError, Status
from womm.share.lazy.sftp_server.files import largest_size

root = pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs")


@contextmanager
def largest_file(size_bytes):
    """Meanwhile this process - the user's side, too - may write no larger files (ulimit -f)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def warnings(caplog):
    return [record for record in caplog.records if "cannot be written" in record.getMessage()]


# -- sizes --------------------------------------------------------------------------------------------


async def test_write_beyond_what_the_disk_takes_is_too_large_at_once(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        with open(top / "other", "wb") as other:
            limit = largest_size(other.fileno())
        file = await fs.open(await make(fs, b"f"), SHARE_BOTH)
        for offset in (limit, limit + 1, 1 << 50, (1 << 63) - 10):
            if offset >= limit:
                await fails(errno.EFBIG, fs.write(file, offset, memoryview(b"x" * 10), False))
        # What is below the limit is written: the rest is asked for again.
        if limit < 1 << 50:
            assert await fs.write(file, limit - 4, memoryview(b"0123456789"), False) == 4
        assert await fs.write(file, 0, memoryview(b"fine"), True) == 4
        assert (await lazy.user.control.ask("flush"))["ok"]
        with open(top / "f", "rb") as there:
            assert there.read(4) == b"fine"
            if limit < 1 << 50:
                there.seek(limit - 4)
                assert there.read() == b"0123"
        await fails(errno.EFBIG, fs.setattr(file.node, Settings(size=(1 << 63) - 1), file))
        await fs.close(file)


async def test_limit_of_the_users_process_is_known_before_the_first_write(top, place):
    with largest_file(8 << 20):
        async with Lazy(top, place) as lazy:
            fs = lazy.fs
            file = await fs.open(await make(fs, b"f"), SHARE_BOTH)
            await fails(errno.EFBIG, fs.write(file, 8 << 20, memoryview(b"x"), False))
            assert await fs.write(file, 0, memoryview(b"fine"), False) == 4
            await fs.close(file)
            assert (await lazy.user.control.ask("flush"))["ok"]
            assert (top / "f").read_bytes() == b"fine"


async def test_limit_that_was_not_known_is_told_once_and_what_it_refuses_is_given_up(top, place, caplog):
    caplog.set_level(logging.WARNING, "womm.fileserver")

    async with Lazy(top, place) as lazy:
        fs, control = lazy.fs, lazy.user.control
        node = await make(fs, b"f", b"before", sync=True)
        assert (await control.ask("flush"))["ok"]
        file = await fs.open(node, SHARE_BOTH)
        with largest_file(64 << 20):
            assert await fs.write(file, 1 << 30, memoryview(b"far"), False) == 3
            while lazy.contents.backlog.unsent_bytes:
                await asyncio.sleep(0.01)
            # Once to the writer, and to the task.
            await fails(errno.EFBIG, fs.commit(node, file))
            await fs.commit(node, file)
            reply = await control.ask("flush")
            assert (reply["ok"], reply["lost"]) == (False, ["f"])
            assert reply["failed"] == {"f": os.strerror(errno.EFBIG)}
            assert len(warnings(caplog)) == 1
            # The file is as the disk has it, and can be written where the disk takes it.
            assert (await fs.getattr(node, 4)).size == 6
            assert await content(fs, node) == b"before"
            assert await fs.write(file, 6, memoryview(b" after"), True) == 6
            assert (await control.ask("flush", seen=reply["id"]))["ok"]
            assert (top / "f").read_bytes() == b"before after"
        await fs.close(file)


async def test_what_the_disk_takes_of_a_file_is_kept_when_it_refuses_the_rest(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        await make(fs, b"other", b"x")  # now the limit is known that is no longer true
        file = await fs.open(await make(fs, b"f"), SHARE_BOTH)
        with largest_file(1 << 20):
            for number in range(3):
                await fs.write(file, number << 20, memoryview(b"%d" % number * 4096), False)
            with pytest.raises(OSError) as caught:
                await fs.commit(file.node, file)
                await lazy.contents.flusher.settle(file.node)
            assert caught.value.errno == errno.EFBIG
        await fs.close(file)
        assert (top / "f").read_bytes() == b"0" * 4096


# -- quotas -------------------------------------------------------------------------------------------
async def test_programs_wait_for_the_users_side_while_it_refuses_files(top, place, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "womm.fileserver")

    async with Lazy(top, place) as lazy:
        fs, control = lazy.fs, lazy.user.control
        with failing_close(monkeypatch, top / "f", errno.EDQUOT):
            with suppress(OSError):  # who is quick enough hears nothing: nobody knew
                await make(fs, b"f", b"y" * 1000, sync=True)
            assert (await control.ask("flush"))["failed"] == {"f": os.strerror(errno.EDQUOT)}
            with failing_close(monkeypatch, top / "g", errno.EDQUOT):
                file = await fs.open(await make(fs, b"g"), SHARE_WRITE)
                await fs.write(file, 0, memoryview(b"z"), False)
                await fails(errno.EDQUOT, fs.commit(file.node, file))
                await fails(errno.EDQUOT, fs.write(file, 1, memoryview(b"z"), False))
                await fs.close(file)
            # One that is taken is no error, and waits no longer than it is on its way.
            other = await make(fs, b"h", b"x", sync=True)
            await fs.commit(other, None)
            assert (top / "h").read_bytes() == b"x"
        assert (await control.ask("flush"))["ok"]
        assert ((top / "f").stat().st_size, (top / "g").read_bytes()) == (1000, b"z")
        # It is not said again with each try.
        assert len(warnings(caplog)) == 2
        # From now on nobody waits: the answer comes from the pod's own disk.
        assert repr(lazy.contents.refusals) == "<Refusals of 0 files>"


@root
async def test_small_disk_is_full_for_the_writer_and_takes_the_rest_when_it_is_mended(full, place):
    async with Lazy(full, place) as lazy:
        fs = lazy.fs
        (full / "hog").write_bytes(bytes(3_500_000))
        file = await fs.open(await make(fs, b"f"), SHARE_WRITE)
        await fails(errno.ENOSPC, fs.write(file, 0, memoryview(bytes(1 << 20)), False))
        (full / "hog").unlink()
        assert await fs.write(file, 0, memoryview(bytes(1 << 20)), False) == 1 << 20
        await fs.close(file)
        assert (await lazy.user.control.ask("flush"))["ok"]


@root
async def test_disk_without_inodes_refuses_what_is_made(top, place):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=4", "tmpfs", top], check=True)

    try:
        async with Lazy(top, place) as lazy:
            fs = lazy.fs
            for number in range(3):
                await make(fs, b"%d" % number)
            await fails(errno.ENOSPC, make(fs, b"more"))
            await fails(errno.ENOSPC, fs.mkdir(fs.root(), b"more", NOTHING))
            await fails(errno.ENOSPC, fs.symlink(fs.root(), b"more", b"x" * 200, NOTHING))
            assert await names(fs) == [b"0", b"1", b"2"]
    finally:
        subprocess.run(["umount", top], check=True)


# -- a disk that becomes read-only ----------------------------------------------------------------------
@root
async def test_disk_that_is_read_only_refuses_the_open(full, place):
    async with Lazy(full, place) as lazy:
        fs, top = lazy.fs, lazy.fs.root()
        node = await make(fs, b"f", b"x")
        assert (await lazy.user.control.ask("flush"))["ok"]
        subprocess.run(["mount", "-o", "remount,ro", full], check=True)
        for work in (
            fs.open(node, SHARE_WRITE),
            make(fs, b"g"),
            fs.mkdir(top, b"d", NOTHING),
            fs.symlink(top, b"l", b"f", NOTHING),
            fs.link(node, top, b"h"),
            fs.remove(top, b"f"),
            fs.rename(top, b"f", top, b"g"),
            fs.setattr(node, Settings(mode=0o600), None),
            fs.setattr(node, Settings(size=0), None),
        ):
            await fails(errno.EROFS, work)
        file = await fs.open(node, SHARE_READ)
        assert (await fs.read(file, 0, 10))[0] == b"x"
        await fs.close(file)
        subprocess.run(["mount", "-o", "remount,rw", full], check=True)
        await fs.close(await fs.open(node, SHARE_WRITE))


# -- names --------------------------------------------------------------------------------------------
async def test_names_and_paths_that_are_too_long_are_refused_when_they_are_made(top, place):
    async with Lazy(top, place) as lazy:
        fs, above = lazy.fs, lazy.fs.root()
        long = b"n" * 256
        node = await make(fs, b"f")
        for work in (
            make(fs, long),
            fs.mkdir(above, long, NOTHING),
            fs.symlink(above, long, b"f", NOTHING),
            fs.mknod(above, long, FileType.FIFO, (0, 0), NOTHING),
            fs.link(node, above, long),
            fs.rename(above, b"f", above, long),
            fs.symlink(above, b"l", b"t" * 5000, NOTHING),
        ):
            await fails(errno.ENAMETOOLONG, work)
        # As deep as paths go there, and no error later than at the name that is too much.
        directory, depth = above, 0
        with pytest.raises((OSError, NFSError)) as caught:
            while depth < 40:
                directory, _ = await fs.mkdir(directory, b"d" * 255, NOTHING)
                file = await fs.open(await make(fs, b"f", b"%d" % depth, directory), SHARE_WRITE)
                await fs.commit(file.node, file)
                await fs.close(file)
                depth += 1
        error: Any = caught.value
        assert (error.status if isinstance(error, NFSError) else error.errno) in (
            errno.ENAMETOOLONG,
            Status.NAMETOOLONG,
        )
        assert depth >= 15
        assert (await lazy.user.control.ask("flush"))["ok"]
        assert lazy.contents.backlog.unsent_bytes == 0
