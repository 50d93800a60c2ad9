"""A handle that leads nowhere costs a walk through the whole tree: others are served meanwhile."""

import asyncio
import itertools
import logging
import os
import sqlite3

import pytest

from tests.nfs.builder import (
    Bench,
    getattr_,
    getfh,
    lookup,
    mkdir,
    named,
    open_,
    plain,
    putfh,
    putrootfh,
    rename,
)
from tests.soak import count
from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.status import Status

FILES_PER_FOLDER = 500
SAVEFH = plain(Op.SAVEFH)


class Served:
    """Servers of one directory, one after the other, each with the state of the one before."""

    def __init__(self, top, folder):
        self.top, self.folder = top, folder

    def bench(self, *, knows=True, **options):
        """`knows` False: it has lost the table of places."""
        index = self.folder / "files.db"
        if not knows:
            for path in self.folder.glob("files.db*"):
                path.unlink()
        filesystem = LocalFilesystem(self.top, index=index, **options)
        return Bench(filesystem, state_file=self.folder / "state.json", grace_s=0)


@pytest.fixture
def served(top, tmp_path):
    return Served(top, tmp_path)


def _searches(caplog):
    return sum("searched the tree" in record.getMessage() for record in caplog.records)


@pytest.fixture(autouse=True)
def _info(caplog):
    caplog.set_level(logging.INFO, "womm.nfs.backends.search")


@pytest.mark.slow
def test_others_are_served_while_a_large_tree_is_searched_for_a_dead_handle(top, served, tmp_path, caplog):
    files = count(10_000, 300_000)
    for number in range(files // FILES_PER_FOLDER):
        (top / f"d{number}").mkdir()
        for name in range(FILES_PER_FOLDER):
            (top / f"d{number}" / f"{name}").touch()
    (top / "dead").touch()
    with served.bench() as bench:
        handle = bench.ok(putrootfh(), lookup(b"dead"), getfh()).value(Op.GETFH)
    (top / "dead").unlink()
    with served.bench(knows=False) as bench, sqlite3.connect(tmp_path / "files.db") as db:

        async def story():
            """Ask for the root while the walk goes on; return how far it was each time, and its end."""
            dead = [asyncio.ensure_future(bench.compound(putfh(handle))) for _ in range(20)]
            found = []
            while not all(task.done() for task in dead):
                reply = await bench.compound(putrootfh(), getattr_(Attr.SIZE))
                assert reply.status is Status.OK
                found.append(db.execute("SELECT count(*) FROM places").fetchone()[0])
                await asyncio.sleep(0)
            return found, [task.result().status for task in dead]

        progress, statuses = bench.run(story())
        assert statuses == [Status.STALE] * 20
        assert _searches(caplog) == 1
        # It is noted in slices, and others come in between: not one has more than a part of the tree.
        steps = sorted(set(progress))
        assert len(steps) > files // 5000
        assert max(after - before for before, after in itertools.pairwise(steps)) < files / 3
    db.close()


@pytest.mark.parametrize("how", ["file", "replaced", "directory", "open"])
def test_what_the_server_itself_has_removed_is_not_searched_for(top, served, caplog, how):
    with served.bench() as bench:
        make = mkdir(b"x") if how == "directory" else open_(b"x", create=0, clientid=0)
        session = bench.session()
        made = session.ok(putrootfh(), make, getfh())
        handle = made.value(Op.GETFH)
        if how == "replaced":
            session.ok(putrootfh(), open_(b"y", create=0))
            session.ok(putrootfh(), SAVEFH, rename(b"y", b"x"))
        else:
            session.ok(putrootfh(), named(Op.REMOVE, b"x"))
        if how == "open":
            # As long as it is open it is there.
            session.ok(putfh(handle), getattr_(Attr.SIZE))
        bench.server.state.clients.revoke(bench.server.state.clients.by_id[session.clientid])
        bench.run(bench.server.service.close_files())
        for _ in range(3):
            assert bench.call(putfh(handle)).status is Status.STALE
        assert _searches(caplog) == 0


def test_file_that_another_program_has_renamed_is_found_by_a_walk(top, served):
    (top / "moved").touch()
    with served.bench() as bench:
        handle = bench.ok(putrootfh(), lookup(b"moved"), getfh()).value(Op.GETFH)
    os.rename(top / "moved", top / "here")
    for number in range(40):
        (top / f"d{number}").mkdir()
        for name in range(50):
            (top / f"d{number}" / f"{name}").touch()
    with served.bench(knows=False) as bench:
        assert bench.ok(putfh(handle), getattr_(Attr.SIZE)).status is Status.OK
        assert bench.ok(putrootfh(), lookup(b"here"), getfh()).value(Op.GETFH) == handle


def test_server_stops_while_it_searches(top, served, caplog):
    for number in range(2000):
        (top / f"{number}").touch()
    (top / "dead").touch()
    with served.bench() as bench:
        handle = bench.ok(putrootfh(), lookup(b"dead"), getfh()).value(Op.GETFH)
    (top / "dead").unlink()
    with served.bench(knows=False) as bench:

        async def story():
            task = asyncio.ensure_future(bench.compound(putfh(handle)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return task

        task = bench.run(story())
    # It was answered before all was closed.
    assert task.done() and task.result().status is Status.STALE


def test_change_that_is_made_while_a_walk_goes_on_is_kept(top, served):
    """The walk has seen the old place; what the server itself has done since is newer."""
    for number in range(3000):
        (top / f"{number}").touch()
    (top / "d").mkdir()
    (top / "dead").touch()
    with served.bench() as bench:
        dead = bench.ok(putrootfh(), lookup(b"dead"), getfh()).value(Op.GETFH)
        handle = bench.ok(putrootfh(), lookup(b"5"), getfh()).value(Op.GETFH)
    (top / "dead").unlink()
    with served.bench(knows=False) as bench:

        async def story():
            search = asyncio.ensure_future(bench.compound(putfh(dead)))
            await asyncio.sleep(0)
            moved = await bench.compound(putrootfh(), SAVEFH, lookup(b"d"), rename(b"5", b"five"))
            assert moved.status is Status.OK
            return (await search).status

        assert bench.run(story()) is Status.STALE
    with served.bench() as bench:
        assert bench.ok(putfh(handle), getattr_(Attr.SIZE)).status is Status.OK


def test_directories_that_an_operation_uses_stay_open_meanwhile(top, served):
    """With few descriptors: what was opened long ago and is in use now is not the one to be closed."""
    for name in "ab":
        (top / name).mkdir()
    with served.bench(max_fds=4) as bench:
        (top / "a/one").write_text("1")
        (top / "b/two").write_text("2")
        a = bench.ok(putrootfh(), lookup(b"a"), getfh()).value(Op.GETFH)
        b = bench.ok(putrootfh(), lookup(b"b"), getfh()).value(Op.GETFH)
        for name in ("x", "y"):
            (top / name).touch()
            bench.ok(putrootfh(), lookup(name.encode()))
        # `a` and `b` are now the least recently used ones; one more is opened for the file.
        bench.ok(putfh(a), SAVEFH, putfh(b), rename(b"one", b"two"))
        assert os.listdir(top / "a") == []
        assert (top / "b/two").read_text() == "1"
