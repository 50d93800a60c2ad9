"""What pods may do in an exported folder: womm's own files stay, share-write holds, nothing hidden shows."""

import asyncio
import errno
import os
import random
import stat
from contextlib import suppress

import asyncssh
import pytest
from asyncssh.sftp import SFTPAttrs

from tests.share.eager.eagers import snapshot
from tests.share.eager.pod import (
    CREATE_NEW,
    CREATE_TRUNCATE,
    NONE,
    OPEN_EXISTING,
    OPEN_OR_CREATE,
    READ,
    TRUNCATE_EXISTING,
    WRITE,
    fails,
    with_sftp,
)
from tests.soak import count

WAYS = (CREATE_NEW, CREATE_TRUNCATE, OPEN_EXISTING, OPEN_OR_CREATE, TRUNCATE_EXISTING)


def changes(sftp, path, other):
    """Everything that changes what is at a path, or puts something there; `other` is a file of one's own."""
    return (
        *(sftp.open56(path, WRITE, how, NONE) for how in WAYS),
        sftp.open56(path, READ, TRUNCATE_EXISTING, NONE),
        sftp.put(path, b"x"),
        sftp.put(path, b"x", flags=0),
        sftp.mkdir(path, NONE),
        sftp.mknod(path, stat.S_IFIFO | 0o600),
        sftp.setstat(path, SFTPAttrs(size=0)),
        sftp.setstat(path, SFTPAttrs(permissions=0o777)),
        sftp.setstat(path, SFTPAttrs(atime=1, mtime=1)),
        sftp.remove(path),
        sftp.rmdir(path),
        sftp.rename(path, b"elsewhere", 1),
        sftp.rename(other, path, 1),
        sftp.rename(other, path, 0),
        sftp.make_link(other, path, False),
        sftp.make_link(b"anywhere", path, True),
        sftp.make_link(path, b"elsewhere", False),
        sftp.access(path, os.W_OK),
    )


@pytest.mark.parametrize(
    "name", [".womm", ".wommignore", ".WOMM", ".wommIGNORE", "sub/deep/.womm", ".womm/x"]
)
@pytest.mark.parametrize("there", [True, False], ids=["there", "missing"])
async def test_womms_own_files_are_neither_made_nor_changed_nor_removed(serving, folder, name, there):
    (folder / "own").write_text("mine")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if there:
        (folder / name).write_text("# before")
    before = snapshot(folder)
    path = name.encode()

    async with with_sftp(serving) as (sftp, pod):
        for attempt in changes(sftp, path, b"own"):
            with fails(errno.EACCES, errno.EEXIST if there else errno.ENOENT):
                await attempt
        assert len(pod.said) == 1 and f"jobs cannot change {name} " in pod.said[0]
        if there:
            assert await sftp.read_all(path) == b"# before"
            handle = await sftp.open56(path, READ, OPEN_EXISTING, NONE)
            for wanted in (SFTPAttrs(permissions=0o777), SFTPAttrs(atime=1, mtime=1), SFTPAttrs(size=0)):
                with fails(errno.EACCES):
                    await sftp.fsetstat(handle, wanted)
            with fails(errno.EBADF):
                await sftp.write(handle, 0, b"x")
            await sftp.close(handle)

    assert snapshot(folder) == before


async def test_names_that_no_terminal_should_get_are_escaped(serving, folder):
    async with with_sftp(serving) as (sftp, pod):
        with fails(errno.EACCES, errno.ENOENT):
            await sftp.mkdir(b"\x1b[2J/.womm", NONE)
        assert pod.said == ["jobs cannot change \\x1b[2J/.womm in the shared folder: it is womm's own"]


async def test_other_names_of_womms_own_files_are_no_way_to_them(serving, folder):
    """Hard links of the user's own making, and where a link of that name leads."""
    (folder.parent / ".womm").write_text("above")
    os.link(folder.parent / ".womm", folder / "above")
    (folder / ".womm").write_text("here")
    os.link(folder / ".womm", folder / "here")
    (folder / "sub").mkdir()
    (folder / "target").write_text("target")
    (folder / "sub/.womm").symlink_to("../target")
    (folder / "own").write_text("own")
    before = snapshot(folder)

    async with with_sftp(serving) as (sftp, pod):
        for name in (b".womm", b"sub/.womm"):
            pod.export.guard.note(name)
        for name in (b"above", b"here", b"target"):
            for attempt in changes(sftp, name, b"own"):
                with fails(errno.EACCES, errno.EEXIST, errno.ENOTDIR):
                    await attempt
        # Who is not womm's any more may be written.
        os.unlink(folder / ".womm")
        await sftp.write_all(b"here", b"theirs", OPEN_EXISTING)
        (folder / ".womm").write_text("here")

    after = snapshot(folder)
    assert (folder.parent / ".womm").read_text() == "above"
    changed = {path for path in before if after.get(path) != before[path]}
    assert changed <= {b"here", b".womm"}, changed


async def test_directories_with_womms_own_or_hidden_files_keep_their_place(serving, folder):
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/c/.womm").touch()
    (folder / "p/q").mkdir(parents=True)
    (folder / "p/q/secret").write_text("secret")
    (folder / "t/u").mkdir(parents=True)
    (folder / "t/u/x.o").touch()
    (folder / "t/u/f").write_text("f")
    (folder / ".wommignore").write_text("/p/q/secret\n*.o\n")

    async with with_sftp(serving) as (sftp, pod):
        for old in (b"a", b"a/b", b"a/b/c", b"p", b"p/q"):
            for new in (b"moved", b"t/moved", b"A"):
                with fails(errno.EACCES):
                    await sftp.rename(old, new, 1)
        with fails(errno.ENOENT):
            await sftp.lstat(b"p/q/secret", 0)
        assert [line.split(" in the ")[0] for line in pod.said] == [
            "jobs cannot rename a",
            "jobs cannot rename p",
        ]
        # What stays hidden may come along; what is asked next is about the new name.
        handle = await sftp.open56(b"t/u/f", READ | WRITE, OPEN_EXISTING, NONE)
        asked = [
            sftp.rename(b"t", b"v", 1),
            sftp.lstat(b"v/u/f", 0),
            sftp.rename(b"v/u", b"w", 1),
            sftp.lstat(b"w/f", 0),
            sftp.write(handle, 0, b"g"),
            sftp.fsetstat(handle, SFTPAttrs(permissions=0o600)),
            sftp.remove(b"w/f"),
            sftp.lstat(b"v", 0),
        ]
        await asyncio.gather(*asked)
        with fails(errno.ENOENT):
            await sftp.lstat(b"w/x.o", 0)
        assert pod.export.guard.hides(b"w/x.o", False)

    assert os.listdir(folder / "w") == ["x.o"]
    assert (folder / "p/q/secret").read_text() == "secret" and (folder / "a/b/c/.womm").exists()


async def test_the_event_loop_does_not_wait_for_a_directory_to_be_looked_through(serving, folder):
    (folder / "d").mkdir()

    async with with_sftp(serving) as (sftp, pod):
        other = await pod.open_sftp()
        pod.export.guard._moving.acquire()  # as if another directory took its time
        asked = [sftp.rename(b"d", b"e", 1), sftp.lstat(b"e", 0), sftp.lstat(b"e", 0)]
        waiting = asyncio.gather(*asked)
        for _ in range(20):
            await other.lstat(b"d", 0)
        assert not waiting.done()
        pod.export.guard._moving.release()
        await waiting


async def test_share_write_admits_what_it_names_and_the_rest_is_read_only(serving, folder):
    (folder / "Makefile").write_text("all:\n")
    (folder / ".git/hooks").mkdir(parents=True)
    (folder / ".git/hooks/post-commit").write_text("#!/bin/sh\n")
    (folder / "log.txt").write_text("")
    (folder / ".womm").write_text("")
    (folder / "out").mkdir()
    (folder / "out/own").write_text("own")
    (folder / "dir").mkdir()
    outside = {path: entry for path, entry in snapshot(folder).items() if not path.startswith(b"out")}

    async with with_sftp(lambda: serving(write=[b"out", b"new/deep", b"log.txt"])) as (sftp, pod):
        for name in (
            b"Makefile",
            b".git/hooks/post-commit",
            b"dir",
            b"none",
            b"new/x",
            b"outer",
            b".git/hooks/x",
        ):
            for attempt in changes(sftp, name, b"out/own"):
                with fails(errno.EROFS, errno.ENOENT, errno.EEXIST):
                    await attempt
        assert len(pod.said) == 1 and "share-write is out, new/deep, log.txt" in pod.said[0]
        for attempt in changes(sftp, b"out/.womm", b"out/own"):
            with fails(errno.EACCES, errno.ENOENT):
                await attempt
        # No way in for an inode, no way out for a name.
        for attempt in (
            sftp.make_link(b"Makefile", b"out/m", False),
            sftp.rename(b"Makefile", b"out/m", 1),
            sftp.rename(b"dir", b"out/dir", 1),
            sftp.rename(b"out", b"out2", 1),
            sftp.rename(b"out/own", b"out", 1),
            sftp.rename(b"out/own", b"log.txt", 1),
            sftp.rmdir(b"out"),
            sftp.remove(b"log.txt"),
            sftp.make_link(b"x", b"new/deep", True),
            sftp.setstat(b"", SFTPAttrs(permissions=0o777)),
        ):
            with fails(errno.EROFS):
                await attempt
        # What is named is there for everything.
        await sftp.write_all(b"log.txt", b"line\n", OPEN_EXISTING)
        await sftp.mkdir(b"new", NONE)
        await sftp.mkdir(b"new/deep", NONE)
        await sftp.mkdir(b"new/deep/er", NONE)
        await sftp.write_all(b"new/deep/er/f", b"f")
        await sftp.rename(b"new/deep/er", b"out/er", 1)
        await sftp.make_link(b"out/own", b"new/deep/own", False)
        await sftp.make_link(b"../Makefile", b"out/link", True)
        await sftp.setstat(b"out", SFTPAttrs(permissions=0o700))
        await sftp.remove(b"out/own")

    after = snapshot(folder)
    assert after.pop(b"log.txt")[3] == b"line\n" and outside.pop(b"log.txt")
    assert {path: entry for path, entry in after.items() if not path.startswith((b"out", b"new"))} == outside
    assert set(after) - set(outside) == {
        *(b"new", b"new/deep", b"new/deep/own", b"out", b"out/er", b"out/er/f", b"out/link")
    }


async def test_what_is_there_is_opened_and_found_there_as_on_a_read_only_disk(serving, folder):
    """What flock(1) does, and who makes a lock file."""
    for name in (".womm", "f", "hidden"):
        (folder / name).write_text(name)
    (folder / ".wommignore").write_text("hidden\n")

    async with with_sftp(lambda: serving(write=[b"out"])) as (sftp, pod):
        for path in (b"f", b".womm"):
            handle = await sftp.open56(path, READ, OPEN_OR_CREATE, NONE)
            assert (await sftp.read(handle, 0, 100))[0] == path
            await sftp.close(handle)
            with fails(errno.EEXIST):
                await sftp.open56(path, READ | WRITE, CREATE_NEW, NONE)
        assert pod.said == []
        with fails(errno.EROFS):
            await sftp.open56(b"none", READ, OPEN_OR_CREATE, NONE)
        with fails(errno.EROFS):
            await sftp.open56(b"hidden", READ, CREATE_NEW, NONE)


async def test_read_only_goes_before_all_of_it(serving, folder):
    (folder / ".womm").touch()

    async with with_sftp(lambda: serving(read_only=True)) as (sftp, pod):
        with fails(errno.EROFS):
            await sftp.write_all(b".womm", b"", OPEN_EXISTING)
        assert pod.said == []


def _tree(folder):
    """A tree whose secrets are hidden by rules of every kind, with files of womm's in it."""
    for name in ("a/b", "c/d/e", "p/q", "r"):
        (folder / name).mkdir(parents=True)
    (folder / ".wommignore").write_text("/p/q/secret1\nsecret2\n/c/d/hid/\n")
    (folder / "r/.wommignore").write_text("secret3\n")
    (folder / "c/d/hid").mkdir()
    for name in ("p/q/secret1", "a/secret2", "r/secret3", "c/d/hid/secret4"):
        (folder / name).write_text("SECRET")
    for name in ("a/b/.womm", "c/.womm", ".womm"):
        (folder / name).write_text("mine")
    for name in ("a/f", "a/b/g", "c/d/e/h", "p/i", "r/j"):
        (folder / name).write_text("theirs")


@pytest.mark.slow
@pytest.mark.parametrize("write", [(), (b"c/d", b"new")], ids=["all", "share-write"])
async def test_random_changes_of_two_pods_at_a_time_show_nothing_hidden_and_leave_womms_files(
    serving, folder, write
):
    """Renames, links, directories and files in each other's way, with names that matter."""
    _tree(folder)
    kept = {path: entry for path, entry in snapshot(folder).items() if b".womm" in path}
    secrets = {b"p/q/secret1", b"a/secret2", b"r/secret3", b"c/d/hid/secret4"}
    parts = [b"a", b"b", b"c", b"d", b"e", b"p", b"q", b"r", b"hid", b"x", b"y", b"new"]
    lasts = [
        *parts,
        b".womm",
        b".wommignore",
        b".WOMM",
        b"secret1",
        b"secret2",
        b"secret3",
        b"secret4",
        b"f",
        b"g",
    ]
    rnd = random.Random(repr(write))

    def path():
        if rnd.random() < 0.6:
            with suppress(FileNotFoundError):  # a directory is moved meanwhile
                return rnd.choice([*snapshot(folder)])
        return b"/".join([*rnd.choices(parts, k=rnd.randrange(4)), rnd.choice(lasts)])

    async def one(sftp):
        kind = rnd.randrange(8)
        if kind < 3:
            await sftp.rename(path(), path(), rnd.randrange(2))
        elif kind == 3:
            await sftp.make_link(path(), path(), rnd.random() < 0.3)
        elif kind == 4:
            await sftp.mkdir(path(), NONE)
        elif kind == 5:
            await rnd.choice([sftp.remove, sftp.rmdir])(path())
        elif kind == 6:
            await sftp.put(path(), b"theirs", rnd.choice([1, 3, 5]))
        else:
            _, data, _ = await sftp.get(path())
            assert b"SECRET" not in data

    async def many(sftp):
        for _ in range(count(50, 1000)):
            for done in await asyncio.gather(*(one(sftp) for _ in range(8)), return_exceptions=True):
                assert done is None or isinstance(done, asyncssh.SFTPError), done

    async with with_sftp(lambda: serving(write=write)) as (sftp, pod):
        other = await pod.open_sftp()
        await asyncio.gather(many(sftp), many(other))
        seen = []
        todo = [b""]
        while todo:
            above = todo.pop()
            for name in await other.names(above):
                inner = b"/".join(filter(None, (above, name)))
                seen.append(inner)
                if stat.S_ISDIR(os.lstat(os.path.join(os.fsencode(folder), inner)).st_mode):
                    todo.append(inner)
                elif stat.S_ISREG(os.lstat(os.path.join(os.fsencode(folder), inner)).st_mode):
                    assert await other.read_all(inner) in (
                        b"theirs",
                        b"mine",
                        b"",
                        b"/p/q/secret1\nsecret2\n/c/d/hid/\n",
                        b"secret3\n",
                    )
        assert seen

    after = snapshot(folder)
    assert {path: entry for path, entry in after.items() if b".womm" in path.lower()} == kept
    assert {path for path, entry in after.items() if entry[-1] == b"SECRET"} == secrets
