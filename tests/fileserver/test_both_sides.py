"""A file that the user changes while a job writes to it: no byte of either is lost without a word."""

import asyncio
import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fileserver.client import again, content, fails
from tests.fileserver.lazy import Lazy
from tests.soak import count
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.filesystem import Settings
from womm.nfs.status import NFSError, Status
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.versions import COPIES


def kept(top, name="f"):
    """What was kept of a file, in its order."""
    paths = sorted(top.glob(f"{name}.womm-share*"), key=lambda path: (len(path.name), path.name))
    return [path.read_bytes() for path in paths]


async def flushed(lazy):
    reply = await lazy.user.control.ask("flush")
    assert reply["ok"], reply


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("how", ["appends", "rewrites", "overwrites"])
async def test_what_the_user_writes_into_a_file_that_a_job_appends_to_is_kept(top, place, how, told):
    (top / "f").write_bytes(b"one\n")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_BOTH)
        await fs.write(file, 4, memoryview(b"job 1\n"), True)
        await flushed(lazy)
        if how == "appends":
            with open(top / "f", "ab") as user:
                user.write(b"user 1\n")
        elif how == "rewrites":
            (top / "f").write_bytes(b"zero\none\njob 1\nuser 1\n")
        else:
            with open(top / "f", "r+b") as user:
                user.write(b"ONE\n")
        users = (top / "f").read_bytes()
        if told:
            await lazy.user.control.ask("changed", paths=["f"])
            await fs.getattr(node, 1)  # another client looks at it
        await fs.write(file, 10, memoryview(b"job 2\n"), True)  # where this one thinks that it ends
        await flushed(lazy)
        assert kept(top) == [users]
        assert (top / "f").read_bytes()[10:16] == b"job 2\n"
        # From here on both know it.
        await fs.write(file, 16, memoryview(b"job 3\n"), True)
        await flushed(lazy)
        await fs.close(file)
        assert len(kept(top)) == 1
        assert await content(fs, node) == (top / "f").read_bytes()


async def test_file_that_only_jobs_write_to_or_that_was_changed_before_is_kept_nowhere(top, place):
    (top / "f").write_bytes(b"one\n")
    async with Lazy(top, place) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        for number in range(6):
            node = await fs.lookup(root, b"f")
            file = await fs.open(node, SHARE_BOTH)
            size = (await fs.getattr(node, 1)).size
            await fs.write(file, size, memoryview(b"job\n"), True)
            if number == 1:
                await fs.setattr(node, Settings(mode=0o600, mtime_ns=10**18), None)
            elif number == 2:
                await fs.rename(root, b"f", root, b"g")
                await fs.rename(root, b"g", root, b"f")
            elif number == 3:
                await lazy.cut()
                await lazy.connect()
            elif number == 4:
                await fs.setattr(node, Settings(size=3), file)
                await fs.write(file, 3, memoryview(b"\nmore\n"), False)
            await flushed(lazy)
            await fs.write(file, 0, memoryview(b"O"), False)
            await fs.close(file)
            await flushed(lazy)
            (top / "f").write_bytes((top / "f").read_bytes() + b"user\n")
            # Who opens it now sees that, told or not.
            if number % 2:
                await lazy.user.control.ask("changed", paths=["f"])
        node = await fs.lookup(root, b"f")
        file = await fs.open(node, SHARE_BOTH)
        (top / "f").rename(top / "moved")
        (top / "moved").chmod(0o640)
        await fs.write(file, 0, memoryview(b"0"), True)
        await flushed(lazy)
        await fs.close(file)
        assert (top / "moved").read_bytes().startswith(b"0")
        assert sorted(os.listdir(top)) == ["moved"]


@pytest.mark.parametrize("size", [0, 2])
async def test_file_that_a_job_cuts_is_kept_if_the_user_has_changed_it_since(top, place, size):
    (top / "f").write_bytes(b"one\n")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_BOTH)
        (top / "f").write_bytes(b"one\ntwo\n")
        await fs.setattr(node, Settings(size=size), file)
        await fs.close(file)
        assert kept(top) == [b"one\ntwo\n"]
        assert (top / "f").stat().st_size == size


@pytest.mark.parametrize("how", ["removes", "replaces"])
async def test_job_that_writes_to_a_file_that_the_user_takes_away_has_an_error(top, place, how):
    (top / "f").write_bytes(b"one\n")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_BOTH)
        if how == "removes":
            (top / "f").unlink()
        else:
            (top / "new").write_bytes(b"user\n")
            (top / "new").rename(top / "f")
        await fs.write(file, 4, memoryview(b"job\n"), True)
        reply = await lazy.user.control.ask("flush")
        assert reply["lost"] == ["f"]
        with pytest.raises((OSError, NFSError)):
            await fs.write(file, 8, memoryview(b"job\n"), True)
        await fs.close(file)
        assert how == "removes" or (top / "f").read_bytes() == b"user\n"


class NoRoom(ExportedFolder):
    """Nothing can be kept."""

    def __init__(self, fence):
        super().__init__(fence)
        real = fence.open_file

        def open_file(path, flags, *rest, **options):
            if b".womm-" in path and flags & os.O_CREAT:
                raise OSError(28, os.strerror(28))
            return real(path, flags, *rest, **options)

        fence.open_file = open_file


async def test_job_has_an_error_when_there_is_no_room_for_what_the_user_wrote(top, place):
    (top / "f").write_bytes(b"one\n")
    async with Lazy(top, place, export=NoRoom) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_BOTH)
        (top / "f").write_bytes(b"two\ntwo\n")
        await fs.write(file, 4, memoryview(b"job\n"), False)
        reply = await lazy.user.control.ask("flush")
        assert list(reply["failed"]) == ["f"]
        await fails(28, fs.commit(node, file))
        assert (top / "f").read_bytes() == b"two\ntwo\n"
        await fs.close(file)


async def test_copies_do_not_fill_the_disk(top, place):
    (top / "f").write_bytes(b"one\n")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_BOTH)
        for number in range(COPIES + 1):
            with open(top / "f", "ab") as user:
                user.write(b"%d\n" % number)
            await fs.write(file, 4, memoryview(b"job\n"), False)  # a stable one may hear of the refusal
            reply = await lazy.user.control.ask("flush")
            assert reply["ok"] == (number < COPIES)
        assert len(kept(top)) == COPIES
        await fs.close(file)


class OneThread(ExportedFolder):
    """What the user does in its thread, while the loop waits, is done at once: nothing comes in between.

    An editor that reads, waits and writes undoes what came meanwhile on any machine.
    """

    def __init__(self, fence):
        super().__init__(fence)
        self.pool.shutdown()
        self.pool = ThreadPoolExecutor(1)


class Pair:
    """A file, a user who changes it, and a job that appends to it; each line is one of its own."""

    def __init__(self, lazy, top, number, chance):
        self.lazy, self.fs, self.chance = lazy, lazy.fs, chance
        self.name = f"f{number}"
        self.path = top / self.name
        self.lines: list[bytes] = []
        self.error = False
        self.file: Any = None

    def line(self, who):
        self.lines.append(b"%s %d %d" % (who, len(self.lines), self.chance.randrange(10**9)))
        return self.lines[-1] + b"\n"

    async def open(self):
        async def look():
            return await self.fs.lookup(self.fs.root(), self.name.encode())

        async def open_():
            while True:
                try:
                    return await self.fs.open(await look(), SHARE_BOTH)
                except NFSError as exc:  # as the server does, see operations/opens.py
                    if exc.status is not Status.STALE:
                        raise

        self.file = await again(open_)
        self.end = (await again(lambda: self.fs.getattr(self.file.node, 1))).size

    async def job(self):
        """As a kernel does that appends: it knows the size from its open and its writes, or looks again."""
        if self.chance.random() < 0.3:
            self.end = (await again(lambda: self.fs.getattr(self.file.node, 1))).size
        data = self.line(b"job")
        try:
            sync = self.chance.random() < 0.5
            await again(lambda: self.fs.write(self.file, self.end, memoryview(data), sync))
            self.end += len(data)
        except (OSError, NFSError):
            self.error = True

    def user(self):
        how = self.chance.random()
        if how < 0.5:
            with open(self.path, "ab") as file:
                file.write(self.line(b"user"))
            return
        text = self.path.read_bytes()
        where = self.chance.choice([0, len(text)])
        text = text[:where] + self.line(b"user") + text[where:]
        if how < 0.9:
            self.path.write_bytes(text)
        else:
            new = self.path.with_name(self.name + ".new")
            new.write_bytes(text)
            new.rename(self.path)

    async def run(self):
        self.path.write_bytes(b"".join(self.line(b"user") for _ in range(self.chance.randrange(4))))
        await self.lazy.user.control.ask("changed", paths=[self.name])
        await self.open()
        for _ in range(self.chance.randrange(2, 12)):
            what = self.chance.random()
            if what < 0.4:
                await self.job()
            elif what < 0.7:
                self.lazy.user.export.pool.submit(self.user).result()
                if self.chance.random() < 0.5:
                    await self.lazy.user.control.ask("changed", paths=[self.name])
            elif what < 0.85:
                await self.flush()
            elif what < 0.9:
                await asyncio.sleep(self.chance.choice([0, 0.001, 0.25]))
            elif what < 0.91:
                await self.lazy.cut()
                await self.lazy.connect()
            else:
                await self.fs.close(self.file)
                await self.open()
        await self.fs.close(self.file)
        await self.flush()

    async def flush(self):
        reply = await self.lazy.user.control.ask("flush")
        if self.name in reply["lost"] or self.name in reply.get("failed", {}):
            self.error = True

    def missing(self):
        paths = [self.path, *self.path.parent.glob(self.name + ".womm-share*")]
        text = b"".join(path.read_bytes() for path in paths)
        return [
            line for line in self.lines if line not in text and not (self.error and line.startswith(b"job"))
        ]


async def test_no_line_of_either_side_is_lost_whatever_they_do(top, place):
    async with Lazy(top, place, export=OneThread) as lazy:
        errors = 0
        for number in range(count(20, 500)):
            pair = Pair(lazy, top, number, random.Random(number))
            await pair.run()
            assert pair.missing() == [], number
            errors += pair.error
        assert errors < number / 2
