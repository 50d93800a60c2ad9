"""A walk of a folder, and its files opened name by name: no link is followed, nothing else is looked at."""

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from womm.store.protocol import DIRECTORY, FILE, LINK
from womm.store.tree import DEPTH, STAGING, Tree, Walk, walk


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A descriptor of `tmp_path`."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def tree(root: int) -> Iterator[Tree]:
    tree = Tree(root)
    yield tree
    tree.close()


class Names:
    """An ignore rule: these names."""

    def __init__(self, *names: bytes) -> None:
        self._names = names
        self.asked: list[bytes] = []

    def is_ignored(self, path: bytes, is_dir: bool) -> bool:
        self.asked.append(path)
        return path.rpartition(b"/")[2] in self._names


@contextmanager
def somebody(folder: Path) -> Iterator[None]:
    """Be a user who may not read everything, and to whom the folder belongs."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- the walk
def test_walk_of_an_empty_folder_finds_nothing(root: int, tmp_path: Path) -> None:
    found = walk(root)
    assert (found.entries, found.files, found.size) == ({}, 0, 0)
    assert found.root.st_ino == tmp_path.stat().st_ino


def test_walk_finds_each_kind_with_its_stamp_and_directories_before_what_is_in_them(
    root: int, tmp_path: Path
) -> None:
    top = os.fsencode(tmp_path)
    os.makedirs(top + b"/d\xff/e \n")
    with open(top + b"/d\xff/e \n/f", "wb") as file:
        file.write(b"12345")
    os.chmod(top + b"/d\xff/e \n/f", 0o4751)
    os.utime(top + b"/d\xff/e \n/f", ns=(0, 1_500_000_000_123_456_789))
    os.symlink(b"nowhere", top + b"/d\xff/l")
    os.symlink(b"d\xff", top + b"/to a directory")
    os.mkfifo(top + b"/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(top + b"/socket")
    found = walk(root)
    kinds = {path: entry.stamp.kind for path, entry in found.entries.items()}
    assert kinds == {
        b"d\xff": DIRECTORY,
        b"d\xff/e \n": DIRECTORY,
        b"d\xff/e \n/f": FILE,
        b"d\xff/l": LINK,
        b"to a directory": LINK,
    }
    order = list(kinds)
    assert order.index(b"d\xff") < order.index(b"d\xff/e \n") < order.index(b"d\xff/e \n/f")
    stamp = found.entries[b"d\xff/e \n/f"].stamp
    assert (stamp.mode, stamp.size, stamp.mtime_ns) == (0o4751, 5, 1_500_000_000_123_456_789)
    assert sorted(found.special) == [b"fifo", b"socket"]
    assert (found.files, found.unreadable, found.mounts) == (3, {}, [])


def test_walk_counts_a_file_of_several_names_once_and_holes_never(root: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a", tmp_path / "b")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
        file.write(b"x")
    assert walk(root).size < 1000 + (1 << 20)


def test_walk_does_not_look_into_what_is_ignored_or_left_by_copies(root: int, tmp_path: Path) -> None:
    for name in ("build/inner", "src", os.fsdecode(STAGING) + "t1"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("build/inner/f", "src/object", "src/f", ".womm-sync-t1/1", "src/.womm-sync-t1-2"):
        (tmp_path / name).touch()
    ignore = Names(b"build", b"object")
    found = walk(root, ignore)
    assert set(found.entries) == {b"src", b"src/f"}
    assert found.ignored == 2
    assert sorted(found.staging) == [STAGING + b"t1", b"src/.womm-sync-t1-2"]
    assert not [path for path in ignore.asked if path.startswith((b"build/", STAGING))]


def test_walk_tells_of_each_directory_while_it_is_open(root: int, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("a", "d/b"):
        (tmp_path / name).write_text(name)
    told = []

    def seen(found: Walk, fd: int, directory: bytes, files: list[bytes]) -> None:
        told.append((directory, files, sorted(os.listdir(fd))))
        assert not directory or directory in found.entries

    walk(root, seen=seen)
    assert told == [(b"", [b"a"], ["a", "d"]), (b"d", [b"d/b"], ["b"])]


@pytest.mark.parametrize("who", ["stop", "seen"])
def test_walk_that_is_ended_leaves_nothing_open(root: int, tmp_path: Path, who: str) -> None:
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    calls = []

    def end(*args: object) -> None:
        calls.append(args)
        if len(calls) == 4:
            raise KeyError

    before = open_files()
    with pytest.raises(KeyError):
        if who == "stop":
            walk(root, stop=end)
        else:
            walk(root, seen=end)
    assert open_files() == before


def test_walk_of_a_deep_tree_goes_below_the_longest_path_of_a_call(root: int, tmp_path: Path) -> None:
    here = os.dup(root)
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=here)
        inner = os.open("n" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    deep = b"/".join([b"n" * 200] * 30 + [b"f"])
    assert len(deep) > 4096
    assert deep in walk(root).entries
    tree = Tree(root)
    with tree.reading(deep) as fd:
        assert os.fstat(fd).st_size == 0
    tree.close()
    shutil.rmtree("n" * 200, dir_fd=root)


def test_walk_leaves_out_what_is_below_too_many_directories_and_goes_on(root: int, tmp_path: Path) -> None:
    (tmp_path / "z").touch()
    here = os.dup(root)
    for _ in range(DEPTH * 3):
        os.mkdir("a", dir_fd=here)
        inner = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    found = walk(root)
    assert b"z" in found.entries and len(found.entries) == DEPTH + 1
    assert found.unreadable == {b"/".join([b"a"] * (DEPTH + 1)): "below 500 directories"}
    subprocess.run(["rm", "-r", tmp_path / "a"], check=True)  # pytest cannot


def test_walk_names_what_cannot_be_read_and_goes_on(root: int, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(0o000)
    (tmp_path / "open").mkdir()
    with somebody(tmp_path):
        found = walk(root)
        assert found.unreadable == {b"closed": "Permission denied"} and b"open" in found.entries
        assert walk(root, force=True).unreadable == {}


# -- one path
def test_tree_follows_no_link_on_its_way_or_at_its_end(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("f")
    (tmp_path / "l").symlink_to("d")
    (tmp_path / "f").symlink_to("d/f")
    for path in (b"l/f", b"f"):
        with pytest.raises(OSError) as refused:
            tree.open_file(path)
        assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert tree.lstat(b"l/f") is None
    found = tree.lstat(b"f")
    assert found is not None and found.st_size == len("d/f")


@pytest.mark.parametrize("path", [b"none", b"none/f", b"f/below", b"f/below/it"])
def test_tree_finds_nothing_where_there_is_nothing(tree: Tree, tmp_path: Path, path: bytes) -> None:
    (tmp_path / "f").touch()
    assert tree.lstat(path) is None
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        tree.open_file(path)


def test_tree_opens_a_fifo_without_waiting_for_its_writer(tree: Tree, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with tree.reading(b"fifo") as fd:
        assert os.fstat(fd).st_mode & 0o170000 == 0o010000


def test_tree_finds_each_directory_from_wherever_it_was_last(tree: Tree, tmp_path: Path) -> None:
    for path in ("a/b/c", "a/bb", "z"):
        (tmp_path / path).mkdir(parents=True)
    before = open_files()
    for path in ("a", "a/b/c", "a/b/c", "a/b", "a/bb", "z", "", "a/b/c"):
        found = os.fstat(tree.directory(os.fsencode(path)))
        assert found.st_ino == (tmp_path / path).stat().st_ino
        assert open_files() <= before + 1


def test_tree_stays_in_a_directory_that_was_moved_until_it_forgets_it(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    tree.directory(b"d")
    (tmp_path / "d").rename(tmp_path / "moved")
    (tmp_path / "moved/f").touch()
    assert tree.lstat(b"d/f") is not None
    tree.forget()
    assert tree.lstat(b"d/f") is None


def test_tree_that_cannot_go_on_leaves_nothing_open(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    tree.directory(b"a")
    before = open_files()
    for path in (b"a/b/none/c", b"a/none", b"none/a/b"):
        with pytest.raises(FileNotFoundError):
            tree.directory(path)
    assert open_files() == before
    assert os.fstat(tree.directory(b"a/b")).st_ino == (tmp_path / "a/b").stat().st_ino


def test_file_that_its_owner_may_not_read_is_read_for_a_store_only(root: int, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("f")
    path.chmod(0o200)
    with somebody(tmp_path):
        with pytest.raises(PermissionError):
            Tree(root).open_file(b"f")
        with Tree(root, force=True).reading(b"f") as fd:
            assert os.read(fd, 10) == b"f"
    assert path.stat().st_mode & 0o777 == 0o200
