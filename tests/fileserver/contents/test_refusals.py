"""What the user's side refuses is an error at once, and nothing that is remembered becomes wrong by it."""

import errno
import os
from contextlib import suppress

import pytest

from tests.fileserver.client import again, content, fails, make, names
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_BOTH, SHARE_READ, SHARE_WRITE, FileType
from womm.nfs.filesystem import NOTHING, NOW, Settings
from womm.nfs.status import NFSError, Status
from womm.share.control import Writable
from womm.share.ignore import Ignore
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.guard import Guard


def guarded(*write):
    """As the user's side of a task makes it."""

    def export(fence):
        guard = Guard(fence, Ignore(fence), Writable.only(write), lambda line: None)
        return ExportedFolder(fence, guard=guard)

    return export


async def attempts(fs, above, name, own):
    """Everything that changes a name in a directory, or puts `own`, a file of `out`, there."""
    out = await fs.lookup(fs.root(), b"out")
    mine = await fs.lookup(out, own)
    found = None
    with suppress(NFSError):
        found = await fs.lookup(above, name)

    async def create(exclusive):
        verifier = b"12345678" if exclusive else None
        return await fs.create(
            above, name, Settings(mode=0o644), verifier=verifier, exclusive=exclusive, access=SHARE_BOTH
        )

    yield lambda: create(False)
    yield lambda: create(True)
    yield lambda: fs.mkdir(above, name, Settings(mode=0o755))
    yield lambda: fs.symlink(above, name, b"x", NOTHING)
    yield lambda: fs.mknod(above, name, FileType.FIFO, (0, 0), NOTHING)
    yield lambda: fs.link(mine, above, name)
    yield lambda: fs.rename(out, own, above, name)
    if found is None:
        return
    yield lambda: fs.rename(above, name, out, b"stolen")
    yield lambda: fs.rename(above, name, above, b"moved")
    yield lambda: fs.remove(above, name)
    yield lambda: fs.setattr(found, Settings(mode=0o700), None)
    yield lambda: fs.setattr(found, Settings(mtime_ns=NOW), None)
    if found.kind is FileType.REGULAR:
        yield lambda: fs.link(found, out, b"stolen")
        yield lambda: fs.open(found, SHARE_WRITE)
        yield lambda: fs.open(found, SHARE_BOTH)
        yield lambda: fs.setattr(found, Settings(size=0), None)


def refused(status, *others):
    async def one(work):
        try:
            await again(work)
        except NFSError as exc:
            assert exc.status in others, exc
        except OSError as exc:
            assert exc.errno == status, exc
        else:
            raise AssertionError("done")

    return one


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not looked at"])
@pytest.mark.parametrize(
    ("rules", "number"),
    [
        (((), [b"/.womm", b"sub/.womm", b"sub/.wommignore", b"new/.womm", b"/.WOMM"]), errno.EACCES),
        (((b"out",), [b"/f", b"sub/f", b"sub/new", b"/new", b"/sub"]), errno.EROFS),
    ],
    ids=["womm's own", "share-write"],
)
async def test_refused_changes_are_errors_at_once_and_leave_what_is_known_right(
    top, place, listed, rules, number
):
    """`rules`: share-write, and what it refuses."""
    write, places = rules
    for name in ("sub", "new", "out"):
        (top / name).mkdir()
    for name in ("f", "sub/f", ".womm", "sub/.womm", "out/own"):
        (top / name).write_text(name)

    async with Lazy(top, place, export=guarded(*write)) as lazy:
        fs = lazy.fs
        for path in places:
            above_name, _, name = path.rpartition(b"/")
            above = await fs.lookup(fs.root(), above_name) if above_name else fs.root()
            there = sorted(os.listdir(os.path.join(os.fsencode(top), above_name)))
            if listed:
                assert await names(fs, above) == there
            async for attempt in attempts(fs, above, name, b"own"):
                await refused(number, Status.EXIST, Status.ISDIR, Status.INVAL)(attempt)
            assert await names(fs, above) == there
            for one in there:
                node = await fs.lookup(above, one)
                if node.kind is FileType.REGULAR:
                    expected = os.path.join(above_name, one)
                    assert await content(fs, node) == (b"out/own" if one == b"own" else expected)
            if name not in there:
                await fails(Status.NOENT, fs.lookup(above, name))
        # The directories go on as before.
        out = await fs.lookup(fs.root(), b"out")
        assert await names(fs, out) == [b"own"]
        await make(fs, b"next", b"next", out)
        assert await lazy.contents.flusher.flush() == (4, {})
        assert (lazy.contents.backlog.unsent_bytes, lazy.contents.report.failed) == (0, {})
    assert (top / "out/next").read_text() == "next" and (top / "out/own").read_text() == "out/own"


async def test_refused_open_is_refused_too_when_the_link_was_cut(top, place):
    """It is not found out when bytes were taken; who had a file open goes on."""
    for name in ("f", ".womm", "out"):
        (top / name).write_text("before")

    async with Lazy(top, place, export=guarded(b"out")) as lazy:
        fs = lazy.fs
        node = {path: await fs.lookup(fs.root(), path) for path in (b"f", b".womm", b"out")}
        assert [await content(fs, one) for one in node.values()] == [b"before"] * 3
        file = await fs.open(node[b"out"], SHARE_WRITE)
        await lazy.cut()
        for path in (b"f", b".womm"):
            await fails(Status.DELAY, fs.open(node[path], SHARE_WRITE))
            await fs.close(await fs.open(node[path], SHARE_READ))
        again = await fs.open(node[b"out"], SHARE_BOTH)
        await fs.write(again, 0, memoryview(b"during"), True)
        await lazy.connect()
        await fails(errno.EROFS, fs.open(node[b"f"], SHARE_WRITE))
        await fails(errno.EACCES, fs.open(node[b".womm"], SHARE_WRITE))
        await fs.write(file, 6, memoryview(b"!"), False)
        await fs.close(again)
        await fs.close(file)
        assert (await lazy.contents.flusher.flush())[1] == {}
    assert (top / "f").read_text() == (top / ".womm").read_text() == "before"
    assert (top / "out").read_text() == "during!"


async def test_directory_that_must_stay_is_where_it_was_and_one_that_is_moved_is_whole(top, place):
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/.womm").touch()
    (top / "c/d").mkdir(parents=True)
    (top / "c/d/f").write_text("f")

    async with Lazy(top, place, export=guarded()) as lazy:
        fs = lazy.fs
        await fails(errno.EACCES, fs.rename(fs.root(), b"a", fs.root(), b"z"))
        a = await fs.lookup(fs.root(), b"a")
        await fails(errno.EACCES, fs.rename(a, b"b", fs.root(), b"z"))
        assert await names(fs) == [b"a", b"c"] and await names(fs, a) == [b"b"]
        await fs.rename(fs.root(), b"c", a, b"c")
        moved = await fs.lookup(a, b"c")
        inner = await fs.lookup(moved, b"d")
        assert await content(fs, await fs.lookup(inner, b"f")) == b"f"
        assert await names(fs) == [b"a"] and await names(fs, a) == [b"b", b"c"]


async def test_file_that_is_there_is_opened_by_who_would_have_made_it(top, place):
    """flock(1) opens what it locks so. Nobody has looked at it before."""
    (top / "f").write_text("f")

    async with Lazy(top, place, export=guarded(b"out")) as lazy:
        fs = lazy.fs
        made = {"verifier": None, "exclusive": False, "access": SHARE_READ}
        node, file, _, new = await fs.create(fs.root(), b"f", NOTHING, **made)
        assert not new and await content(fs, node) == b"f"
        await fs.close(file)
        await fails(errno.EROFS, fs.create(fs.root(), b"g", NOTHING, **made))
        await fails(Status.NOENT, fs.lookup(fs.root(), b"g"))
