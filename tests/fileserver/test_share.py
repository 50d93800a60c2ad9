"""The file server and the user's side as they are: `LazyConnection` at one end, the server at the other."""

import asyncio
import random
import shutil
from contextlib import asynccontextmanager

import pytest

from tests.fileserver.client import content, make, names
from tests.fileserver.lazy import Lazy
from tests.soak import count
from womm.nfs.constants import FileType
from womm.nfs.status import NFSError, Status
from womm.share.lazy.connection import LazyConnection


class Shared(Lazy):
    """A file server whose user's side is a LazyConnection."""

    def __init__(self, *args, share, **options):
        super().__init__(*args, **options)
        self.share = share

    async def connect(self):
        loop = asyncio.get_running_loop()
        self.share.start(lambda factory: loop.create_unix_connection(factory, str(self.socket)))
        await self.share.ready()


@asynccontextmanager
async def sharing(top, place):
    lost: list[str] = []
    said: list[str] = []
    share = LazyConnection(top, on_lost=lost.append, say=said.append)
    try:
        shared = Shared(top, place, keys=share.keys, share=share)
        async with shared:
            yield shared
    finally:
        await share.close()
    assert lost == []


async def seen(fs, node=None):
    """What a client sees, by LOOKUP, GETATTR, READDIR and READ: name -> content."""
    node = node or fs.root()
    found = {}
    for name in await names(fs, node):
        child = await fs.lookup(node, name)
        await fs.getattr(child, 0x3FF)
        found[name] = (
            await seen(fs, child) if child.kind is FileType.DIRECTORY else bytes(await content(fs, child))
        )
    return found


def there(path):
    return {
        bytes(entry.name, "utf-8"): there(entry) if entry.is_dir() else entry.read_bytes()
        for entry in path.iterdir()
    }


async def test_whatever_the_user_does_is_seen_after_a_barrier(top, place):
    async with sharing(top, place) as shared:
        chance = random.Random(11)
        fs, share = shared.fs, shared.share
        for number in range(count(150, 2000)):
            paths = sorted(top.rglob("*"))
            path = chance.choice([top, *paths])
            what = chance.random()
            above = path if path.is_dir() else path.parent
            if what < 0.35:
                (above / f"f{chance.randrange(30)}").unlink(missing_ok=True)
                (above / f"f{chance.randrange(30)}").write_bytes(b"%d" % number)
            elif what < 0.5 and len(paths) < 80:
                (above / f"d{number}").mkdir()
            elif what < 0.65 and path.is_file():
                path.write_bytes(b"again %d" % number)
            elif what < 0.8 and path is not top:
                path.rename(top / f"moved{number}")
            elif what < 0.9 and path is not top:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            await share.barrier()
            if path.is_file():
                node = fs.root()
                for part in path.relative_to(top).parts:
                    node = await fs.lookup(node, part.encode())
                assert (await fs.getattr(node, 1)).size == path.stat().st_size
            elif path is not top and not path.exists():
                with pytest.raises(NFSError) as caught:
                    node = fs.root()
                    for part in path.relative_to(top).parts:
                        node = await fs.lookup(node, part.encode())
                assert caught.value.status is Status.NOENT
            if number % 5 == 0:
                assert await seen(fs) == there(top), number


async def test_what_clients_write_is_flushed_and_is_no_change_of_the_users(top, place):
    async with sharing(top, place) as shared:
        fs, share = shared.fs, shared.share
        await share.barrier()
        for number in range(20):
            await make(fs, b"f%d" % number, b"x" * 1000 * number)
        found = await share.flush()
        assert sorted(found.changed) == sorted(f"f{number}" for number in range(20))
        assert found.failed == {}
        assert there(top) == {b"f%d" % number: b"x" * 1000 * number for number in range(20)}
        assert await share.barrier() == []
        assert (await share.flush()).changed == []
        stats = await share.stats()
        assert stats.written == sum(1000 * number for number in range(20))
        assert stats.unwritten == 0
        await share.finish(1)


async def test_cut_links_lose_no_write_and_no_change(top, place):
    async with sharing(top, place) as shared:
        fs, share = shared.fs, shared.share
        written = {}
        for number in range(count(6, 100)):
            name, data = b"f%d" % number, b"%d" % number * 5000
            while True:
                try:
                    await make(fs, name, data, sync=True)
                    break
                except NFSError as exc:
                    assert exc.status in (Status.DELAY, Status.EXIST)
                    if exc.status is Status.EXIST:  # made under the cut, not written
                        await fs.remove(fs.root(), name)
                    await asyncio.sleep(0.02)
            written[name] = data
            share._redial.hang_up()
            (top / f"u{number}").write_bytes(b"u")
            written[b"u%d" % number] = b"u"
            await share.flush()
            await share.barrier()
            assert there(top) == written
            while True:
                try:
                    assert await seen(fs) == written
                    break
                except NFSError as exc:
                    assert exc.status is Status.DELAY
                    await asyncio.sleep(0.02)


async def test_lock_that_the_user_removes_is_free_for_jobs_that_have_been_running(top, place):
    """Without a barrier: no other job starts. Until then it is refused without a question."""

    async with sharing(top, place) as shared:
        fs = shared.fs
        node = await make(fs, b"own")
        (top / "lock").touch()
        await shared.share.barrier()
        while True:
            try:
                await fs.link(node, fs.root(), b"lock")
                break
            except (NFSError, FileExistsError) as exc:
                assert isinstance(exc, FileExistsError) or exc.status is Status.EXIST
                (top / "lock").unlink(missing_ok=True)
                await asyncio.sleep(0.02)
        assert (top / "lock").samefile(top / "own")
