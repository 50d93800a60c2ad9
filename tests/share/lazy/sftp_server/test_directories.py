"""Requests about directories, from asyncssh's client."""

import asyncio
import errno
import os
import stat

from tests.share.eager.pod import (
    NONE,
    OPEN_EXISTING,
    READ,
    fails,
    mode_of,
    pairs,
    with_sftp,
)


async def test_directories_of_any_size_are_listed(serving, folder):
    many = folder / "many"
    many.mkdir()
    for number in range(1500):
        (many / f"{number}").touch()
    (folder / "empty").mkdir()

    async with with_sftp(serving) as (sftp, _):
        found = await sftp.names(b"many")
        assert set(found) == {b"%d" % number for number in range(1500)}
        assert pairs(found[b"7"])[b"ino@womm"] == os.stat(many / "7").st_ino
        assert await sftp.names(b"empty") == {}
        with fails(errno.ENOENT):
            await sftp.names(b"none")
        handle = await sftp.open56(b"many/7", READ, OPEN_EXISTING, NONE)
        with fails(errno.ENOTDIR):
            await sftp.readdir(handle)
        # Asked for several times at once: no entry twice.
        handle = await sftp.opendir(b"many")
        answers = await asyncio.gather(*(sftp.readdir(handle) for _ in range(6)), return_exceptions=True)
        names = [name.filename for answer in answers if isinstance(answer, tuple) for name in answer[0]]
        assert sorted(names) == sorted(found)


async def test_trees_are_listed_breadth_first_with_end_marks(serving, folder):
    (folder / "a/b").mkdir(parents=True)
    (folder / "c").mkdir()
    for name in ("f", "a/f", "a/b/f", "c/f", "c/g"):
        (folder / name).touch()
    (folder / "l").symlink_to("a")

    async with with_sftp(serving) as (sftp, _):
        entries, at_end = await sftp.tree(b"", 1000)
        names = [name for name, _ in entries]
        assert at_end
        assert set(names[:4]) == {b"a", b"c", b"f", b"l"} and names[4] == b"/."
        assert sorted(names[5:]) == sorted(
            [b"a/b", b"a/f", b"a/.", b"c/f", b"c/g", b"c/.", b"a/b/f", b"a/b/."]
        )
        assert names.index(b"a/.") > max(names.index(b"a/b"), names.index(b"a/f"))
        assert names[-2:] == [b"a/b/f", b"a/b/."]
        attrs = dict(entries)
        assert pairs(attrs[b"a/."])[b"ino@womm"] == os.stat(folder / "a").st_ino
        assert stat.S_ISLNK(mode_of(attrs[b"l"]))
        below, at_end = await sftp.tree(b"a", 1000)
        assert at_end and {name for name, _ in below} == {b"b", b"f", b"/.", b"b/f", b"b/."}
        for most in range(13):
            some, at_end = await sftp.tree(b"", most)
            assert [name for name, _ in some] == names[:most] and at_end == (most == 13)
        with fails(errno.ENOENT):
            await sftp.tree(b"none", 10)
        with fails(errno.ENOTDIR):
            await sftp.tree(b"f", 10)
