"""The lazy backend and a user's side over a real SSH connection: what is fresh, what is sent, and faults."""

import asyncio
import contextlib
import os
import random
import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.fileserver.client import again, content, fails, make, names
from tests.fileserver.lazy import KEYS, Lazy, UserSide, write_secret
from womm.fileserver.connection import UserLink
from womm.fileserver.listener import Keys, Listener
from womm.nfs.constants import SHARE_BOTH, SHARE_READ, SHARE_WRITE
from womm.nfs.filesystem import NOTHING, NOW, Settings
from womm.nfs.status import NFSError, Status
from womm.share.lazy.ssh import TaskKeys


# -- fresh --------------------------------------------------------------------------------------------
async def test_change_on_the_users_side_is_seen_once_it_is_told(top, place):
    (top / "f").write_bytes(b"old")
    (top / "gone").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        assert await content(fs, node) == b"old"
        assert await names(fs) == [b"f", b"gone"]
        change, above = (await fs.getattr(node, 1)).change, (await fs.getattr(fs.root(), 1)).change
        stat = os.stat(top / "f")
        with open(top / "f", "r+b") as file:
            file.write(b"new")
        os.utime(top / "f", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        (top / "gone").unlink()
        (top / "made").mkdir()
        (top / "made" / "below").write_bytes(b"y")
        paths = ["f", "gone", "made", "made/below"]
        assert (await lazy.user.control.ask("changed", paths=paths, all=False))["ok"]
        assert (await fs.getattr(node, 1)).change > change
        assert (await fs.getattr(fs.root(), 1)).change > above
        assert await content(fs, node) == b"new"
        await fails(Status.NOENT, fs.lookup(fs.root(), b"gone"))
        made = await fs.lookup(fs.root(), b"made")
        assert await content(fs, await fs.lookup(made, b"below")) == b"y"
        assert await names(fs) == [b"f", b"made"]


async def test_what_is_known_is_answered_without_a_round_trip(top, place):
    for number in range(20):
        (top / f"f{number}").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        await names(fs)
        session = lazy.link.session()
        before = session.sent_requests
        for number in range(20):
            node = await fs.lookup(fs.root(), b"f%d" % number)
            await fs.getattr(node, 1)
            await fails(Status.NOENT, fs.lookup(fs.root(), b"none%d" % number))
        await names(fs)
        assert session.sent_requests == before


async def test_walk_over_many_directories_takes_a_few_round_trips(top, place):
    for number in range(60):
        (top / f"d{number}" / "e").mkdir(parents=True)
        (top / f"d{number}" / "e" / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        session = lazy.link.session()
        before = session.sent_requests

        async def walk(node):
            found = 0
            for name in await names(fs, node):
                child = await fs.lookup(node, name)
                found += 1 + (await walk(child) if child.directory is not None else 0)
            return found

        assert await walk(fs.root()) == 180
        assert session.sent_requests - before < 30


async def test_directory_that_was_moved_keeps_its_handles(top, place):
    (top / "d" / "e").mkdir(parents=True)
    (top / "d" / "e" / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(await fs.lookup(await fs.lookup(fs.root(), b"d"), b"e"), b"f")
        (top / "d").rename(top / "moved")
        await lazy.user.control.ask("changed", paths=["d", "moved"])
        assert await names(fs) == [b"moved"]
        assert await content(fs, await fs.resolve(node.key)) == b"x"


# -- reading ------------------------------------------------------------------------------------------
async def test_many_readers_of_one_file_fetch_it_once(top, place):
    data = os.urandom(6 << 20)
    (top / "f").write_bytes(data)
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        before = lazy.link.received_bytes
        found = await asyncio.gather(*(content(fs, node) for _ in range(8)))
        assert all(one == data for one in found)
        assert lazy.link.received_bytes - before <= 1.05 * len(data)


async def test_blocks_that_left_memory_come_from_the_pods_disk(top, place):
    data = os.urandom(4 << 20)
    (top / "f").write_bytes(data)
    async with Lazy(top, place, memory_bytes=1 << 20) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        assert await content(fs, node) == data
        before = lazy.link.received_bytes
        assert await content(fs, node) == data
        assert lazy.link.received_bytes == before


async def test_only_what_is_read_again_counts_as_from_the_cache(top, place):
    """A file in two parts, and in small pieces: ahead of the reads, or with a block, it is fetched once."""

    size, piece = (5 << 20) + 12345, 100_000
    (top / "f").write_bytes(os.urandom(size))
    async with Lazy(top, place) as lazy:
        fs, counted = lazy.fs, lambda: lazy.contents.fetcher.from_cache
        node = await fs.lookup(fs.root(), b"f")
        for first, last in ((0, size // 2), (size // 2, size)):
            file = await fs.open(node, SHARE_READ)
            for offset in range(first, last, piece):
                await fs.read(file, offset, min(piece, last - offset))
            await fs.close(file)
        assert counted() == 0
        assert lazy.link.received_bytes >= size
        assert len(await content(fs, node)) == size
        assert counted() == size
        assert lazy.link.received_bytes < 1.1 * size


async def test_file_that_is_rewritten_while_it_is_read_is_never_a_mix(top, place):
    size = 3 << 20
    (top / "f").write_bytes(b"a" * size)
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_READ)
        assert (await fs.read(file, 0, 4096))[0] == b"a" * 4096
        (top / "f").write_bytes(b"b" * (size - 5))
        offset, parts = 1 << 20, []
        while offset < size - 5:
            data, _ = await fs.read(file, offset, 1 << 18)
            parts.append(data)
            offset += len(data)
        # The first block was read before; what is fetched now is all of one version.
        seen = {part[:1] for part in parts}
        assert seen == {b"b"} or await content(fs, node) == b"b" * (size - 5)
        assert await content(fs, node) == b"b" * (size - 5)
        (top / "g").write_bytes(b"c" * size)
        (top / "g").rename(top / "f")
        lazy.blocks.drop(node.fileid)
        with contextlib.suppress(NFSError):
            assert set((await fs.read(file, 0, 1 << 20))[0]) != {ord("b")}
        await fs.close(file)


async def test_file_that_grows_all_the_time_can_be_read(top, place):
    (top / "f").write_bytes(bytes(100_000))
    end = threading.Event()

    def grow():
        with open(top / "f", "ab", buffering=0) as file:
            while not end.is_set():
                file.write(b"x" * 10)

    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        file = await fs.open(await fs.lookup(fs.root(), b"f"), SHARE_READ)
        thread = threading.Thread(target=grow)
        thread.start()
        try:
            for _ in range(20):
                data, _ = await fs.read(file, 50_000, 60_000)
                assert data[:50_000] == bytes(50_000)
                assert set(data[50_000:]) <= {ord("x")}
        finally:
            end.set()
            thread.join()
        await fs.close(file)


# -- writing ------------------------------------------------------------------------------------------
async def test_written_bytes_are_on_the_users_disk_soon_with_their_time(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        data = os.urandom(700_000)
        node = await make(fs, b"f", data)
        assert await content(fs, node) == data
        told = (await fs.getattr(node, 1)).mtime_ns
        async with asyncio.timeout(3):
            while lazy.contents.backlog.unsent_bytes or (top / "f").stat().st_size != len(data):
                await asyncio.sleep(0.01)
        assert (top / "f").read_bytes() == data
        assert os.stat(top / "f").st_mtime_ns == told
        await lazy.contents.flusher.flush()
        before = lazy.link.received_bytes
        assert await content(fs, node) == data
        assert lazy.link.received_bytes - before < 1000, "what was written is in the cache"


async def test_time_that_was_set_survives_the_flush(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"content")
        await fs.setattr(node, Settings(mtime_ns=1_234_567_890), None)
        assert (await lazy.user.control.ask("flush"))["ok"]
        assert os.stat(top / "f").st_mtime_ns == 1_234_567_890
        await fs.setattr(node, Settings(mtime_ns=NOW), None)
        assert os.stat(top / "f").st_mtime_ns > 1_234_567_890


async def test_random_writes_reads_and_cuts_of_a_file_are_as_in_memory(top, place):
    chance = random.Random(4)
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f")
        file = await fs.open(node, SHARE_BOTH)
        model = bytearray()
        for _ in range(300):
            what = chance.random()
            offset = chance.randrange(1_500_000)
            if what < 0.5:
                data = chance.randbytes(chance.choice([1, 100, 4096, 70_000, 300_000]))
                model += bytes(max(0, offset - len(model)))
                model[offset : offset + len(data)] = data
                await fs.write(file, offset, memoryview(data), False)
            elif what < 0.85:
                count = chance.choice([10, 5000, 600_000])
                assert (await fs.read(file, offset, count))[0] == bytes(model[offset : offset + count])
            elif what < 0.9:
                size = chance.choice([0, offset, len(model)])
                model += bytes(max(0, size - len(model)))
                del model[size:]
                await fs.setattr(node, Settings(size=size), file)
            elif what < 0.95:
                await fs.commit(node, file)
            else:
                await lazy.contents.flusher.flush()
                assert (top / "f").read_bytes() == bytes(model)
            assert (await fs.getattr(node, 1)).size == len(model)
        await fs.close(file)
        await lazy.contents.flusher.flush()
        assert (top / "f").read_bytes() == bytes(model)
        assert lazy.contents.backlog.unsent_bytes == 0
        assert not any(path.stat().st_size for path in (place / "state" / "spool").iterdir())


async def test_rename_waits_for_the_bytes_of_its_file(top, place):
    (top / "config").write_bytes(b"old")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        await make(fs, b"tmp", b"new" * 100_000)
        await fs.rename(fs.root(), b"tmp", fs.root(), b"config")
        assert (top / "config").read_bytes() == b"new" * 100_000


async def test_file_of_mode_0444_is_written_and_one_of_others_is_not(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        _node, file, _, _ = await fs.create(
            fs.root(), b"f", Settings(mode=0o444), verifier=None, exclusive=True, access=SHARE_WRITE
        )
        await lazy.cut()
        await lazy.connect()
        await fs.write(file, 0, memoryview(b"x"), True)
        await fs.close(file)
        await lazy.contents.flusher.flush()
        assert (top / "f").read_bytes() == b"x"
        assert os.stat(top / "f").st_mode & 0o777 == 0o444


# -- cut links ----------------------------------------------------------------------------------------
async def test_without_a_link_what_is_cached_is_served_and_writes_wait_in_the_log(top, place):
    (top / "f").write_bytes(b"cached")
    (top / "g").write_bytes(b"not")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        other = await fs.lookup(fs.root(), b"g")
        assert await content(fs, node) == b"cached"
        file = await fs.open(node, SHARE_BOTH)
        await lazy.cut()
        assert (await fs.read(file, 0, 100))[0] == b"cached"
        await fails(Status.DELAY, content(fs, other))
        await fails(Status.DELAY, make(fs, b"new"))
        await fails(Status.DELAY, fs.remove(fs.root(), b"f"))
        await fs.write(file, 0, memoryview(b"CUT"), True)
        await fs.commit(node, file)
        assert (await fs.read(file, 0, 100))[0] == b"CUThed"
        assert (top / "f").read_bytes() == b"cached"
        await lazy.connect()
        await lazy.contents.flusher.flush()
        assert (top / "f").read_bytes() == b"CUThed"
        assert await content(fs, other) == b"not"
        await fs.close(file)


async def test_change_while_the_link_is_cut_is_seen_after_it(top, place):
    (top / "f").write_bytes(b"old")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        assert await content(fs, node) == b"old"
        await names(fs)
        await lazy.cut()
        (top / "f").write_bytes(b"newer")
        (top / "g").write_bytes(b"g")
        await lazy.connect()
        assert await content(fs, node) == b"newer"
        assert await names(fs) == [b"f", b"g"]


async def test_changes_of_names_happen_once_however_often_the_link_is_cut(top, place):
    chance = random.Random(4)
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        root = fs.root()
        target = await make(fs, b"target", b"t")
        kinds = {
            "create": lambda n: fs.create(
                root, n, NOTHING, verifier=b"12345678", exclusive=True, access=SHARE_BOTH
            ),
            "mkdir": lambda n: fs.mkdir(root, n, NOTHING),
            "symlink": lambda n: fs.symlink(root, n, b"to", NOTHING),
            "link": lambda n: fs.link(target, root, n),
            "rename": lambda n: fs.rename(root, n, root, n + b"-moved"),
            "remove": lambda n: fs.remove(root, n),
        }
        for number in range(48):
            kind = list(kinds)[number % len(kinds)]
            name = b"n%d" % number
            if kind in ("rename", "remove"):
                await again(lambda name=name: make(fs, name, b"x"))
                await lazy.contents.flusher.flush()
            task = asyncio.ensure_future(kinds[kind](name))
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            await lazy.user.cut()
            found: Any = (await asyncio.gather(task, return_exceptions=True))[0]
            while lazy.link.up:
                await asyncio.sleep(0.01)
            await lazy.connect()
            if isinstance(found, NFSError):
                assert found.status is Status.DELAY
                found = await again(lambda kind=kind, name=name: kinds[kind](name))
            if kind == "create":
                await fs.close(found[1])
            there = os.path.lexists(top / os.fsdecode(name))
            assert there == (kind not in ("rename", "remove")), (kind, number)
            if kind == "rename":
                assert (top / os.fsdecode(name + b"-moved")).read_bytes() == b"x"


async def test_newer_connection_replaces_the_older(top, place):
    (top / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        old = lazy.user.connection
        await lazy.connect()
        await asyncio.wait_for(old.lost.wait(), 10)
        assert await names(lazy.fs) == [b"f"]
        assert lazy.link.connections == 2


async def test_user_side_with_another_key_is_refused(top, place):
    lines: list[object] = []
    link = UserLink()
    listener = Listener(
        place / "share",
        Keys(write_secret(place / "secret")),
        link,
        connected=lines.append,
        received=lambda *_: None,
        lost=lambda: lines.append("lost"),
    )
    await listener.start()
    other = TaskKeys.make()
    mixed = replace(other, client_private=KEYS.client_private, client_public=KEYS.client_public)
    user = UserSide(top, mixed)
    with pytest.raises((OSError, asyncio.TimeoutError)):
        await user.dial(place / "share")
    assert not link.up
    assert not lines
    await user.cut()
    user.close()
    await listener.stop()
