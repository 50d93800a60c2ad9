"""The lazy file server ends and begins again: on its disk, or on an empty one."""

import asyncio
import contextlib
import os
import subprocess

import pytest

from tests.fileserver.client import again, content, fails, make, names
from tests.fileserver.lazy import Lazy, UserSide, descriptors
from womm.fileserver.tree.table import Table
from womm.nfs.constants import SHARE_BOTH, SHARE_WRITE
from womm.nfs.status import Status


async def test_restart_keeps_handles_and_sends_what_was_committed(top, place):
    (top / "d").mkdir()
    (top / "d" / "f").write_bytes(b"0123456789")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        above = await fs.lookup(fs.root(), b"d")
        node = await fs.lookup(above, b"f")
        change = (await fs.getattr(node, 1)).change
        file = await fs.open(node, SHARE_BOTH)
        await lazy.cut()
        await fs.write(file, 5, memoryview(b"written after the cut"), False)
        await fs.write(file, 2, memoryview(b"AB"), True)
        database_id = lazy.table.database_id
    assert (top / "d" / "f").read_bytes() == b"0123456789"
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        assert lazy.table.database_id == database_id
        again_node = await fs.resolve(node.key)
        assert again_node.key == node.key
        assert (await fs.resolve(above.key)).kind == above.kind
        assert await content(fs, again_node) == b"01AB4written after the cut"
        assert (await fs.getattr(again_node, 1)).change > change
        await lazy.contents.flusher.flush()
        assert (top / "d" / "f").read_bytes() == b"01AB4written after the cut"
        assert not any(path.stat().st_size for path in (place / "state" / "spool").iterdir())


async def test_handles_outlive_the_disk_and_no_number_is_given_twice(top, place):
    """Bytes that were not sent are gone; the user's side gives back the names that the server knew."""

    (top / "d").mkdir()
    (top / "d" / "f").write_bytes(b"0123456789")
    known: dict[bytes, bytes] = {}
    gone: set[bytes] = set()
    change, user = 0, UserSide(top)
    for life in range(4):
        async with Lazy(top, place / f"disk{life}", user=user) as lazy:
            fs = lazy.fs
            for path, key in known.items():
                node = await fs.resolve(key)
                assert node.path() == path
                assert (await fs.getattr(node, 1)).change > change
            for key in gone:
                await fails(Status.STALE, fs.resolve(key))
            above = await fs.lookup(fs.root(), b"d")
            assert await content(fs, await fs.lookup(above, b"f")) == b"0123456789"
            made = [await make(fs, b"new%d.%d" % (life, number)) for number in range(3)]
            await fs.rename(fs.root(), made[1].path(), above, b"moved%d" % life)
            await fs.remove(fs.root(), made[2].path())
            for node in (above, *above.directory.entries.values(), *made[:2]):
                assert node.key not in gone and known.get(node.path(), node.key) == node.key
                known[node.path()] = node.key
            gone.add(made[2].key)
            change = (await fs.getattr(made[1], 1)).change
            if life == 1:  # its container starts again: all is told anew
                await lazy.cut()
            else:
                assert (await lazy.user.control.ask("flush"))["ok"]
        if life == 1:
            async with Lazy(top, place / f"disk{life}", user=user) as lazy:
                assert (await lazy.fs.resolve(made[1].key)).path() == b"d/moved1"
                assert (await lazy.user.control.ask("flush"))["ok"]
    assert len(set(known.values())) == len(known) == 2 + 2 * 4
    user.close()


async def test_server_without_names_tells_clients_to_wait_until_it_has_them(top, place):
    (top / "d").mkdir()
    user = UserSide(top)
    async with Lazy(top, place / "one", user=user) as lazy:
        node = await lazy.fs.lookup(lazy.fs.root(), b"d")
        assert (await user.control.ask("flush"))["ok"]
    async with Lazy(top, place / "two", user=user, connects=False) as lazy:
        fs = lazy.fs
        await fails(Status.DELAY, fs.resolve(node.key))
        await fails(Status.DELAY, fs.lookup(fs.root(), b"d"))
        await fails(Status.DELAY, fs.getattr(fs.root(), 1))
        user.gives = False
        await user.dial(lazy.socket)
        assert not lazy.link.up
        await fails(Status.DELAY, fs.resolve(node.key))
        await fails(Status.DELAY, fs.lookup(fs.root(), b"d"))
        user.control.hand_over()
        assert (await user.control.ask("flush"))["ok"]
        assert (await fs.lookup(fs.root(), b"d")).key == node.key
    user.close()


async def test_numbers_of_files_are_the_users_inodes_over_a_restart(top, place):
    """Else what programs have noted here of files (git's index) would be worth nothing in a pod."""

    async def numbers(fs):
        found = {}
        for name in await names(fs):
            found[name] = (await fs.getattr(await fs.lookup(fs.root(), name), 1)).fileid
        return found

    (top / "d").mkdir()
    (top / "f").write_bytes(b"x")
    user = UserSide(top)
    async with Lazy(top, place / "one", user=user) as lazy:
        made = await make(lazy.fs, b"made")
        assert (await lazy.user.control.ask("flush"))["ok"]
        inodes = {os.fsencode(entry.name): entry.inode() for entry in os.scandir(top)}
        assert await numbers(lazy.fs) == inodes
    for disk in ("one", "one", "two"):  # its container starts again; its disk is lost
        async with Lazy(top, place / disk, user=user) as lazy:
            assert (await lazy.fs.getattr(await lazy.fs.resolve(made.key), 1)).fileid == inodes[b"made"]
            assert await numbers(lazy.fs) == inodes
            assert (await lazy.user.control.ask("flush"))["ok"]
    user.close()


async def test_numbers_of_files_below_another_mount_are_our_own(top, place):
    (top / "f").write_bytes(b"x")
    table = Table(place / "state")
    table.know_dev(top.stat().st_dev + 1)
    table.close()
    async with Lazy(top, place) as lazy:
        node = await lazy.fs.lookup(lazy.fs.root(), b"f")
        number = (await lazy.fs.getattr(node, 1)).fileid
        assert number >= 1 << 63
    async with Lazy(top, place) as lazy:
        assert (await lazy.fs.getattr(await lazy.fs.resolve(node.key), 1)).fileid == number


async def test_rename_under_which_the_server_ended_is_found_done(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"old", b"content")
        await lazy.contents.flusher.flush()
        # As a server leaves it that is killed before it has read the reply.
        stat = os.stat(top / "old")
        lazy.table.doubt(repr(("rename", 1, b"old", 1, b"new")), f"{stat.st_dev}:{stat.st_ino}")
        lazy.table.doubt(repr(("remove", 1, b"gone")), "")
    (top / "old").rename(top / "new")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        await fs.rename(fs.root(), b"old", fs.root(), b"new")
        assert await content(fs, await fs.resolve(node.key)) == b"content"
        await fs.remove(fs.root(), b"gone")
        await fails(Status.NOENT, fs.remove(fs.root(), b"gone"))
        await fails(Status.NOENT, fs.rename(fs.root(), b"old", fs.root(), b"new"))
        assert lazy.table.doubts() == []


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs")
async def test_names_that_the_pods_full_disk_did_not_take_are_written_when_there_is_room(top, place):
    def fill(hog):
        with contextlib.suppress(OSError):
            hog.write_bytes(bytes(4 << 20))

    (place / "state").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place / "state"], check=True)
    try:
        user = UserSide(top)
        for number in range(300):
            (top / f"old{number}").write_bytes(b"old")
        hog = place / "state" / "hog"
        async with Lazy(top, place, user=user) as lazy:
            fs = lazy.fs
            fill(hog)
            await fails(Status.DELAY, names(fs))  # nobody hears of a file whose number is not written
            await fails(Status.DELAY, make(fs, b"new"))
            hog.unlink()
            # It was made and is in doubt: whoever repeats it has made it.
            made = await again(lambda: make(fs, b"new"))
            async with asyncio.timeout(10):
                while descriptors(top / "new"):
                    await asyncio.sleep(0.01)
            found = await fs.lookup(fs.root(), b"old7")
            files = [await fs.open(node, SHARE_WRITE) for node in (found, made)]
            await lazy.cut()
            for file in files:
                await fs.write(file, 0, memoryview(b"written"), True)
                await fs.close(file)
        async with Lazy(top, place, user=user) as lazy:
            assert (await lazy.user.control.ask("flush"))["ok"]
            assert (top / "old7").read_bytes() == (top / "new").read_bytes() == b"written"
            for old in (found, made):
                assert (await lazy.fs.resolve(old.key)).key == old.key
        user.close()
    finally:
        subprocess.run(["umount", place / "state"], check=True)
