"""The user's version of a file that jobs write to, too, is kept beside it."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.share.eager.eagers import contents
from womm.share.fence import Fence
from womm.share.lazy.versions import COPIES, FILES, Versions, both_sides, version_of


class Rig:
    """A folder, what is known of its files, and the copies that were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fence = Fence(folder)
        self.told: list[tuple[bytes, bytes]] = []
        self.it = Versions(self.fence, "t1", lambda path, beside: self.told.append((path, beside)))
        self._open: list[int] = []

    def open(self, path: str) -> int:
        """Open a file as the file server has it open."""
        self._open.append(os.open(self.folder / path, os.O_RDWR | os.O_CREAT))
        return self._open[-1]

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)
        self.fence.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


# -- whose a version is
def test_file_is_foreign_when_neither_its_version_nor_our_last_change_is_it(rig: Rig) -> None:
    fd = rig.open("f")
    base = version_of(os.fstat(fd))
    assert not rig.it.is_foreign(fd, base)
    assert rig.it.is_foreign(fd, ())
    os.write(fd, b"ours")
    noted = rig.it.note(os.fstat(fd))
    assert rig.it.is_ours(os.fstat(fd)) and noted == version_of(os.fstat(fd))
    assert not rig.it.is_foreign(fd, base)
    (rig.folder / "f").write_bytes(b"user")
    os.utime(fd, ns=(0, 5))
    assert rig.it.is_foreign(fd, base) and not rig.it.is_ours(os.fstat(fd))
    assert not rig.it.is_foreign(fd, version_of(os.fstat(fd)))


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_version_is_size_time_and_inode(rig: Rig, change: str) -> None:
    path = rig.folder / "f"
    path.write_bytes(b"data")
    os.utime(path, ns=(0, 5))
    before = version_of(os.stat(path))
    if change == "size":
        path.write_bytes(b"data!")
    elif change == "inode":
        (rig.folder / "new").write_bytes(b"data")
        (rig.folder / "new").rename(path)
    os.utime(path, ns=(0, 6 if change == "time" else 5))
    assert version_of(os.stat(path)) != before


def test_mode_and_other_names_make_no_other_version(rig: Rig) -> None:
    fd = rig.open("f")
    before = version_of(os.fstat(fd))
    os.fchmod(fd, 0o600)
    os.link(rig.folder / "f", rig.folder / "g")
    assert version_of(os.fstat(fd)) == before


def test_versions_of_the_files_that_were_changed_last_are_known(rig: Rig) -> None:
    found = os.fstat(rig.open("f"))
    fields = list(found)

    def numbered(number: int) -> os.stat_result:
        fields[stat.ST_INO] = number
        return os.stat_result(fields)

    for number in range(1, FILES + 1):
        rig.it.note(numbered(number))
    rig.it.note(numbered(1))  # it is the youngest now
    rig.it.note(numbered(FILES + 1))
    known = [rig.it.is_ours(numbered(number)) for number in (1, 2, 3, FILES + 1)]
    assert known == [True, False, True, True]


# -- copies
def test_copy_has_content_mode_and_time_and_is_told(rig: Rig) -> None:
    (rig.folder / "d\udcff").mkdir()
    fd = rig.open("d\udcff/f")
    os.write(fd, b"user")
    os.fchmod(fd, 0o4751)
    os.utime(fd, ns=(0, 1_500_000_000_123_456_789))
    assert rig.it.keep(b"d\xff/f", fd) == version_of(os.fstat(fd))
    found = os.stat(rig.folder / "d\udcff/f.womm-t1")
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o751, 1_500_000_000_123_456_789)
    assert contents(rig.folder) == {"d\udcff/f": b"user", "d\udcff/f.womm-t1": b"user"}
    assert rig.told == [(b"d\xff/f", b"d\xff/f.womm-t1")]


def test_copy_takes_a_name_that_is_free_and_follows_no_link(rig: Rig, tmp_path: Path) -> None:
    (rig.folder / "f.womm-t1").write_text("taken")
    (rig.folder / "f.womm-t1.2").symlink_to("nowhere")
    fd = rig.open("f")
    os.write(fd, b"user")
    rig.it.keep(b"f", fd)
    assert contents(rig.folder) == {"f": b"user", "f.womm-t1": b"taken", "f.womm-t1.3": b"user"}


def test_holes_stay_holes(rig: Rig) -> None:
    fd = rig.open("f")
    os.ftruncate(fd, 16 << 20)
    os.pwrite(fd, b"user", 8 << 20)
    rig.it.keep(b"f", fd)
    copy = rig.folder / "f.womm-t1"
    assert copy.read_bytes() == (rig.folder / "f").read_bytes()
    assert copy.stat().st_blocks * 512 < 4 << 20


def test_empty_file_and_one_without_a_name_are_kept_nowhere(rig: Rig) -> None:
    fd = rig.open("f")
    assert rig.it.keep(b"f", fd) == version_of(os.fstat(fd))
    os.write(fd, b"user")
    (rig.folder / "f").unlink()
    assert rig.it.keep(b"f", fd) == version_of(os.fstat(fd))
    assert (os.listdir(rig.folder), rig.told) == ([], [])


def test_copy_of_a_file_whose_directory_was_moved_is_at_the_top(rig: Rig) -> None:
    (rig.folder / "d").mkdir()
    fd = rig.open("d/f")
    os.write(fd, b"user")
    (rig.folder / "d").rename(rig.folder / "moved")
    rig.it.keep(b"d/f", fd)
    ((path, beside),) = rig.told
    assert path == b"d/f" and b"/" not in beside
    assert (rig.folder / os.fsdecode(beside)).read_bytes() == b"user"


def test_copies_of_one_file_do_not_fill_the_disk(rig: Rig) -> None:
    fd, other = rig.open("f"), rig.open("other")
    os.write(fd, b"user")
    os.write(other, b"user")
    for _ in range(COPIES):
        rig.it.keep(b"f", fd)
    with pytest.raises(OSError, match=f"changed here {COPIES} times while jobs wrote to it") as refused:
        rig.it.keep(b"f", fd)
    assert refused.value.errno == errno.EIO
    rig.it.keep(b"other", other)
    assert len(rig.told) == COPIES + 1


def test_file_that_changes_all_the_time_is_an_error_and_leaves_no_half_copy(rig: Rig) -> None:
    path = rig.folder / "f"
    fd = rig.open("f")
    os.ftruncate(fd, 16 << 20)  # it takes a while to read
    over = threading.Event()

    def change() -> None:
        number = 0
        while not over.is_set():
            number += 1
            os.utime(path, ns=(0, number))

    user = threading.Thread(target=change)
    user.start()
    try:
        with pytest.raises(OSError, match="it changes all the time"):
            rig.it.keep(b"f", fd)
    finally:
        over.set()
        user.join()
    assert (os.listdir(rig.folder), rig.told) == (["f"], [])


def test_disk_that_takes_no_copy_is_an_error(rig: Rig) -> None:
    fd = rig.open("f")
    os.write(fd, b"user")
    with pytest.raises(OSError) as refused:
        rig.it.keep(b"f/below", fd)
    assert refused.value.errno == errno.ENOTDIR
    assert contents(rig.folder) == {"f": b"user"}


# -- what the user reads
def test_ten_files_are_named_with_their_copies_and_the_others_counted() -> None:
    names = [f"f{number}" for number in range(12)]
    copies = [f"{name}.womm-t1" for name in names]
    line = both_sides(names, copies, 1012)
    assert line.startswith(
        "changed here while jobs wrote to it, both are kept: f0 (yours is f0.womm-t1), f1 "
    )
    assert line.endswith(", f9 (yours is f9.womm-t1) and 1002 more")
    assert both_sides(["\x1b[31m"], ["\n"], 1).endswith(": \\x1b[31m (yours is \\n)")
