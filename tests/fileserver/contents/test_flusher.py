"""What jobs wrote on its way to the user's folder: over links that are cut, beside the user's own changes."""

import asyncio
import errno
import os
import random
import subprocess
from contextlib import asynccontextmanager, suppress

import pytest

from tests.fileserver.client import content, fails, make, names
from tests.fileserver.lazy import Lazy, failing_close, run
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.nfs.constants import SHARE_BOTH, SHARE_WRITE
from womm.nfs.status import NFSError, Status

# ---- beside the user's changes


@pytest.mark.parametrize("how", ["told", "cut", "seen by nobody"])
async def test_blocks_that_were_read_before_the_user_changed_a_file_with_unsent_bytes_are_not_read_again(
    top, place, how
):
    (top / "f").write_bytes(b"A" * (4 * BLOCK_BYTES))

    def change():
        with open(top / "f", "r+b") as file:
            file.seek(2 * BLOCK_BYTES)
            file.write(b"USER")

    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        assert await content(fs, node) == b"A" * (4 * BLOCK_BYTES)
        file = await fs.open(node, SHARE_BOTH)
        if how == "cut":
            await lazy.cut()
        await fs.write(file, 0, memoryview(b"J" * 10), False)
        change()
        if how == "told":
            await lazy.user.control.ask("changed", paths=["f"], all=False)
        elif how == "cut":
            await lazy.connect()
        await fs.close(file)
        assert (await lazy.user.control.ask("flush"))["ok"]
        now = (top / "f").read_bytes()
        assert (now[:10], now[2 * BLOCK_BYTES :][:4]) == (b"J" * 10, b"USER")
        assert await content(fs, node) == now


@pytest.mark.parametrize("what", ["file", "directory"])
async def test_what_was_committed_follows_what_the_user_renames_while_the_link_is_cut(top, place, what):
    (top / "runs").mkdir()

    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        runs = await fs.lookup(fs.root(), b"runs")
        node = await make(fs, b"out", b"x" * 10, directory=runs, sync=True)
        assert (await lazy.user.control.ask("flush"))["ok"]
        await lazy.cut()
        file = await fs.open(node, SHARE_BOTH)
        await fs.write(file, 10, memoryview(b"more"), True)
        if what == "file":
            (top / "runs/out").rename(top / "runs/monday")
        else:
            (top / "runs").rename(top / "monday")
        await lazy.connect()
        # As soon as it is back somebody looks, and finds the old name gone.
        await names(fs)
        assert (await lazy.user.control.ask("flush"))["ok"]
        await fs.close(file)
        now = top / ("runs/monday" if what == "file" else "monday/out")
        assert now.read_bytes() == b"x" * 10 + b"more"
        assert lazy.contents.backlog.unsent_bytes == 0


async def test_nothing_is_written_to_a_file_that_may_only_have_got_the_inode(top, place):
    """A number of a removed file is soon another's. This one differs from what was seen last."""

    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"out", b"x" * 10, sync=True)
        assert (await lazy.user.control.ask("flush"))["ok"]
        await names(fs)
        await lazy.cut()
        file = await fs.open(node, SHARE_BOTH)
        await fs.write(file, 0, memoryview(b"JOB"), True)
        (top / "out").rename(top / "notes")
        (top / "notes").write_bytes(b"the user's own text")
        await lazy.connect()
        assert await names(fs) == [b"notes"]
        reply = await lazy.user.control.ask("flush")
        assert reply["lost"] == ["out"] and reply["failed"] == {"out": os.strerror(errno.ESTALE)}
        assert (top / "notes").read_bytes() == b"the user's own text"
        await fs.close(file)


# ---- links


@asynccontextmanager
async def carrying(path, target, limit_bytes):
    """A socket behind which each connection is cut once it has carried so much to who connects."""
    loops: set[asyncio.Task[object]] = set()

    async def pump(reader, writer, limit):
        while data := await reader.read(65536):
            limit -= len(data)
            if limit < 0:
                return
            writer.write(data)
            await writer.drain()

    async def serve(reader, writer):
        task = asyncio.current_task()
        assert task is not None
        loops.add(task)
        to_reader, to_writer = await asyncio.open_unix_connection(str(target))
        ways = pump(reader, to_writer, 1 << 60), pump(to_reader, writer, limit_bytes)
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()
            to_writer.transport.abort()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield
    finally:
        server.close()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def test_file_that_is_larger_than_what_any_connection_carries_gets_there(top, place):
    data = random.Random(1).randbytes(12 << 20)

    async def work():
        async with Lazy(top, place) as lazy:
            fs = lazy.fs
            node = await make(fs, b"f")
            await lazy.contents.flusher.flush()
            await lazy.cut()
            file = await fs.open(node, SHARE_BOTH)
            for offset in range(0, len(data), 1 << 20):
                await fs.write(file, offset, memoryview(data)[offset : offset + (1 << 20)], False)
            await fs.close(file)
            async with carrying(place / "cut", lazy.socket, 5 << 20):
                while lazy.contents.backlog.unsent_bytes:
                    await lazy.user.dial(place / "cut")
                    with suppress(NFSError):  # cut
                        assert await content(fs, node) == data
                    while lazy.link.up and lazy.contents.backlog.unsent_bytes:
                        await asyncio.sleep(0.01)
                    await lazy.user.cut()
            await lazy.connect()
            assert (await lazy.user.control.ask("flush"))["ok"]
            assert (top / "f").read_bytes() == data
            assert await content(fs, node) == data

    run(work)


# ---- room


async def test_writers_are_refused_and_do_not_wait_when_only_what_fails_fills_the_logs(full, place):
    async with Lazy(full, place, log_bytes=1 << 20) as lazy:
        fs = lazy.fs
        failing, other = [await fs.open(await make(fs, name), SHARE_BOTH) for name in (b"a", b"b")]
        await lazy.contents.disk.space(now=True)
        (full / "hog").write_bytes(bytes(3_500_000))
        with suppress(OSError):
            await fs.write(failing, 0, memoryview(bytes(1_000_000)), True)
        while failing.node.use.error is None:
            await asyncio.sleep(0.01)
        for file in (failing, other):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                await fs.write(file, 0, memoryview(bytes(100_000)), False)
        (full / "hog").unlink()
        assert (await lazy.user.control.ask("flush"))["ok"]
        await fs.write(other, 0, memoryview(bytes(100_000)), True)
        for file in (failing, other):
            await fs.close(file)


async def test_what_is_written_again_and_again_while_the_link_is_cut_fills_no_disk(top, place):
    async with Lazy(top, place, log_bytes=4 << 20) as lazy:
        fs = lazy.fs
        file = await fs.open(await make(fs, b"f"), SHARE_BOTH)
        await lazy.contents.flusher.flush()
        await lazy.cut()
        with pytest.raises(NFSError) as raised:
            for number in range(100):
                await fs.write(file, 0, memoryview(bytes([number]) * (1 << 20)), False)
        assert raised.value.status is Status.DELAY and number == 3
        logs = place / "state" / "spool"
        assert sum(path.stat().st_size for path in logs.iterdir()) < 4 << 20
        await lazy.connect()
        await lazy.contents.flusher.flush()
        await fs.write(file, 0, memoryview(b"last" * (1 << 18)), True)
        await fs.close(file)
        await lazy.contents.flusher.flush()
        assert (top / "f").read_bytes() == b"last" * (1 << 18)


# ---- told


async def test_flush_tells_what_clients_changed_until_the_reply_was_seen(top, place):
    async with Lazy(top, place) as lazy:
        control = lazy.user.control
        await make(lazy.fs, b"a\xff", b"x")
        first = await control.ask("flush", seen=0)
        assert first["ok"]
        assert first["bytes"] == 1
        assert first["changed"] == ["a\udcff"]
        await make(lazy.fs, b"b")
        assert sorted((await control.ask("flush", seen=0))["changed"]) == ["a\udcff", "b"]
        assert (await control.ask("flush", seen=2))["changed"] == []
        stats = await control.ask("stats")
        assert stats["written"] == 1
        assert stats["unwritten"] == 0


async def test_file_that_the_user_removes_under_unsent_writes_is_named_once(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"content")
        await lazy.contents.flusher.flush()
        file = await fs.open(node, SHARE_WRITE)
        await lazy.cut()
        await fs.write(file, 0, memoryview(b"more"), True)
        (top / "f").unlink()
        await lazy.connect()
        reply = await lazy.user.control.ask("flush")
        assert reply["failed"] == {"f": os.strerror(errno.ESTALE)} and reply["lost"] == ["f"]
        # The reply may have been lost with the link.
        again = await lazy.user.control.ask("flush")
        assert again["failed"] == reply["failed"] and again["lost"] == reply["lost"]
        assert (await lazy.user.control.ask("flush", seen=again["id"]))["ok"]
        await fs.close(file)
        assert lazy.contents.backlog.unsent_bytes == 0


# ---- disks that fail


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs")
async def test_full_disk_of_the_user_is_an_error_of_the_writer(top, place):

    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", top], check=True)
    try:
        async with Lazy(top, place) as lazy:
            fs = lazy.fs
            node = await make(fs, b"small", b"x" * 1000)
            file = await fs.open(await make(fs, b"f"), SHARE_WRITE)
            with pytest.raises(OSError) as caught:
                for number in range(64):
                    await fs.write(file, number << 18, memoryview(bytes(1 << 18)), False)
                await fs.commit(file.node, file)
            assert caught.value.errno == errno.ENOSPC
            await fs.close(file)
            reply = await lazy.user.control.ask("flush")
            assert reply["ok"] or list(reply["failed"]) == ["f"]
            assert (top / "small").read_bytes() == b"x" * 1000
            assert await content(fs, node) == b"x" * 1000
    finally:
        subprocess.run(["umount", top], check=True)


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs")
async def test_disk_that_fills_up_behind_our_back_is_told_and_tried_again(top, place):

    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", top], check=True)
    try:
        async with Lazy(top, place) as lazy:
            fs = lazy.fs
            file = await fs.open(await make(fs, b"f"), SHARE_WRITE)
            await lazy.contents.disk.space(now=True)
            with suppress(OSError):
                (top / "hog").write_bytes(bytes(8 << 20))
            with suppress(OSError):
                await fs.write(file, 0, memoryview(b"y" * (1 << 20)), True)
            reply = await lazy.user.control.ask("flush")
            assert not reply["ok"]
            assert reply["failed"] == {"f": os.strerror(errno.ENOSPC)}
            await fails(errno.ENOSPC, fs.commit(file.node, file))
            (top / "hog").unlink()
            assert (await lazy.user.control.ask("flush"))["ok"]
            assert (top / "f").read_bytes() == b"y" * (1 << 20)
            await fs.close(file)
    finally:
        subprocess.run(["umount", top], check=True)


async def test_disk_that_complains_at_close_is_told_and_tried_again(top, place, monkeypatch):
    async with Lazy(top, place) as lazy:
        with failing_close(monkeypatch, top / "f", errno.EDQUOT):
            with suppress(OSError):  # who is quick enough hears nothing
                await make(lazy.fs, b"f", b"y" * 1000, sync=True)
            reply = await lazy.user.control.ask("flush")
            assert not reply["ok"]
            assert reply["failed"] == {"f": os.strerror(errno.EDQUOT)}
        (top / "f").write_bytes(b"")  # what the disk has of it
        reply = await lazy.user.control.ask("flush")
        assert (reply["ok"], reply["bytes"]) == (True, 1000)
        assert (top / "f").read_bytes() == b"y" * 1000
