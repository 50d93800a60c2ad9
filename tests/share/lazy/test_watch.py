"""The watcher against real changes of files: nothing is missed, nothing of our own is told."""

import itertools
import os
import random
import shutil
from pathlib import Path

import pytest

from womm.share.fence import Fence
from womm.share.ignore import Ignore
from womm.share.lazy.watch import NOTHING, Watcher


@pytest.fixture
def fence(tmp_path):
    fence = Fence(tmp_path)
    yield fence
    fence.close()


@pytest.fixture
def watcher(fence):
    watcher = Watcher(fence)
    watcher.start()
    yield watcher
    watcher.close()


def told(watcher):
    changes = watcher.changes()
    assert not changes.all
    return set(changes.paths)


def test_changes_nothing_done_is_nothing(watcher):
    assert watcher.changes() is NOTHING


def test_changes_of_files_are_told_once_by_name(tmp_path, watcher):
    file = tmp_path / "a"
    file.write_text("1")
    assert told(watcher) == {b"a"}
    assert watcher.changes() is NOTHING
    file.read_text()
    assert watcher.changes() is NOTHING
    with file.open("a") as stream:
        stream.write("2")
    assert told(watcher) == {b"a"}
    file.chmod(0o600)
    assert told(watcher) == {b"a"}
    os.utime(file)
    assert told(watcher) == {b"a"}
    os.truncate(file, 0)
    assert told(watcher) == {b"a"}
    file.rename(tmp_path / "b")
    assert told(watcher) == {b"a", b"b"}
    os.link(tmp_path / "b", tmp_path / "c")
    assert b"c" in told(watcher)
    (tmp_path / "b").unlink()
    assert b"b" in told(watcher)
    os.symlink("nowhere", tmp_path / "l")
    assert told(watcher) == {b"l"}


def test_changes_through_a_mapping_are_told_when_it_is_closed(tmp_path, watcher):
    import mmap

    file = tmp_path / "a"
    file.write_bytes(bytes(4096))
    watcher.changes()
    with file.open("r+b") as stream:
        mapping = mmap.mmap(stream.fileno(), 4096)
    mapping[:5] = b"hello"
    mapping.close()
    assert told(watcher) == {b"a"}


def test_directories_made_deep_at_once_are_told_with_what_is_in_them(tmp_path, watcher):
    deep = tmp_path / "a/b/c/d"
    deep.mkdir(parents=True)
    (deep / "file").write_text("1")
    assert {b"a", b"a/b", b"a/b/c", b"a/b/c/d", b"a/b/c/d/file"} <= told(watcher)
    (deep / "file").write_text("2")
    assert told(watcher) == {b"a/b/c/d/file"}


def test_a_directory_moved_is_watched_where_it_is(tmp_path, watcher):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/f").write_text("1")
    watcher.changes()
    (tmp_path / "a").rename(tmp_path / "z")
    (tmp_path / "z/b/f").write_text("2")
    assert {b"a", b"z", b"z/b", b"z/b/f"} <= told(watcher)
    (tmp_path / "z/b/f").write_text("3")
    assert told(watcher) == {b"z/b/f"}


def test_a_directory_moved_out_is_not_watched_any_more(tmp_path_factory, tmp_path, watcher):
    outside = tmp_path_factory.mktemp("outside")
    (tmp_path / "a/b").mkdir(parents=True)
    watcher.changes()
    (tmp_path / "a").rename(outside / "a")
    assert told(watcher) == {b"a"}
    (outside / "a/b/f").write_text("1")
    assert watcher.changes() is NOTHING
    (outside / "a").rename(tmp_path / "back")
    assert {b"back", b"back/b", b"back/b/f"} <= told(watcher)
    (tmp_path / "back/b/f").write_text("2")
    assert told(watcher) == {b"back/b/f"}


def test_a_directory_made_anew_is_watched(tmp_path, watcher):
    for number in range(3):
        (tmp_path / "d").mkdir()
        (tmp_path / "d/f").write_text(str(number))
        assert b"d" in told(watcher)
        (tmp_path / "d/f").write_text("again")
        assert told(watcher) == {b"d/f"}
        shutil.rmtree(tmp_path / "d")
        assert {b"d", b"d/f"} <= told(watcher)


def test_names_that_are_no_utf8_are_told(tmp_path, watcher):
    path = os.fsencode(tmp_path) + b"/\xff\xfe \n"
    os.mkdir(path)
    Path(os.fsdecode(path + b"/x")).write_text("1")
    assert {b"\xff\xfe \n", b"\xff\xfe \n/x"} <= told(watcher)


def test_more_events_than_the_queue_takes_is_all_and_then_goes_on(tmp_path, watcher):
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = [tmp_path / "a", tmp_path / "b"]
    for name in names:
        name.touch()
    for number in range(queue // 2 + 100):
        os.truncate(names[0], number)
        os.truncate(names[1], number)
    changes = watcher.changes()
    assert changes.all
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    assert b"d/f" in told(watcher)


def test_more_directories_than_watches_is_always_all(tmp_path, fence):
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    watcher = Watcher(fence, limit=10)
    watcher.start()
    assert "max_user_watches" in watcher.why_all
    assert watcher.changes().all and watcher.changes().all
    watcher = Watcher(fence, limit=30)
    watcher.start()
    assert watcher.changes() is NOTHING
    for number in range(20):
        (tmp_path / f"n{number}").mkdir()
    assert watcher.changes().all
    assert "max_user_watches" in watcher.why_all
    watcher.close()


def test_many_changes_are_told_as_all(tmp_path, watcher):
    for number in range(10_001):
        os.mkfifo(tmp_path / str(number))
        if number % 1000 == 0:
            watcher.absorb()
    assert watcher.changes().all
    assert watcher.changes() is NOTHING


def test_ignored_directories_are_not_watched(tmp_path, fence):
    (tmp_path / ".wommignore").write_text("build/\n*.o\n")
    (tmp_path / "build/deep").mkdir(parents=True)
    ignore = Ignore(fence)
    watcher = Watcher(fence, ignore)
    watcher.start()
    (tmp_path / "build/deep/x").touch()
    (tmp_path / "a.o").touch()
    (tmp_path / "a.c").touch()
    assert told(watcher) == {b"a.c"}
    (tmp_path / "src").mkdir()
    (tmp_path / "src/build").mkdir()
    (tmp_path / "src/build/x").touch()
    assert told(watcher) == {b"src"}
    # The rules hold while the task does; a directory that comes later may have some yet.
    ignore.begun()
    (tmp_path / ".wommignore").write_text("*.c\n")
    assert told(watcher) == {b".wommignore"}
    (tmp_path / "build/deep/x").write_text("1")
    (tmp_path / "b.c").touch()
    assert told(watcher) == {b"b.c"}
    (tmp_path / "later").mkdir()
    (tmp_path / "later/x").touch()
    assert told(watcher) == {b"later", b"later/x"}
    (tmp_path / "later/.wommignore").write_text("x\n")
    assert watcher.changes().all
    (tmp_path / "later/x").write_text("1")
    (tmp_path / "later/y").touch()
    assert told(watcher) == {b"later/y"}
    watcher.close()


def test_files_of_womms_are_told_with_and_without_watches(tmp_path, fence):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/.womm").touch()
    for limit in (None, 1):
        found: list[bytes] = []
        ignore = Ignore(fence)
        watcher = Watcher(fence, ignore, control=found.append, limit=limit)
        watcher.start()
        assert found == [b"a/b/.womm"] and bool(watcher.why_all) == bool(limit)
        ignore.begun()
        (tmp_path / "a/b/.wommignore").write_text("*\n")
        assert not ignore.is_ignored("a/b/x", False)
        watcher.changes()
        assert found == [b"a/b/.womm"] + [b"a/b/.wommignore"] * (limit is None)
        (tmp_path / "a/b/.wommignore").unlink()
        watcher.close()


def test_own_changes_are_left_out_and_only_they(tmp_path, watcher):
    (tmp_path / "a").write_text("user")
    with watcher.own(b"a"):
        (tmp_path / "a").write_text("pod")
    assert told(watcher) == {b"a"}  # the user's, before
    with watcher.own(b"a"):
        (tmp_path / "a").write_text("pod")
        (tmp_path / "b").write_text("user")
    assert told(watcher) == {b"b"}
    (tmp_path / "a").write_text("user")
    assert told(watcher) == {b"a"}
    with watcher.own(b"d"):
        (tmp_path / "d").mkdir()
    with watcher.own(b"d/f"):
        (tmp_path / "d/f").write_text("pod")
    with watcher.own(b"d", b"e"):
        (tmp_path / "d").rename(tmp_path / "e")
    with watcher.own(b"e/f"):
        (tmp_path / "e/f").chmod(0o600)
        (tmp_path / "e/f").unlink()
    assert watcher.changes() is NOTHING
    (tmp_path / "e/g").write_text("user")
    assert told(watcher) == {b"e/g"}
    with watcher.own(b"e/g"), watcher.own(b"e"):
        shutil.rmtree(tmp_path / "e")
    assert watcher.changes() is NOTHING


def snapshot(top):
    found = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            is_dir = os.path.isdir(path)
            known = (status.st_ino, status.st_mode) + (() if is_dir else (status.st_mtime_ns, status.st_size))
            found[os.path.relpath(path, top)] = known
    return found


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_1000_random_changes_are_a_superset_of_the_difference(tmp_path, watcher, seed):
    rnd = random.Random(seed)
    names = ["a", "b", "c", "d"]
    before = snapshot(tmp_path)

    def path():
        return tmp_path.joinpath(*(rnd.choice(names) for _ in range(rnd.randint(1, 4))))

    done = 0
    touched = set()
    for step in itertools.count():
        if done == 1000:
            break
        one, other = path(), path()
        try:
            match rnd.randrange(8):
                case 0 | 1:
                    one.mkdir(parents=True)
                case 2 | 3:
                    one.write_text(str(step))
                case 4:
                    one.unlink()
                case 5:
                    shutil.rmtree(one)
                case 6:
                    one.rename(other)
                    touched.add(os.path.relpath(other, tmp_path))
                case 7:
                    one.chmod(rnd.choice([0o700, 0o755]))
            done += 1
            touched.add(os.path.relpath(one, tmp_path))
        except OSError:
            pass
        if rnd.random() < 0.02:
            found = {os.fsdecode(path) for path in told(watcher)}
            after = snapshot(tmp_path)
            changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
            missed = {name for name in changed if not covered(name, found)}
            assert not missed
            # And nothing is told that nobody touched, but what is below or above of what was.
            assert all(related(name, touched) for name in found)
            before, touched = after, set()


def covered(name, found):
    """A directory that came or went stands for all below it."""
    parts = name.split("/")
    return any("/".join(parts[:length]) in found for length in range(1, len(parts) + 1))


def related(name, touched):
    return any(
        name == other or name.startswith(other + "/") or other.startswith(name + "/") for other in touched
    )


def test_an_idle_answer_costs_one_read(tmp_path, watcher):
    import time

    for number in range(200):
        (tmp_path / f"d{number}").mkdir()
    watcher.changes()
    began = time.process_time()
    for _ in range(2000):
        watcher.changes()
    assert (time.process_time() - began) / 2000 < 50e-6
