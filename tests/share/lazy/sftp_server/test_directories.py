"""Requests about directories, from asyncssh's client."""

import asyncio
import errno
import os
import stat

import pytest

from tests.share.eager.pod import (
    NONE,
    OPEN_EXISTING,
    READ,
    fails,
    mode_of,
    pairs,
    with_sftp,
)
from tests.share.lazy.sftp_server.client import Client
from womm.wire.extensions import (
    Find,
    FoundPath,
    Listed,
    Rows,
    Tree,
)
from womm.wire.fields import Reader, read_string, string
from womm.wire.replies import BODY_AT, read_names, read_status
from womm.wire.rows import read_rows
from womm.wire.sftp import Code, Kind


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


# -- one channel, in packets
async def test_file_is_found_by_its_inode_wherever_it_was_moved(folder):
    (folder / "a/b\udcff").mkdir(parents=True)
    (folder / "a/b\udcff/f").touch()
    found = os.stat(folder / "a/b\udcff/f")
    async with Client(folder) as client:
        packet = await client.extended(Find(found.st_dev, found.st_ino))
        assert FoundPath.read(Reader(memoryview(packet), BODY_AT)).path == b"a/b\xff/f"
        (folder / "a/b\udcff/f").unlink()
        assert read_status(await client.extended(Find(found.st_dev, found.st_ino))).errno == errno.ENOENT
        assert read_status(await client.extended(Find(found.st_dev + 1, 1))).errno == errno.ENOENT


async def test_hidden_file_is_not_found_by_its_inode(folder):
    (folder / ".wommignore").write_text("*.key\n")
    (folder / "a.key").touch()
    found = os.stat(folder / "a.key")
    async with Client(folder) as client:
        packet = await client.extended(Find(found.st_dev, found.st_ino))
        assert read_status(packet).errno == errno.ENOENT


async def test_names_that_are_removed_while_they_are_listed_are_no_error(folder):
    for number in range(3000):
        (folder / f"{number:0200}").touch()
    async with Client(folder) as client:
        packet = await client.ask(Kind.OPENDIR, string(b""))
        handle = string(read_string(packet, BODY_AT)[0])
        first, at_end = read_names(await client.ask(Kind.READDIR, handle))
        assert not at_end and len(first) < 3000
        for path in folder.iterdir():
            path.unlink()
        packet = await client.ask(Kind.READDIR, handle)
        assert packet[0] == Kind.STATUS and read_status(packet).code == Code.EOF
        assert read_status(await client.ask(Kind.CLOSE, handle)).code == Code.OK


@pytest.mark.parametrize("path", [b"none", b"f", b"l", b"..", b"a\0"])
async def test_what_is_no_directory_is_neither_opened_nor_removed(folder, path):
    (folder / "f").touch()
    (folder / "l").symlink_to("/etc")
    before = sorted(os.listdir(folder))
    async with Client(folder) as client:
        for kind in (Kind.OPENDIR, Kind.RMDIR):
            found = read_status(await client.ask(kind, string(path)))
            assert found.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EINVAL)
        packet = await client.extended(Tree(path, 10))
        assert packet[0] == Kind.STATUS and read_status(packet).errno
    assert sorted(os.listdir(folder)) == before


async def test_rows_are_a_directory_and_some_names_below_with_targets_of_links(folder):
    (folder / "a/b").mkdir(parents=True)
    for name in ("f", "a/f", "a/b/f"):
        (folder / name).touch()
    (folder / "l").symlink_to("a/../f")

    async with Client(folder) as client:

        async def rows(path, more):
            packet = await client.extended(Rows(path, more))
            found = Listed.read(Reader(memoryview(packet), BODY_AT))
            return read_rows(found.rows), found.whole

        everything, whole = await rows(b"", 100)
        assert whole and {(name, target) for name, _, target in everything} == {
            (name, b"a/../f" if name == b"l" else b"")
            for name in (b"a", b"f", b"l", b"/.", b"a/b", b"a/f", b"a/.", b"a/b/f", b"a/b/.")
        }
        alone, whole = await rows(b"", 0)
        assert whole and {name for name, _, _ in alone} == {b"a", b"f", b"l", b"/."}
        some, whole = await rows(b"", 1)
        assert whole and len(some) == 5
