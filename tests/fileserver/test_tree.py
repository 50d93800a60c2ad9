"""The tree of a lazy share while its answers are cut short, late, or overtaken by changes."""

import asyncio
import os
import threading

from tests.fileserver.lazy import WAIT_S, Lazy
from tests.fileserver.test_lazy import content, fails, make, names, run
from womm.nfs.status import Status
from womm.share.exporter import Export


class ShortTrees(Export):
    """Two entries are more than its recursive listings have room for: no walk gets far."""

    def tree(self, top, most):
        return super().tree(top, 2)


class Late(Export):
    """Holds back answers that take long, from `hold` on until `go`: whole directories and trees."""

    def __init__(self, fence):
        super().__init__(fence)
        self.go = threading.Event()
        self.go.set()
        self.made = threading.Event()

    def hold(self):
        self.go.clear()
        self.made.clear()

    async def until_made(self):
        """An answer is made, and held back."""
        assert await asyncio.to_thread(self.made.wait, WAIT_S)

    def _hold(self, answer):
        self.made.set()
        assert self.go.wait(WAIT_S)
        return answer

    def tree(self, top, most):
        return self._hold(super().tree(top, most))

    def entries(self, fd, path):
        return iter(self._hold(list(super().entries(fd, path))))

    def close(self):
        self.go.set()
        super().close()


def fill(top, count=12):
    for number in range(count):
        (top / f"d{number}").mkdir()
        for name in ("a", "b", "data"):
            (top / f"d{number}" / name).write_bytes(b"old")


# -- questions that get no answer ---------------------------------------------------------------------
def test_first_looks_at_a_tree_larger_than_walks_find_what_is_there(top, folder):
    async def work():
        fill(top)
        async with Lazy(top, folder, export=ShortTrees) as lazy:
            fs = lazy.fs

            async def find(number):
                above = await fs.lookup(fs.root(), b"d%d" % number)
                return await fs.lookup(above, b"data")

            found = await asyncio.gather(*(find(number) for number in range(12)))
            assert [node.path() for node in found] == [b"d%d/data" % number for number in range(12)]

    run(work)


def test_reads_after_a_barrier_in_a_tree_larger_than_walks_see_what_the_user_wrote(top, folder):
    async def work():
        fill(top)
        async with Lazy(top, folder, export=ShortTrees) as lazy:
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

    run(work)


def test_name_of_which_no_answer_can_be_believed_is_neither_missing_nor_old(top, folder):
    async def work():
        (top / "f").write_bytes(b"old")
        async with Lazy(top, folder) as lazy:
            fs, root = lazy.fs, lazy.fs.root()
            with lazy.tree.changing((root, b"f")):  # a client's change that gets no answer
                await fails(Status.DELAY, fs.lookup(root, b"f"))
            node = await fs.lookup(root, b"f")
            (top / "f").write_bytes(b"newer")
            assert (await lazy.user.control.ask("changed", all=True))["ok"]
            with lazy.tree.changing((root, b"f")):
                await fails(Status.DELAY, fs.getattr(node, 1))
                await fails(Status.DELAY, content(fs, node))
            assert await content(fs, node) == b"newer"

    run(work)


def test_late_answer_does_not_undo_what_a_newer_one_has_said(top, folder):
    async def work():
        (top / "slow").mkdir()
        (top / "slow" / "f").write_bytes(b"old")
        (top / "slow" / "gone").write_bytes(b"old")
        async with Lazy(top, folder, export=Late) as lazy:
            fs, late, control = lazy.fs, lazy.user.export, lazy.user.control
            assert await names(fs) == [b"slow"]
            slow = await fs.lookup(fs.root(), b"slow")
            assert await names(fs, slow) == [b"f", b"gone"]
            node = await fs.lookup(slow, b"f")
            assert (await control.ask("changed", paths=["slow/x"]))["ok"]
            late.hold()
            listing = asyncio.ensure_future(names(fs, slow))
            await late.until_made()
            (top / "slow" / "f").write_bytes(b"newer")
            (top / "slow" / "gone").unlink()
            (top / "slow" / "made").write_bytes(b"new")
            assert (await control.ask("changed", paths=["slow/f", "slow/gone", "slow/made"]))["ok"]
            assert (await fs.getattr(node, 1)).size == 5
            await fails(Status.NOENT, fs.lookup(slow, b"gone"))
            made = await fs.lookup(slow, b"made")
            held = slow.directory.listing
            late.go.set()
            await held
            assert (await fs.getattr(node, 1)).size == 5
            await fails(Status.NOENT, fs.lookup(slow, b"gone"))
            assert await fs.lookup(slow, b"made") is made
            assert await listing == [b"f", b"made"]

    run(work)


def test_name_that_a_client_has_changed_is_looked_at_while_an_older_answer_is_late(top, folder):
    async def work():
        (top / "slow").mkdir()
        async with Lazy(top, folder, export=Late) as lazy:
            fs, late = lazy.fs, lazy.user.export
            assert await names(fs) == [b"slow"]
            slow = await fs.lookup(fs.root(), b"slow")
            assert await names(fs, slow) == []
            assert (await lazy.user.control.ask("changed", paths=["slow/x"]))["ok"]
            late.hold()
            listing = asyncio.ensure_future(names(fs, slow))
            await late.until_made()
            node = await make(fs, b"f", b"x", sync=True)
            assert (await lazy.user.control.ask("flush"))["ok"]
            (top / "f").write_bytes(b"the user's")
            assert (await lazy.user.control.ask("changed", paths=["f"]))["ok"]
            assert await content(fs, node) == b"the user's"
            late.go.set()
            assert await listing == []

    run(work)
