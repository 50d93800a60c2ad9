"""What jobs have made gets its place in the user's folder, and nothing that is there is lost."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.share.eager.eagers import contents
from womm.share.beside import beside_name
from womm.share.eager.manifest import Ancestor, Base
from womm.share.eager.placer import Placer
from womm.share.eager.staging import Staging
from womm.store.pack import Stamp, stamp_of
from womm.store.protocol import DIRECTORY, FILE, LINK
from womm.store.send import digest

FOLDER = Stamp(DIRECTORY, 0o755, 0, 5)


class Placing:
    """A placer in `folder`, and files that it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = os.open(folder, os.O_RDONLY)
        found = os.fstat(self.root)
        self.ancestor = Ancestor(found.st_dev, found.st_ino)
        self.staging = Staging(self.root, "t1")
        self.it = Placer(self.root, "t1", self.staging, self.ancestor)

    def copied(self, path: str, data: str, mode: int = 0o644) -> None:
        """Make a file that both sides have."""
        file = self.folder / path
        file.write_text(data)
        file.chmod(mode)
        found = os.stat(file)
        stamp = stamp_of(found)
        assert stamp is not None
        theirs = Stamp(*stamp[:4])
        self.ancestor.entries[os.fsencode(path)] = Base(stamp, found.st_ino, theirs, digest(data.encode()))

    def file(self, path: str, data: str, mode: int = 0o644) -> None:
        """Place a file of the store."""
        fd = self.staging.create(b"0")
        os.write(fd, data.encode())
        os.fchmod(fd, mode & 0o777)
        os.utime(fd, ns=(7, 7))
        os.close(fd)
        self.it.place(os.fsencode(path), b"0", Stamp(FILE, mode, len(data.encode()), 7))
        assert os.listdir(self.staging.fd) == []

    def link(self, path: str, target: str) -> None:
        """Place a link of the store."""
        os.symlink(target, b"0", dir_fd=self.staging.fd)
        self.it.place(os.fsencode(path), b"0", Stamp(LINK, 0o777, len(target), 7))
        assert os.listdir(self.staging.fd) == []

    def close(self) -> None:
        self.it.close()
        self.staging.close()
        os.close(self.root)


@pytest.fixture
def placing(tmp_path: Path) -> Iterator[Placing]:
    folder = tmp_path / "folder"
    folder.mkdir()
    placing = Placing(folder)
    yield placing
    placing.close()


def test_new_file_gets_its_name_and_directories_on_its_way_and_is_known_from_then_on(
    placing: Placing,
) -> None:
    placing.file("a/b\udcff/f", "new", 0o754)
    found = os.stat(placing.folder / "a/b\udcff/f")
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o754, 7)
    assert placing.it.result.brought == (b"a/b\xff/f",)
    base = placing.ancestor.entries[b"a/b\xff/f"]
    assert base.is_ours(found) and base.theirs == Stamp(FILE, 0o754, 3, 7)


def test_file_that_is_here_as_it_was_copied_is_replaced(placing: Placing) -> None:
    placing.copied("f", "old")
    placing.file("f", "new")
    assert contents(placing.folder) == {"f": b"new"}
    assert (placing.it.result.brought, placing.it.result.conflicts) == ((b"f",), ())
    placing.file("f", "newer")
    assert contents(placing.folder) == {"f": b"newer"}


def test_file_with_the_content_that_is_here_is_left(placing: Placing) -> None:
    placing.copied("changed on both", "old")
    for path in ("new on both", "changed on both"):
        (placing.folder / path).write_text("equal")
        before = os.stat(placing.folder / path)
        placing.file(path, "equal")
        assert os.stat(placing.folder / path).st_ino == before.st_ino
    assert (placing.it.result.brought, placing.it.result.conflicts) == ((), ())


def test_file_that_only_the_store_has_touched_is_no_change(placing: Placing) -> None:
    placing.copied("f", "old")
    (placing.folder / "f").write_text("mine")
    placing.file("f", "old")
    placing.copied("deleted", "old")
    (placing.folder / "deleted").unlink()
    placing.file("deleted", "old")
    assert contents(placing.folder) == {"f": b"mine"}
    assert placing.it.result.conflicts == ()


def test_file_that_was_only_touched_here_is_replaced(placing: Placing) -> None:
    placing.copied("f", "old")
    os.utime(placing.folder / "f")
    placing.file("f", "new")
    assert contents(placing.folder) == {"f": b"new"}


def test_file_that_both_have_changed_is_kept_twice_also_again_and_again(placing: Placing) -> None:
    placing.copied("f", "old")
    (placing.folder / "f").write_text("mine")
    (placing.folder / "f.womm-t1").write_text("taken")
    placing.file("f", "theirs")
    placing.file("f", "theirs")  # as after a run that was ended before it could note it
    assert contents(placing.folder) == {"f": b"mine", "f.womm-t1": b"taken", "f.womm-t1.2": b"theirs"}
    assert set(placing.it.result.conflicts) == {(b"f", b"f.womm-t1.2")}


def test_file_here_is_never_taken_for_the_one_that_is_kept_beside_it(placing: Placing) -> None:
    placing.copied("f", "old")
    for path in ("f", "new"):
        (placing.folder / path).write_text("mine")
        placing.file(path, "theirs")
        base = placing.ancestor.entries[os.fsencode(path)]
        assert base.theirs == Stamp(FILE, 0o644, 6, 7)
        assert not base.is_ours(os.stat(placing.folder / path))
        placing.file(path, "theirs again")
    assert contents(placing.folder) == {
        name + beside: data
        for name in ("f", "new")
        for beside, data in (("", b"mine"), (".womm-t1", b"theirs"), (".womm-t1.2", b"theirs again"))
    }


@pytest.mark.parametrize("name", ["n" * 255, "\udcff" * 255])
def test_conflict_of_the_longest_name_has_a_name(placing: Placing, name: str) -> None:
    (placing.folder / name).write_text("mine")
    placing.file(name, "theirs")
    beside = os.fsdecode(beside_name(os.fsencode(name), "t1", 1))
    assert contents(placing.folder) == {name: b"mine", beside: b"theirs"}


def test_links_are_placed_compared_and_never_followed(placing: Placing, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("outside")
    placing.link("l", "../outside")
    placing.link("l", "../outside")
    assert placing.it.result.conflicts == ()
    (placing.folder / "m").symlink_to(tmp_path / "outside")
    placing.file("m", "theirs")
    placing.link("m", "elsewhere")
    assert os.readlink(placing.folder / "m") == str(tmp_path / "outside")
    assert (tmp_path / "outside").read_text() == "outside"
    assert (placing.folder / "m.womm-t1").read_text() == "theirs"
    assert os.readlink(placing.folder / "m.womm-t1.2") == "elsewhere"


@pytest.mark.parametrize("here", ["file", "link out", "fifo"])
def test_directory_whose_name_is_taken_is_made_beside_with_all_that_is_in_it(
    placing: Placing, tmp_path: Path, here: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    name = placing.folder / "d"
    if here == "file":
        name.write_text("mine")
    elif here == "link out":
        name.symlink_to(outside)
    else:
        os.mkfifo(name)
    before = os.lstat(name)
    placing.it.directory(b"d", FOLDER)
    placing.it.directory(b"d/e", FOLDER)
    placing.file("d/e/f", "theirs")
    assert os.lstat(name) == before
    assert (placing.folder / "d.womm-t1/e/f").read_text() == "theirs"
    assert placing.it.result.conflicts == ((b"d", b"d.womm-t1"),)
    assert os.listdir(outside) == []


def test_file_whose_name_is_a_directorys_here_comes_beside(placing: Placing) -> None:
    (placing.folder / "d").mkdir()
    placing.file("d", "theirs")
    assert contents(placing.folder) == {"d.womm-t1": b"theirs"} and (placing.folder / "d").is_dir()


def test_directory_can_be_written_to_whatever_mode_it_has_in_the_store(placing: Placing) -> None:
    placing.it.directory(b"d", Stamp(DIRECTORY, 0o7500, 0, 5))
    assert stat.S_IMODE(os.stat(placing.folder / "d").st_mode) == 0o700
    placing.file("d/f", "theirs")
    assert contents(placing.folder) == {"d/f": b"theirs"}


def test_mode_alone_comes_back_unless_it_was_changed_here_too(placing: Placing) -> None:
    for path, now in (("script", 0o644), ("mine", 0o600)):
        placing.copied(path, "same")
        (placing.folder / path).chmod(now)
        inode = os.stat(placing.folder / path).st_ino
        placing.file(path, "same", 0o6755)
        assert os.stat(placing.folder / path).st_ino == inode
    modes = [stat.S_IMODE(os.stat(placing.folder / path).st_mode) for path in ("script", "mine")]
    assert modes == [0o755, 0o600]


@pytest.mark.parametrize("here", ["directory", "link", "fifo"])
def test_mode_of_a_file_is_not_given_to_what_took_its_place_here(placing: Placing, here: str) -> None:
    placing.copied("f", "same", 0o777)
    path = placing.folder / "f"
    path.unlink()
    if here == "directory":
        path.mkdir()
        path.chmod(0o777)
    elif here == "link":
        path.symlink_to("nowhere")
    else:
        os.mkfifo(path)
        path.chmod(0o777)
    before = os.lstat(path)
    placing.file("f", "same", 0o700)
    assert os.lstat(path) == before
    assert (placing.it.result.refused, placing.it.result.conflicts) == ((), ())


def test_name_that_no_disk_here_takes_is_refused_and_the_others_come(placing: Placing) -> None:
    placing.it.directory(b"n" * 256, FOLDER)
    placing.file("n" * 256, "theirs")
    placing.file("n" * 256 + "/f", "theirs")
    placing.file("f", "theirs")
    assert [path for path, _ in placing.it.result.refused] == [b"n" * 256, b"n" * 256, b"n" * 256 + b"/f"]
    assert {why for _, why in placing.it.result.refused} == {os.strerror(errno.ENAMETOOLONG)}
    assert contents(placing.folder) == {"f": b"theirs"}


def test_error_that_is_the_same_for_all_files_is_raised(placing: Placing) -> None:
    with pytest.raises(FileNotFoundError):
        placing.it.place(b"f", b"none", Stamp(FILE, 0o644, 1, 7))
    assert placing.it.result.refused == ()
