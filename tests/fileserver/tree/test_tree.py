"""The tree of a lazy share while its answers are cut short, late, or overtaken by changes."""

import asyncio
import errno
import os
import threading
from typing import Any

import pytest

from tests.fileserver.client import content, fails, make, names
from tests.fileserver.lazy import WAIT_S, Lazy
from womm.nfs.constants import SHARE_WRITE
from womm.nfs.filesystem import NOTHING
from womm.nfs.status import Status
from womm.share.lazy.exported_folder import ExportedFolder


class ShortTrees(ExportedFolder):
    """Two entries are more than its recursive listings have room for: no walk gets far."""

    def tree(self, top, most):
        return super().tree(top, 2)


class Late(ExportedFolder):
    """Holds back an answer about a directory until `go`: its names ("entries"), a recursive listing of it
    when it is made ("tree") or before that ("ask")."""

    def __init__(self, fence):
        super().__init__(fence)
        self.go = threading.Event()
        self._holding = threading.Event()
        self._held: tuple[str, bytes] | None = None

    def hold(self, kind, path):
        self._held = kind, path

    async def until_held(self):
        assert await asyncio.to_thread(self._holding.wait, WAIT_S)

    def _hold(self, kind, path):
        if self._held == (kind, path) and not self.go.is_set():
            self._holding.set()
            assert self.go.wait(WAIT_S)

    def tree(self, top, most):
        self._hold("ask", top)
        answer = super().tree(top, most)
        self._hold("tree", top)
        return answer

    def entries(self, fd, path):
        found = list(super().entries(fd, path))
        self._hold("entries", path)
        return iter(found)

    def close(self):
        self.go.set()
        super().close()


class Overtaken(ExportedFolder):
    """Calls `renamed` and `written` when a file is, and the answer is yet to be sent."""

    def __init__(self, fence):
        super().__init__(fence)
        self.renamed = self.written = lambda: None
        self._loop = asyncio.get_running_loop()

    def rename(self, old, new, replace):
        super().rename(old, new, replace)
        if threading.current_thread() is threading.main_thread():
            self.renamed()
        else:  # a directory
            self._loop.call_soon_threadsafe(self.renamed)

    def set_open(self, fd, wanted):
        super().set_open(fd, wanted)
        self.written()


def fill(top, count=12):
    for number in range(count):
        (top / f"d{number}").mkdir()
        for name in ("a", "b", "data"):
            (top / f"d{number}" / name).write_bytes(b"old")


# -- questions that get no answer ---------------------------------------------------------------------
async def test_first_looks_at_a_tree_larger_than_walks_find_what_is_there(top, place):
    fill(top)
    async with Lazy(top, place, export=ShortTrees) as lazy:
        fs = lazy.fs

        async def find(number):
            above = await fs.lookup(fs.root(), b"d%d" % number)
            return await fs.lookup(above, b"data")

        found = await asyncio.gather(*(find(number) for number in range(12)))
        assert [node.path() for node in found] == [b"d%d/data" % number for number in range(12)]


async def test_reads_after_a_barrier_in_a_tree_larger_than_walks_see_what_the_user_wrote(top, place):
    fill(top)
    async with Lazy(top, place, export=ShortTrees) as lazy:
        fs = lazy.fs
        above = [await fs.lookup(fs.root(), name) for name in await names(fs)]
        for directory in above:
            await names(fs, directory)
        files = [await fs.lookup(directory, b"data") for directory in above]
        assert {await content(fs, node) for node in files} == {b"old"}
        for node in files:
            (top / os.fsdecode(node.path())).write_bytes(b"newer")
        assert (await lazy.user.control.ask("changed", all=True))["ok"]
        found = await asyncio.gather(*(content(fs, node) for node in files))
        assert set(found) == {b"newer"}


async def test_name_of_which_no_answer_can_be_believed_is_neither_missing_nor_old(top, place):
    (top / "f").write_bytes(b"old")
    async with Lazy(top, place) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        with lazy.tree.freshness.changing((root, b"f")):  # a client's change that gets no answer
            await fails(Status.DELAY, fs.lookup(root, b"f"))
        node = await fs.lookup(root, b"f")
        (top / "f").write_bytes(b"newer")
        assert (await lazy.user.control.ask("changed", all=True))["ok"]
        with lazy.tree.freshness.changing((root, b"f")):
            await fails(Status.DELAY, fs.getattr(node, 1))
            await fails(Status.DELAY, content(fs, node))
        assert await content(fs, node) == b"newer"


async def test_name_that_a_client_was_about_to_change_when_it_was_listed_is_not_missing(top, place):
    """The client's change fails, say: of this name the listing has said nothing."""

    (top / "f").write_bytes(b"content")
    async with Lazy(top, place) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        with lazy.tree.freshness.changing((root, b"f")):
            await names(fs)
        assert await content(fs, await fs.lookup(root, b"f")) == b"content"
        assert await names(fs) == [b"f"]


async def test_late_answer_does_not_undo_what_a_newer_one_has_said(top, place):
    (top / "slow").mkdir()
    (top / "slow" / "f").write_bytes(b"old")
    (top / "slow" / "gone").write_bytes(b"old")
    async with Lazy(top, place, export=Late) as lazy:
        fs, late, control = lazy.fs, lazy.user.export, lazy.user.control
        assert await names(fs) == [b"slow"]
        slow = await fs.lookup(fs.root(), b"slow")
        assert await names(fs, slow) == [b"f", b"gone"]
        node = await fs.lookup(slow, b"f")
        assert (await control.ask("changed", paths=["slow/x"]))["ok"]
        late.hold("entries", b"slow")
        listing = asyncio.ensure_future(names(fs, slow))
        await late.until_held()
        (top / "slow" / "f").write_bytes(b"newer")
        (top / "slow" / "gone").unlink()
        (top / "slow" / "made").write_bytes(b"new")
        assert (await control.ask("changed", paths=["slow/f", "slow/gone", "slow/made"]))["ok"]
        assert (await fs.getattr(node, 1)).size == 5
        await fails(Status.NOENT, fs.lookup(slow, b"gone"))
        made = await fs.lookup(slow, b"made")
        held = lazy.lookup._questions.under_way(("list", slow))
        late.go.set()
        await held
        assert (await fs.getattr(node, 1)).size == 5
        await fails(Status.NOENT, fs.lookup(slow, b"gone"))
        assert await fs.lookup(slow, b"made") is made
        assert await listing == [b"f", b"made"]


async def test_name_that_a_client_has_changed_is_looked_at_while_an_older_answer_is_late(top, place):
    (top / "slow").mkdir()
    async with Lazy(top, place, export=Late) as lazy:
        fs, late = lazy.fs, lazy.user.export
        assert await names(fs) == [b"slow"]
        slow = await fs.lookup(fs.root(), b"slow")
        assert await names(fs, slow) == []
        assert (await lazy.user.control.ask("changed", paths=["slow/x"]))["ok"]
        late.hold("entries", b"slow")
        listing = asyncio.ensure_future(names(fs, slow))
        await late.until_held()
        node = await make(fs, b"f", b"x", sync=True)
        assert (await lazy.user.control.ask("flush"))["ok"]
        (top / "f").write_bytes(b"the user's")
        assert (await lazy.user.control.ask("changed", paths=["f"]))["ok"]
        assert await content(fs, node) == b"the user's"
        late.go.set()
        assert await listing == []


class Unwritable(ExportedFolder):
    """Once it is `closed_up`, what is written stays in the file server's log."""

    closed_up = False

    def open(self, path, flags, wanted, *, force=False):
        if self.closed_up and path == b"d/f" and flags & os.O_ACCMODE:
            raise PermissionError(errno.EACCES, "not now")
        return super().open(path, flags, wanted, force=force)


async def test_file_that_is_being_sent_and_its_directory_are_looked_at_without_a_wait(top, place):
    """What is sent after a cut may be large: it is under way for as long as that takes."""

    (top / "d").mkdir()
    (top / "d" / "f").write_bytes(b"old")
    async with Lazy(top, place, export=Unwritable) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        above = await fs.lookup(root, b"d")
        node = await fs.lookup(above, b"f")
        await fs.getattr(node, 1)
        file = await fs.open(node, SHARE_WRITE)
        lazy.user.export.closed_up = True
        await lazy.cut()
        await fs.write(file, 0, memoryview(b"written"), False)
        await lazy.connect()
        with lazy.tree.freshness.changing((above, b"f")):  # as it is around the sending
            assert (await fs.getattr(node, 1)).size == 7
            assert (await fs.getattr(above, 1)).nlink == os.stat(top / "d").st_nlink
            assert await fs.lookup(above, b"f") is node
            assert await content(fs, node) == b"written"
        await fs.close(file)


@pytest.mark.parametrize("how", ["told", "cut"])
async def test_users_change_of_a_file_with_unsent_writes_is_seen_under_them(top, place, how):
    (top / "d").mkdir()
    (top / "d" / "f").write_bytes(b"old content")
    async with Lazy(top, place, export=Unwritable) as lazy:
        fs = lazy.fs
        node = await fs.lookup(await fs.lookup(fs.root(), b"d"), b"f")
        assert await content(fs, node) == b"old content"
        file = await fs.open(node, SHARE_WRITE)
        lazy.user.export.closed_up = True
        await lazy.cut()
        await fs.write(file, 0, memoryview(b"OLD"), False)
        if how == "cut":
            (top / "d" / "f").write_bytes(b"new CONTENT")
        await lazy.connect()
        assert await content(fs, node) == (b"OLD CONTENT" if how == "cut" else b"OLD content")
        if how == "told":
            (top / "d" / "f").write_bytes(b"new CONTENT")
            assert (await lazy.user.control.ask("changed", paths=["d/f"]))["ok"]
        assert await content(fs, node) == b"OLD CONTENT"
        await fs.close(file)


# -- directories that clients move --------------------------------------------------------------------
async def move_under_a_walk(lazy, kind, held, above, moved):
    """Two looks begin a walk, whose answer is held; meanwhile a directory of the top is moved, and another is
    made in its place, which is returned."""
    fs, root, late = lazy.fs, lazy.fs.root(), lazy.user.export
    late.hold(kind, held)
    found = [await fs.lookup(above, name) for name in (b"d1", b"d2")]
    looks = [asyncio.ensure_future(fs.lookup(node, b"a")) for node in found]
    await late.until_held()
    await fs.rename(root, moved, root, b"old")
    new, _ = await fs.mkdir(root, moved, NOTHING)
    late.go.set()
    await asyncio.gather(*looks)
    return new


async def test_directory_made_in_the_place_of_a_moved_one_is_empty_whatever_a_walk_saw(top, place):
    fill(top)
    async with Lazy(top, place, export=Late) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        await names(fs)
        new = await move_under_a_walk(lazy, "tree", b"", root, b"d0")
        await fails(Status.NOENT, fs.lookup(new, b"data"))
        assert await names(fs, new) == []
        old = await fs.lookup(root, b"old")
        assert await names(fs, old) == [b"a", b"b", b"data"]
        assert await content(fs, await fs.lookup(old, b"data")) == b"old"


async def test_top_of_a_walk_that_is_moved_meanwhile_keeps_its_names(top, place):
    (top / "top").mkdir()
    fill(top / "top", 3)
    async with Lazy(top, place, export=Late) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        above = await fs.lookup(root, b"top")
        await names(fs, above)
        assert (await lazy.user.control.ask("changed", all=True))["ok"]
        await names(fs, above)
        new = await move_under_a_walk(lazy, "ask", b"top", above, b"top")
        await fails(Status.NOENT, fs.lookup(new, b"d0"))
        assert await names(fs, new) == []
        assert await names(fs, above) == [b"d0", b"d1", b"d2"]
        assert await names(fs, await fs.lookup(above, b"d0")) == [b"a", b"b", b"data"]


async def test_looks_at_a_directory_that_is_being_moved_are_no_errors(top, place):
    (top / "d" / "e").mkdir(parents=True)
    (top / "d" / "f").write_bytes(b"x")
    async with Lazy(top, place, export=Overtaken) as lazy:
        fs, root = lazy.fs, lazy.fs.root()
        await names(fs)
        directory = await fs.lookup(root, b"d")
        below = await fs.lookup(directory, b"e")
        assert (await lazy.user.control.ask("changed", paths=["d/e"]))["ok"]
        looks: list[asyncio.Future[Any]] = []

        def look():
            """By the path that it had, since nobody here knows of the new one."""
            for work in (fs.lookup(directory, b"f"), names(fs, below), fs.getattr(below, 1)):
                looks.append(asyncio.ensure_future(work))

        lazy.user.export.renamed = look
        await fs.rename(root, b"d", root, b"moved")
        found, listing, _ = await asyncio.gather(*looks)
        assert found.path() == b"moved/f"
        assert listing == []
        assert await fs.lookup(directory, b"f") is found
