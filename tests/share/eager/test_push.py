"""Push: the store is made equal to the folder, and only what differs is sent."""

import os
import socket
import time
from pathlib import Path

import pytest

from tests.share.eager.eagers import Rig, contents, snapshot

NAMES = [
    b"plain",
    b"two words",
    b"new\nline",
    b"tab\tand \x1b[31m",
    b"\xff\xfe not utf-8",
    b"-rf",
    b"--delete",
    b"#comment",
    b";semicolon",
    b"*?[a]",
    b"quote'\"\\",
    b"n" * 255,
    b"Case",
    b"case",
    b"...",
    b"\xc3\xa9",
    b"e\xcc\x81",
]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


class NoNumbers:
    """An ignore rule without a parser: names of digits, and the folder `build`."""

    def is_ignored(self, path: bytes, is_dir: bool) -> bool:
        name = path.rpartition(b"/")[2]
        return name.isdigit() or (is_dir and name == b"build")


def test_push_of_a_folder_copies_names_kinds_modes_and_nanoseconds(rig: Rig) -> None:
    top = os.fsencode(rig.folder)
    os.mkdir(top + b"/sub")
    for number, name in enumerate(NAMES):
        for where in (top + b"/" + name, top + b"/sub/" + name):
            with open(where, "wb") as file:
                file.write(name * number)
            os.chmod(where, (0o644, 0o755, 0o400, 0o000)[number % 4])
            os.utime(where, ns=(0, 1_500_000_000_123_456_789 + number))
    os.symlink(b"../../outside", top + b"/sub/link out")
    os.symlink(b"/etc/passwd", top + b"/absolute")
    os.symlink(b"nothing", top + b"/\xffdangling")
    os.makedirs(top + b"/deep" + b"/d" * 200)
    os.mkdir(top + b"/empty")
    os.chmod(top + b"/empty", 0o555)
    for where in (b"/sub", b"/deep", b"/empty"):
        os.utime(top + where, ns=(0, 987_654_321_000_000_001))
    result = rig.push()
    assert snapshot(rig.store) == snapshot(rig.folder)
    assert result.files == 2 * len(NAMES) + 3
    assert rig.said == []


def test_push_again_sends_nothing_and_then_only_differences(rig: Rig) -> None:
    for number in range(20):
        (rig.folder / f"f{number}").write_bytes(b"x" * number * 1000)
    assert rig.push().files == 20
    assert rig.push().files == 0
    (rig.folder / "f3").write_bytes(b"changed")
    (rig.folder / "new").write_bytes(b"new")
    (rig.folder / "f4").chmod(0o700)
    again = rig.push()
    assert (again.files, again.deleted) == (3, 0)
    assert snapshot(rig.store) == snapshot(rig.folder)


def test_push_deletes_in_the_store_what_it_has_put_there_and_nothing_else(rig: Rig) -> None:
    (rig.folder / "d/e").mkdir(parents=True)
    for name in ("a", "d/b", "d/e/c", "d/e/changed by a job", "stays"):
        (rig.folder / name).write_text(name)
    rig.push(syncback=False, keep=True)
    (rig.store / "d/e/made by a job").write_text("result")
    (rig.store / "d/e/changed by a job").write_text("another result")
    for name in ("a", "d/b", "d/e/c", "d/e/changed by a job"):
        (rig.folder / name).unlink()
    (rig.folder / "d/e").rmdir()
    (rig.folder / "d").rmdir()
    result = rig.push(syncback=False, keep=True)
    assert contents(rig.store) == {
        "stays": b"stays",
        "d/e/made by a job": b"result",
        "d/e/changed by a job": b"another result",
    }
    assert result.deleted == 5  # a, b, c, and two directories, of which the store keeps those with results


def test_push_without_a_note_of_the_last_one_deletes_nothing(rig: Rig) -> None:
    (rig.folder / "a").write_text("a")
    (rig.store / "theirs").write_text("kept")
    rig.push(syncback=False)
    assert contents(rig.store) == {"a": b"a", "theirs": b"kept"}


class Pause:
    """Nothing is ignored, but the walk waits at one path: long enough for the store to start."""

    def __init__(self, at: bytes) -> None:
        self._at = at

    def is_ignored(self, path: bytes, is_dir: bool) -> bool:
        if path == self._at:
            time.sleep(1)
        return False


@pytest.mark.parametrize("old", [False, True], ids=["empty store", "store with something"])
def test_first_push_is_whole_when_the_store_answers_in_the_middle_of_the_walk(rig: Rig, old: bool) -> None:
    folder, at = rig.folder, "d/d/d/d/d"
    for _ in range(10):
        for name in ("one", "two"):
            (folder / name).write_text(f"{folder}/{name}")
        (folder / "link").symlink_to("one")
        folder = folder / "d"
        folder.mkdir()
    if old:
        (rig.store / "theirs").write_text("kept")
    rig.push(ignore=Pause(at.encode()))
    assert contents(rig.store) == contents(rig.folder) | ({"theirs": b"kept"} if old else {})


@pytest.mark.parametrize("kinds", ["file-directory", "directory-file", "link-directory", "file-link"])
def test_push_of_a_path_of_another_kind_replaces_it(rig: Rig, kinds: str) -> None:
    def make(kind: str) -> None:
        path = rig.folder / "it"
        if kind == "directory":
            path.mkdir()
            (path / "inner").write_text("inner")
        elif kind == "link":
            path.symlink_to("/etc")
        else:
            path.write_text("text")

    before, after = kinds.split("-")
    make(before)
    rig.push(syncback=False, keep=True)
    if before == "directory":
        (rig.folder / "it/inner").unlink()
        (rig.folder / "it").rmdir()
    else:
        (rig.folder / "it").unlink()
    make(after)
    rig.push(syncback=False, keep=True)
    assert snapshot(rig.store) == snapshot(rig.folder)


def test_push_keeps_hard_links_and_holes(rig: Rig) -> None:
    (rig.folder / "one").write_text("shared")
    os.link(rig.folder / "one", rig.folder / "two")
    with open(rig.folder / "sparse", "wb") as file:
        file.truncate(1 << 30)
        file.seek(300_000_000)
        file.write(b"in the middle")
    result = rig.push()
    ours, theirs = os.stat(rig.folder / "sparse"), os.stat(rig.store / "sparse")
    assert (theirs.st_size, theirs.st_mtime_ns) == (ours.st_size, ours.st_mtime_ns)
    assert theirs.st_blocks < 2000
    with open(rig.store / "sparse", "rb") as file:
        file.seek(300_000_000)
        assert file.read(13) == b"in the middle"
    assert os.stat(rig.store / "one").st_ino == os.stat(rig.store / "two").st_ino
    assert result.files == 3
    os.link(rig.folder / "two", rig.folder / "three")
    rig.push()
    assert os.stat(rig.store / "three").st_ino == os.stat(rig.store / "one").st_ino


def test_push_of_large_files_is_whole(rig: Rig) -> None:
    for size in (262_143, 262_144, 262_145, 5_000_001):
        (rig.folder / str(size)).write_bytes(os.urandom(size))
    rig.push()
    (rig.folder / "5000001").write_bytes(os.urandom(5_000_002))
    rig.push()
    assert snapshot(rig.store) == snapshot(rig.folder)


def test_push_leaves_out_and_names_fifos_sockets_and_devices(rig: Rig, monkeypatch) -> None:
    os.mkfifo(rig.folder / "fifo")
    monkeypatch.chdir(rig.folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        (rig.folder / "file").write_text("file")
        result = rig.push()
    assert contents(rig.store) == {"file": b"file"}
    assert sorted(os.listdir(rig.store)) == ["file"]
    assert set(result.special) == {b"fifo", b"socket"}
    (said,) = rig.said
    assert "left out: " in said and "fifo" in said and "socket" in said


def test_push_leaves_out_what_is_ignored(rig: Rig) -> None:
    (rig.folder / "build").mkdir()
    for name in ("build/a", "123", "kept", "other"):
        (rig.folder / name).write_text(name)
    rig.push(ignore=NoNumbers())
    assert contents(rig.store) == {"kept": b"kept", "other": b"other"}
    (rig.folder / "kept").rename(rig.folder / "456")
    rig.push(ignore=NoNumbers())
    assert contents(rig.store) == {"other": b"other"}


@pytest.mark.parametrize("how", ["middle", "append", "truncate", "prepend", "all", "mode"])
def test_push_of_a_large_file_that_has_changed_sends_what_has_changed(rig: Rig, how: str) -> None:
    path = rig.folder / "large"
    data = os.urandom(5_000_000)
    path.write_bytes(data)
    rig.push()
    new, most = {
        "middle": (data[:2_000_000] + b"changed" + data[2_000_007:], 140_000),
        "append": (data + b"appended", 140_000),
        "truncate": (data[:4_000_000], 140_000),
        "prepend": (b"x" + data, 5_100_000),
        "all": (os.urandom(5_000_000), 5_100_000),
        "mode": (data, 1000),
    }[how]
    with open(path, "r+b") as file:
        file.write(new)
        file.truncate()
    if how == "mode":
        path.chmod(0o600)
    result = rig.push()
    assert snapshot(rig.store) == snapshot(rig.folder)
    assert 0 < result.size_bytes < most
