"""What every backend promises (womm/nfs/filesystem.py), as tests.

A module imports all of this and gives a fixture `fs`, a `Driver`: a started filesystem and a way to run it.
"""

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from womm.nfs.constants import SHARE_BOTH, SHARE_READ, SHARE_WRITE, FileType
from womm.nfs.filesystem import NOTHING, NOW, WANT_KEY, Attributes, Filesystem, Settings
from womm.nfs.status import NFSError, Status, status_of

T = TypeVar("T")
ALL = 0x3FF


@dataclass
class Driver:
    """Runs a filesystem's methods, and gives errors one form."""

    runner: asyncio.Runner
    real: Filesystem

    def __call__(self, work: Coroutine[Any, Any, T]) -> T:
        async def translated() -> T:
            try:
                return await work
            except OSError as exc:
                raise NFSError(status_of(exc)) from exc

        return self.runner.run(translated())

    @property
    def root(self):
        return self.real.root()

    def attributes(self, node) -> Attributes:
        return self(self.real.getattr(node, ALL))

    def make(self, name: bytes, data: bytes = b"", directory=None, mode: int | None = None):
        """Make a file with a content; return its node."""
        settings = Settings(mode=mode)
        node, file, _, _ = self(
            self.real.create(
                directory or self.root, name, settings, verifier=None, exclusive=True, access=SHARE_BOTH
            )
        )
        if data:
            assert self(self.real.write(file, 0, memoryview(data), False)) == len(data)
        self(self.real.close(file))
        return node

    def content(self, node) -> bytes:
        file = self(self.real.open(node, SHARE_READ))
        try:
            return bytes(self(self.real.read(file, 0, 1 << 20))[0])
        finally:
            self(self.real.close(file))

    def names(self, directory=None, count: int = 1000) -> list[bytes]:
        found, cookie = [], 0
        while True:
            listing = self(self.real.readdir(directory or self.root, cookie, WANT_KEY, count))
            found += [entry.name for entry in listing.entries]
            if listing.eof:
                return found
            assert listing.entries, "no progress"
            cookie = listing.entries[-1].cookie

    def fails(self, work: Coroutine[Any, Any, Any], *statuses: Status) -> None:
        with pytest.raises(NFSError) as caught:
            self(work)
        assert caught.value.status in statuses


def test_root_is_a_directory_without_a_parent(fs):
    assert fs.attributes(fs.root).kind is FileType.DIRECTORY
    fs.fails(fs.real.parent(fs.root), Status.NOENT)
    assert fs.names() == []


def test_key_finds_its_file_again_after_a_rename(fs):
    node = fs.make(b"a", b"content")
    assert len(node.key) <= 48
    fs(fs.real.rename(fs.root, b"a", fs.root, b"b"))
    assert fs(fs.real.resolve(node.key)).key == node.key
    assert fs(fs.real.lookup(fs.root, b"b")).key == node.key
    fs.fails(fs.real.lookup(fs.root, b"a"), Status.NOENT)


@pytest.mark.parametrize("key", [b"", b"x", bytes(8), bytes(16), b"\xff" * 16, b"\xff" * 48])
def test_key_of_nothing_is_refused(fs, key):
    fs.fails(fs.real.resolve(key), Status.STALE, Status.BADHANDLE)


def test_removed_file_is_stale_but_open_it_lives(fs):
    node = fs.make(b"f", b"content")
    file = fs(fs.real.open(node, SHARE_BOTH))
    change = fs(fs.real.remove(fs.root, b"f"))
    assert change.after > change.before
    assert fs.names() == []
    assert fs.attributes(node).nlink == 0
    assert fs(fs.real.read(file, 0, 100)) == (b"content", True)
    assert fs(fs.real.resolve(node.key)).key == node.key
    fs(fs.real.write(file, 7, memoryview(b"!"), True))
    fs(fs.real.close(file))
    fs.fails(fs.real.resolve(node.key), Status.STALE)


def test_new_file_with_an_old_name_is_another(fs):
    old = fs.make(b"f")
    fs(fs.real.remove(fs.root, b"f"))
    new = fs.make(b"f")
    assert old.key != new.key
    fs.fails(fs.real.resolve(old.key), Status.STALE)


def test_change_grows_with_every_change(fs):
    node = fs.make(b"f")
    file = fs(fs.real.open(node, SHARE_WRITE))
    last = fs.attributes(node).change
    for number in range(1000):
        fs(fs.real.write(file, 0, memoryview(b"%d" % number), False))
        now = fs.attributes(node).change
        assert now > last
        last = now
    assert fs.attributes(node).change == last
    fs(fs.real.close(file))
    fs(fs.real.setattr(node, Settings(mode=0o600), None))
    assert fs.attributes(node).change > last


def test_change_of_a_directory_is_told_before_and_after(fs):
    last = fs.attributes(fs.root).change
    for number in range(20):
        _, change = fs(fs.real.mkdir(fs.root, b"d%d" % number, NOTHING))
        assert change.before == last
        assert change.after > change.before
        last = fs.attributes(fs.root).change
        assert last == change.after


def test_read_of_nothing_is_at_the_end_only_there(fs):
    node = fs.make(b"f", b"content")
    file = fs(fs.real.open(node, SHARE_READ))
    found = [fs(fs.real.read(file, offset, 0)) for offset in (0, 6, 7, 8)]
    assert [(bytes(data), eof) for data, eof in found] == [
        (b"", False),
        (b"", False),
        (b"", True),
        (b"", True),
    ]
    fs(fs.real.close(file))


def test_read_and_write_at_offsets(fs):
    node = fs.make(b"f", b"0123456789")
    file = fs(fs.real.open(node, SHARE_BOTH))
    assert fs(fs.real.read(file, 2, 3)) == (b"234", False)
    assert fs(fs.real.read(file, 8, 10)) == (b"89", True)
    assert fs(fs.real.read(file, 5, 5)) == (b"56789", True)
    assert fs(fs.real.read(file, 100, 5)) == (b"", True)
    fs(fs.real.write(file, 12, memoryview(b"x"), False))
    assert fs(fs.real.read(file, 9, 10)) == (b"9\0\0x", True)
    large = os.urandom(1 << 20)
    assert fs(fs.real.write(file, 1 << 33, memoryview(large), False)) == len(large)
    assert fs(fs.real.read(file, 1 << 33, 1 << 20)) == (large, True)
    assert fs.attributes(node).size == (1 << 33) + (1 << 20)
    assert fs.attributes(node).used < 1 << 30
    fs(fs.real.commit(node, file))
    fs(fs.real.commit(node, None))
    fs(fs.real.close(file))


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1777, 0o2775, 0o3755])
def test_directory_has_all_the_bits_that_it_is_made_with(fs, mode):
    made, _ = fs(fs.real.mkdir(fs.root, b"made", Settings(mode=mode)))
    assert fs.attributes(made).mode == mode
    changed, _ = fs(fs.real.mkdir(fs.root, b"changed", Settings(mode=0o750)))
    fs(fs.real.setattr(changed, Settings(mode=mode), None))
    assert fs.attributes(changed).mode == mode
    fs(fs.real.setattr(changed, Settings(mode=0o711), None))
    assert fs.attributes(changed).mode == 0o711


@pytest.mark.parametrize("mode", [None, 0o755, 0o775, 0o2700, 0o1777])
def test_directory_in_a_setgid_directory_has_the_bit_too(fs, mode):
    above, _ = fs(fs.real.mkdir(fs.root, b"above", Settings(mode=0o2775)))
    for name in (b"one", b"two"):
        below, _ = fs(fs.real.mkdir(above, name, Settings(mode=mode)))
        assert fs.attributes(below).mode == (0o755 if mode is None else mode) | 0o2000
        above = below
    # A file has none of it.
    node = fs.make(b"f", b"x", above, mode=0o640)
    assert fs.attributes(node).mode == 0o640


def test_setattr_sets_what_it_is_given(fs):
    node = fs.make(b"f", b"0123456789")
    fs(
        fs.real.setattr(
            node, Settings(mode=0o4711, size=4, atime_ns=5, mtime_ns=1_234_567_890_123_456_789), None
        )
    )
    found = fs.attributes(node)
    assert (found.mode, found.size, found.atime_ns, found.mtime_ns) == (
        0o4711,
        4,
        5,
        1_234_567_890_123_456_789,
    )
    assert fs.content(node) == b"0123"
    fs(fs.real.setattr(node, Settings(atime_ns=NOW), None))
    assert fs.attributes(node).atime_ns > 5
    assert fs.attributes(node).mtime_ns == 1_234_567_890_123_456_789
    fs(fs.real.setattr(node, Settings(size=1 << 20), None))
    assert fs.content(node) == b"0123" + bytes((1 << 20) - 4)


def test_create_exclusive_and_not(fs):
    node, file, change, made = fs(
        fs.real.create(fs.root, b"f", Settings(mode=0o400), verifier=None, exclusive=True, access=SHARE_BOTH)
    )
    assert made
    assert change.after > change.before
    assert fs.attributes(node).mode == 0o400
    fs(fs.real.write(file, 0, memoryview(b"x"), False))
    fs(fs.real.close(file))
    fs.fails(
        fs.real.create(fs.root, b"f", NOTHING, verifier=None, exclusive=True, access=SHARE_BOTH), Status.EXIST
    )
    same, file, _, made = fs(
        fs.real.create(fs.root, b"f", Settings(mode=0o777), verifier=None, exclusive=False, access=SHARE_READ)
    )
    assert (same.key, made) == (node.key, False)
    assert fs.attributes(node).mode == 0o400
    fs(fs.real.close(file))
    fs(fs.real.mkdir(fs.root, b"d", NOTHING))
    fs.fails(
        fs.real.create(fs.root, b"d", NOTHING, verifier=None, exclusive=False, access=SHARE_READ),
        Status.ISDIR,
    )


def test_create_with_a_verifier_is_repeatable_until_the_file_changes(fs):
    verifier = b"\xff\x01\x02\x03\xff\x05\x06\x07"
    node, file, _, _ = fs(
        fs.real.create(fs.root, b"f", NOTHING, verifier=verifier, exclusive=True, access=SHARE_BOTH)
    )
    again, second, _, _ = fs(
        fs.real.create(fs.root, b"f", NOTHING, verifier=verifier, exclusive=True, access=SHARE_BOTH)
    )
    assert again.key == node.key
    fs.fails(
        fs.real.create(fs.root, b"f", NOTHING, verifier=b"another.", exclusive=True, access=SHARE_BOTH),
        Status.EXIST,
    )
    fs(fs.real.write(file, 0, memoryview(b"x"), False))
    fs.fails(
        fs.real.create(fs.root, b"f", NOTHING, verifier=verifier, exclusive=True, access=SHARE_BOTH),
        Status.EXIST,
    )
    fs(fs.real.close(file))
    fs(fs.real.close(second))


def test_kinds_of_files(fs):
    link, _ = fs(fs.real.symlink(fs.root, b"link", b"../out/of\xff", NOTHING))
    assert fs(fs.real.readlink(link)) == b"../out/of\xff"
    fifo, _ = fs(fs.real.mknod(fs.root, b"fifo", FileType.FIFO, (0, 0), Settings(mode=0o620)))
    assert (fs.attributes(fifo).kind, fs.attributes(fifo).mode) == (FileType.FIFO, 0o620)
    fs(fs.real.mknod(fs.root, b"socket", FileType.SOCKET, (0, 0), NOTHING))
    assert fs(fs.real.lookup(fs.root, b"socket")).kind is FileType.SOCKET
    for node in (link, fifo, fs.root):
        fs.fails(fs.real.open(node, SHARE_READ), Status.INVAL)
    # A link's own times, never its target's.
    target = fs.make(b"target")
    before = fs.attributes(target)
    to_it, _ = fs(fs.real.symlink(fs.root, b"to", b"target", NOTHING))
    fs(fs.real.setattr(to_it, Settings(mtime_ns=77), None))
    assert fs.attributes(to_it).mtime_ns == 77
    assert fs.attributes(target) == before


def test_hard_links(fs):
    node = fs.make(b"a", b"x")
    fs(fs.real.link(node, fs.root, b"b"))
    assert fs.attributes(node).nlink == 2
    fs(fs.real.remove(fs.root, b"a"))
    assert fs(fs.real.resolve(node.key)).key == node.key
    assert fs.content(fs(fs.real.lookup(fs.root, b"b"))) == b"x"
    link, _ = fs(fs.real.symlink(fs.root, b"l", b"b", NOTHING))
    fs(fs.real.link(link, fs.root, b"m"))
    assert fs(fs.real.readlink(fs(fs.real.lookup(fs.root, b"m")))) == b"b"
    fs.fails(fs.real.link(node, fs.root, b"m"), Status.EXIST)


def test_rename_in_one_step_over_what_is_there(fs):
    one, two = fs.make(b"one", b"1"), fs.make(b"two", b"2")
    fs(fs.real.rename(fs.root, b"one", fs.root, b"two"))
    assert fs.names() == [b"two"]
    assert fs(fs.real.lookup(fs.root, b"two")).key == one.key
    fs.fails(fs.real.resolve(two.key), Status.STALE)
    deep, _ = fs(fs.real.mkdir(fs.root, b"d", NOTHING))
    changes = fs(fs.real.rename(fs.root, b"two", deep, b"three"))
    assert all(change.after > change.before for change in changes)
    assert fs.names(deep) == [b"three"]
    fs.fails(fs.real.rename(fs.root, b"d", deep, b"self"), Status.INVAL)
    fs.make(b"file")
    fs.fails(fs.real.rename(fs.root, b"file", fs.root, b"d"), Status.EXIST, Status.ISDIR)
    fs.fails(fs.real.rename(fs.root, b"none", fs.root, b"x"), Status.NOENT)
    # Two names of one file: nothing happens.
    fs(fs.real.link(one, fs.root, b"other"))
    fs(fs.real.rename(fs.root, b"other", deep, b"three"))
    assert fs.attributes(one).nlink == 2


def test_directory_that_moved_keeps_what_is_in_it(fs):
    top, _ = fs(fs.real.mkdir(fs.root, b"top", NOTHING))
    inner, _ = fs(fs.real.mkdir(top, b"inner", NOTHING))
    leaf = fs.make(b"leaf", b"x", inner)
    fs(fs.real.rename(fs.root, b"top", fs.root, b"moved"))
    assert fs(fs.real.parent(inner)).key == top.key
    assert fs(fs.real.parent(top)).key == fs.root.key
    assert fs.content(fs(fs.real.resolve(leaf.key))) == b"x"
    fs.fails(fs.real.remove(fs.root, b"moved"), Status.NOTEMPTY, Status.EXIST)
    fs(fs.real.remove(inner, b"leaf"))
    fs(fs.real.remove(top, b"inner"))
    fs(fs.real.remove(fs.root, b"moved"))


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_listing_is_whole_however_it_is_cut(fs, count):
    names = [b"n%03d" % number for number in range(60)] + [b"\xff\xfe", b"-x", b" "]
    for name in names:
        fs.make(name)
    assert sorted(fs.names(count=count)) == sorted(names)
    listing = fs(fs.real.readdir(fs.root, 0, WANT_KEY, 5))
    for entry in listing.entries:
        assert entry.cookie >= 3
        assert isinstance(entry.attributes, Attributes)
        assert fs(fs.real.resolve(entry.key)).key == entry.key
        assert fs.attributes(fs(fs.real.lookup(fs.root, entry.name))).fileid == entry.attributes.fileid


def test_listing_has_every_name_that_stays_once_while_others_come_and_go(fs):
    stay = {b"stay%03d" % number for number in range(200)}
    for number in range(200):
        fs.make(b"stay%03d" % number)
        fs.make(b"go%03d" % number)
    found, cookie, turn = [], 0, 0
    while True:
        listing = fs(fs.real.readdir(fs.root, cookie, WANT_KEY, 9))
        found += [entry.name for entry in listing.entries if entry.name in stay]
        if listing.eof:
            break
        cookie = listing.entries[-1].cookie
        if turn < 200:
            fs(fs.real.remove(fs.root, b"go%03d" % turn))
            fs.make(b"new%03d" % turn)
        turn += 1
    assert sorted(found) == sorted(stay)


def test_names_of_any_bytes(fs):
    for name in (b"\x01\x02", b"a\nb", b"x" * 255, "ä".encode("latin-1"), b"*?[", b"'\""):
        fs.make(name)
        assert fs(fs.real.lookup(fs.root, name))
        fs(fs.real.remove(fs.root, name))
    fs.fails(fs.real.lookup(fs.root, b"x" * 256), Status.NAMETOOLONG, Status.NOENT)


def test_holes_are_found_made_and_filled(fs):
    node = fs.make(b"f")
    file = fs(fs.real.open(node, SHARE_BOTH))
    fs(fs.real.write(file, 4 << 20, memoryview(b"x" * 65536), False))
    fs(fs.real.commit(node, file))
    assert fs(fs.real.seek(file, 0, True)) == 4 << 20
    assert fs(fs.real.seek(file, 0, False)) == 0
    assert fs(fs.real.seek(file, 4 << 20, False)) == (4 << 20) + 65536
    fs.fails(fs.real.seek(file, 1 << 40, True), Status.NXIO)
    fs(fs.real.deallocate(file, 4 << 20, 65536))
    assert fs(fs.real.read(file, 4 << 20, 10))[0] == bytes(10)
    assert fs.attributes(node).size == (4 << 20) + 65536
    fs(fs.real.allocate(file, 0, 8 << 20))
    assert fs.attributes(node).size == 8 << 20
    fs(fs.real.close(file))


def test_copy_within(fs):
    node, target = fs.make(b"a", b"0123456789"), fs.make(b"b", b"----------")
    source, into = fs(fs.real.open(node, SHARE_READ)), fs(fs.real.open(target, SHARE_BOTH))
    assert fs(fs.real.copy(source, 2, into, 4, 3)) == 3
    assert fs.content(target) == b"----234---"
    assert fs(fs.real.copy(source, 8, into, 0, 100)) == 2
    assert fs(fs.real.copy(source, 50, into, 0, 100)) == 0
    fs(fs.real.close(source))
    fs(fs.real.close(into))


def test_xattrs(fs):
    if not fs.real.limits.xattrs:
        fs.fails(fs.real.getxattr(fs.root, b"a"), Status.NOTSUPP, Status.NOXATTR)
        return
    node = fs.make(b"f")
    fs.fails(fs.real.getxattr(node, b"a"), Status.NOXATTR)
    change = fs(fs.real.setxattr(node, b"a", b"\0\xff", 0))
    assert change.after > change.before
    assert fs(fs.real.getxattr(node, b"a")) == b"\0\xff"
    fs.fails(fs.real.setxattr(node, b"a", b"", 1), Status.EXIST)
    fs.fails(fs.real.setxattr(node, b"b", b"", 2), Status.NOXATTR)
    fs(fs.real.setxattr(fs.root, b"b", b"", 1))
    assert fs(fs.real.listxattr(node)) == [b"a"]
    fs(fs.real.removexattr(node, b"a"))
    fs.fails(fs.real.removexattr(node, b"a"), Status.NOXATTR)


def test_space(fs):
    space = fs(fs.real.statfs())
    assert 0 < space.available_bytes <= space.free_bytes <= space.total_bytes
    assert fs.real.limits.max_name_bytes >= 255
