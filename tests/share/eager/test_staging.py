"""Files get their names in the user's folder: whole, and nothing that is there is lost."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from womm.share.eager.staging import Staging, remove_stale, rename_new, rename_over
from womm.store.tree import walk


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A descriptor of `tmp_path`."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def staged(staging: Staging, name: bytes, data: bytes) -> bytes:
    fd = staging.create(name)
    os.write(fd, data)
    os.close(fd)
    return name


# -- renames
def test_new_name_is_taken_by_a_file_or_a_link(root: int, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    rename_new(root, b"old", root, b"\xff\n")
    os.symlink("nowhere", tmp_path / "link")
    rename_new(root, b"link", root, b"other")
    assert os.listdir(root) and os.readlink(tmp_path / "other") == "nowhere"
    assert (tmp_path / os.fsdecode(b"\xff\n")).read_text() == "old"


@pytest.mark.parametrize("there", ["file", "directory", "dangling link"])
def test_name_that_is_taken_stays_what_it_is(root: int, tmp_path: Path, there: str) -> None:
    (tmp_path / "old").write_text("old")
    name = tmp_path / "new"
    if there == "file":
        name.write_text("new")
    elif there == "directory":
        name.mkdir()
    else:
        name.symlink_to("nowhere")
    before = os.lstat(name)
    with pytest.raises(FileExistsError):
        rename_new(root, b"old", root, b"new")
    assert os.lstat(name) == before
    assert (tmp_path / "old").read_text() == "old"


def test_expected_file_is_replaced_and_goes(root: int, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    assert rename_over(root, b"new", root, b"old", os.stat(tmp_path / "old"))
    assert names(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "new"


@pytest.mark.parametrize("change", ["written", "touched", "replaced", "a directory", "a link"])
def test_file_that_is_not_the_expected_one_is_put_back(root: int, tmp_path: Path, change: str) -> None:
    old = tmp_path / "old"
    old.write_text("old")
    (tmp_path / "new").write_text("new")
    expected = os.stat(old)
    if change == "written":
        old.write_text("mine")
    elif change == "touched":
        os.utime(old, ns=(0, 5))
    else:
        old.unlink()
        if change == "replaced":
            (tmp_path / "other").write_text("old")  # the same size
            (tmp_path / "other").rename(old)
        elif change == "a directory":
            old.mkdir()
        else:
            old.symlink_to("old-")
    before = os.lstat(old)
    assert not rename_over(root, b"new", root, b"old", expected)
    now = os.lstat(old)
    assert (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (tmp_path / "new").read_text() == "new"


def test_file_that_is_gone_is_not_replaced(root: int, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    expected = os.stat(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(FileNotFoundError):
        rename_over(root, b"new", root, b"old", expected)
    assert names(tmp_path) == ["new"]


# -- the private folder
def test_staging_is_private_and_gone_when_it_is_closed(root: int, tmp_path: Path) -> None:
    staging = Staging(root, "t1")
    folder = tmp_path / ".womm-sync-t1"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    staged(staging, b"1", b"data")
    assert stat.S_IMODE((folder / "1").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        staging.create(b"1")
    staging.discard(b"1")
    staging.discard(b"1")
    assert names(folder) == []
    os.symlink("/etc/passwd", folder / "2")
    with pytest.raises(FileExistsError):  # never through a link
        staging.create(b"2")
    staging.close()
    assert names(tmp_path) == []


def test_staging_of_a_killed_run_is_emptied_and_taken(root: int, tmp_path: Path) -> None:
    folder = tmp_path / ".womm-sync-t1"
    folder.mkdir()
    (folder / "1").write_text("left")
    staging = Staging(root, "t1")
    assert names(folder) == []
    staging.close()


def test_staging_of_a_living_run_of_the_same_task_is_refused(root: int, tmp_path: Path) -> None:
    living = Staging(root, "t1")
    staged(living, b"1", b"data")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError):
        Staging(root, "t1")
    assert len(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / ".womm-sync-t1/1").read_bytes() == b"data"
    living.close()


@pytest.mark.parametrize("there", ["a file", "a link out", "a link to nothing"])
def test_staging_goes_through_nothing_that_has_its_name(root: int, tmp_path: Path, there: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    name = tmp_path / ".womm-sync-t1"
    if there == "a file":
        name.touch()
    else:
        name.symlink_to("outside" if there == "a link out" else "nowhere")
    with pytest.raises(OSError) as refused:
        Staging(root, "t1")
    assert refused.value.errno in (errno.ENOTDIR, errno.ELOOP)
    assert names(tmp_path / "outside") == ["kept"]


def test_staging_that_is_removed_in_the_moment_it_is_made_is_made_again(root: int, tmp_path: Path) -> None:
    """Another run may take it for a dead one's before it is locked."""
    over = threading.Event()

    def clean() -> None:
        while not over.is_set():
            remove_stale(root, [b".womm-sync-t1"])

    other = threading.Thread(target=clean)
    other.start()
    try:
        for _ in range(500):
            staging = None
            while staging is None:
                try:
                    staging = Staging(root, "t1")
                except BlockingIOError:  # it is being removed
                    continue
            staged(staging, b"1", b"data")
            assert (tmp_path / ".womm-sync-t1/1").read_bytes() == b"data"
            staging.close()
    finally:
        over.set()
        other.join()


def test_copy_beside_has_the_mode_and_the_time_and_takes_the_place_of_one_that_was_left(
    root: int, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    staging = Staging(root, "t1")
    fd = staging.create(b"1")
    os.write(fd, b"x" * 3_000_000)
    os.fchmod(fd, 0o754)
    os.utime(fd, ns=(0, 1_500_000_000_123_456_789))
    os.close(fd)
    there = os.open(tmp_path / "d", os.O_RDONLY)
    try:
        for _ in range(2):
            name = staging.beside(there, b"1")
            assert name == b".womm-sync-t1-1" and names(tmp_path / "d") == [os.fsdecode(name)]
    finally:
        os.close(there)
    found = os.stat(tmp_path / "d/.womm-sync-t1-1")
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o754, 1_500_000_000_123_456_789)
    assert found.st_size == 3_000_000
    assert names(tmp_path / ".womm-sync-t1") == ["1"]
    staging.close()


# -- what killed runs have left
def test_what_killed_runs_have_left_goes_and_what_living_ones_have_stays(root: int, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    living = Staging(root, "alive")
    staged(living, b"1", b"1")
    (tmp_path / ".womm-sync-dead").mkdir()
    for name in (".womm-sync-dead/1", ".womm-sync-dead-1", "d/.womm-sync-dead-2", "d/.womm-sync-alive-1"):
        (tmp_path / name).touch()
    (tmp_path / "d/.womm-sync-dead-3").symlink_to("nowhere")
    (tmp_path / "d/.womm-sync-mine").mkdir()  # no run makes a directory there
    (tmp_path / "d/.womm-sync-mine/file").touch()
    remove_stale(root, walk(root).staging)
    assert names(tmp_path) == [".womm-sync-alive", "d"]
    assert names(tmp_path / ".womm-sync-alive") == ["1"]
    assert names(tmp_path / "d") == [".womm-sync-alive-1", ".womm-sync-mine"]
    assert names(tmp_path / "d/.womm-sync-mine") == ["file"]
    living.close()


def test_what_was_left_and_is_gone_or_behind_a_link_by_now_is_no_error(root: int, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/.womm-sync-dead-1").touch()
    (tmp_path / "d").symlink_to("outside")
    remove_stale(root, [b".womm-sync-gone", b"none/.womm-sync-dead-1", b"d/.womm-sync-dead-1"])
    assert names(tmp_path / "outside") == [".womm-sync-dead-1"]
