"""Many clients that change the same names of a lazy share at the same time."""

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest

from tests.fileserver.client import content, fails, make
from tests.fileserver.lazy import Lazy
from tests.fileserver.tree.test_tree import Overtaken
from tests.soak import count
from womm.nfs.constants import SHARE_BOTH, SHARE_READ
from womm.nfs.filesystem import NOTHING, Settings
from womm.nfs.status import NFSError, Status, status_of

REFUSED = (Status.EXIST, Status.NOENT)


class Clients:
    """Does what clients do, and counts what they are told."""

    def __init__(self, lazy):
        self.fs, self.root = lazy.fs, lazy.fs.root()
        self.told: Counter[Status] = Counter()
        self.own: dict[int, Any] = {}

    async def do(self, work):
        """Did it succeed? A client asks again after DELAY; anything else unexpected is raised."""
        while True:
            try:
                found = await work()
            except (NFSError, OSError) as exc:
                status = exc.status if isinstance(exc, NFSError) else status_of(exc)
                self.told[status] += 1
                if status is Status.DELAY:
                    await asyncio.sleep(0.01)
                    continue
                if status not in REFUSED:
                    raise
                return None
            self.told[Status.OK] += 1
            return found

    async def prepare(self, who):
        self.own[who] = await make(self.fs, b"own%d" % who, b"%d" % who)

    def claim(self, kind, who):
        fs, root = self.fs, self.root
        if kind == "link":
            return fs.link(self.own[who], root, b"lock")
        if kind == "mkdir":
            return fs.mkdir(root, b"lock", NOTHING)
        if kind == "symlink":
            return fs.symlink(root, b"lock", b"%d" % who, NOTHING)
        if kind == "rename":
            return fs.rename(root, b"free", root, b"held%d" % who)
        assert kind == "create"
        return fs.create(root, b"lock", NOTHING, verifier=b"%08d" % who, exclusive=True, access=SHARE_BOTH)

    def give_back(self, kind, who):
        if kind == "rename":
            return self.fs.rename(self.root, b"held%d" % who, self.root, b"free")
        return self.fs.remove(self.root, b"lock")


@pytest.mark.parametrize("number", [2, 10])
@pytest.mark.parametrize("kind", ["link", "mkdir", "symlink", "create", "rename"])
async def test_lock_that_clients_contend_for_delays_nobody_and_costs_its_winner_only(
    top, place, kind, number
):
    rounds = count(200, 5000) // number

    async with Lazy(top, place) as lazy:
        clients = Clients(lazy)
        (top / "free").touch()
        for who in range(number):
            await clients.prepare(who)
        await lazy.contents.flusher.flush()
        held: list[int] = []
        session = lazy.link.session()
        before = session.sent_requests

        async def one(who):
            for _ in range(rounds):
                while (found := await clients.do(lambda: clients.claim(kind, who))) is None:
                    await asyncio.sleep(0)
                assert not held
                held.append(who)
                if kind == "create":
                    await clients.fs.close(found[1])
                await asyncio.sleep(0)
                held.remove(who)
                assert await clients.do(lambda: clients.give_back(kind, who)) is not None

        await asyncio.gather(*(one(who) for who in range(number)))
        assert clients.told[Status.DELAY] == 0
        assert clients.told[Status.OK] == 2 * number * rounds
        # What a refusal costs: nothing. A claim and its end: two changes and the looks after them.
        assert session.sent_requests - before <= 12 * number * rounds


# ---- opens while the name goes
class Removing(Overtaken):
    """Calls `removes` just before a file is removed or replaced."""

    def __init__(self, fence):
        super().__init__(fence)
        self.removes = lambda: None

    def remove(self, path, is_dir):
        self.removes()
        super().remove(path, is_dir)

    def rename(self, old, new, replace):
        self.removes()
        super().rename(old, new, replace)


@pytest.mark.parametrize("how", ["remove", "replace"])
@pytest.mark.parametrize("when", ["before", "meanwhile", "closed before"])
async def test_file_that_is_opened_while_another_client_removes_it_is_read_on_or_stale_at_once(
    top, place, how, when
):
    async with Lazy(top, place, export=Removing) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        node = await make(fs, b"f", b"content")
        await make(fs, b"new", b"other")
        await lazy.contents.flusher.flush()
        opened: list[asyncio.Future[object]] = []
        lazy.user.export.removes = lambda: opened.append(asyncio.ensure_future(fs.open(node, SHARE_READ)))
        early = await fs.open(node, SHARE_READ)
        change = fs.remove(root, b"f") if how == "remove" else fs.rename(root, b"new", root, b"f")
        removal = asyncio.ensure_future(change)
        if when == "closed before":
            await asyncio.sleep(0)
            await fs.close(early)
        await removal
        found = (await asyncio.gather(*opened, return_exceptions=True))[0]
        if when != "closed before":
            assert await fs.read(early, 0, 100) == (b"content", True)
        if isinstance(found, NFSError):
            assert found.status is Status.STALE  # by name, another one is opened then
        else:
            assert await fs.read(found, 0, 100) == (b"content", True)
            await fs.close(found)
        if when != "closed before":
            await fs.close(early)
        handles = [other for other in lazy.tree.nodes.values() if other.use.held is not None]
        assert handles == [] and not node.use.held, "left open on the user's side"


async def test_name_that_is_replaced_again_and_again_is_always_read_whole(top, place):
    opens = count(300, 10_000)

    async with Lazy(top, place) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        await make(fs, b"f", b"0" * 1000)
        done = 0

        async def writer(who):
            for number in itertools.count():
                if done >= opens:
                    return
                name = b"tmp%d" % who
                await make(fs, name, (b"%d" % (number % 10)) * 1000)
                await fs.rename(root, name, root, b"f")

        async def reader():
            nonlocal done
            while done < opens:
                try:
                    file = await fs.open(await fs.lookup(root, b"f"), SHARE_READ)
                except NFSError as exc:
                    assert exc.status is Status.STALE  # the server looks again, see operations/opens.py
                    continue
                done += 1
                first, _ = await fs.read(file, 0, 10)
                await asyncio.sleep(0)
                rest, eof = await fs.read(file, 10, 2000)
                assert eof and len(first + rest) == 1000 and len(set(first + rest)) == 1
                await fs.close(file)

        await asyncio.gather(writer(1), writer(2), *(reader() for _ in range(4)))
        assert all(node.use.held is None for node in lazy.tree.nodes.values())


async def test_link_and_chmod_while_their_file_is_renamed_meet_no_other_file(top, place):
    """The path is another file's once the rename is done."""

    async with Lazy(top, place, export=Removing) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        node = await make(fs, b"f", b"old")
        other = await make(fs, b"new", b"other")
        await lazy.contents.flusher.flush()
        later: list[asyncio.Future[object]] = []

        def change():
            lazy.user.export.removes = lambda: None
            later.append(asyncio.ensure_future(fs.setattr(node, Settings(mode=0o600), None)))
            later.append(asyncio.ensure_future(fs.link(node, root, b"linked")))

        lazy.user.export.removes = change
        await fs.rename(root, b"new", root, b"f")
        for found in await asyncio.gather(*later, return_exceptions=True):
            assert isinstance(found, NFSError) and found.status is Status.STALE
        assert (await fs.getattr(other, 1)).mode == 0o644
        assert not (top / "linked").exists()
        assert await content(fs, other) == b"other"


async def test_allocate_cuts_nothing_that_another_client_has_written_meanwhile(top, place):
    async with Lazy(top, place, export=Overtaken) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"x" * 10)
        one, two = await fs.open(node, SHARE_BOTH), await fs.open(node, SHARE_BOTH)
        await fs.write(one, 0, memoryview(b"y"), False)
        growing = asyncio.ensure_future(fs.allocate(one, 0, 100))  # it waits for what was written
        await asyncio.sleep(0)
        await fs.write(two, 0, memoryview(b"z" * 1000), False)
        await growing
        await lazy.contents.flusher.flush()
        assert (top / "f").read_bytes() == b"z" * 1000
        for file in (one, two):
            await fs.close(file)


async def test_hard_link_of_the_users_gets_the_last_bytes_of_a_name_that_is_removed(top, place):
    (top / "f").write_bytes(b"old")
    (top / "kept").hardlink_to(top / "f")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_BOTH)
        await fs.write(file, 0, memoryview(b"new"), False)
        await fs.close(file)
        await fs.remove(fs.root(), b"f")
        assert (await lazy.user.control.ask("flush"))["ok"]
        assert (top / "kept").read_bytes() == b"new"


async def test_file_that_is_taken_away_by_the_user_is_stale_when_it_is_opened_not_when_it_is_read(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"old")
        await lazy.contents.flusher.flush()
        early = await fs.open(node, SHARE_READ)
        (top / "f").unlink()
        await lazy.user.control.ask("changed", paths=["f"])
        await fails(Status.NOENT, fs.lookup(fs.root(), b"f"))
        await fails(Status.STALE, fs.open(node, SHARE_READ))
        await fs.close(early)
