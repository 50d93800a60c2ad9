"""Syncback: what jobs have made comes back, and nothing of anybody's is lost."""

import io
import os
import random
import shutil
import stat
from pathlib import Path

import pytest

from tests.share.eager.eagers import Rig, contents, in_store, snapshot
from tests.share.eager.test_push import NAMES, NoNumbers
from tests.soak import count
from womm.errors import ShareError
from womm.share.beside import beside_name
from womm.share.control import Writable
from womm.share.eager.manifest import Ancestor
from womm.share.eager.placer import Placer
from womm.share.eager.pull import receive
from womm.share.eager.staging import Staging
from womm.share.ignore import Ignore
from womm.store.pack import CHUNK, LINK_BYTES, BadPack, Source, Stamp, header
from womm.store.protocol import BIG, DIRECTORY, FILE, GONE, LINK, PIECE, TORN, WHOLE
from womm.store.send import TRIES


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_pull_brings_new_and_changed_files_with_names_modes_and_nanoseconds(rig: Rig) -> None:
    (rig.folder / "changed").write_text("before")
    (rig.folder / "untouched").write_text("untouched")
    (rig.folder / "appended").write_text("one\n")
    rig.push()
    before = os.stat(rig.folder / "untouched")
    top = os.fsencode(rig.store)
    os.makedirs(top + b"/out/" + b"d" * 255)
    for number, name in enumerate(NAMES):
        with open(top + b"/out/" + name, "wb") as file:
            file.write(name * number)
        os.chmod(top + b"/out/" + name, (0o644, 0o755, 0o400, 0o000)[number % 4])
        os.utime(top + b"/out/" + name, ns=(0, 1_500_000_000_123_456_789 + number))
    os.symlink(b"../changed", top + b"/out/li\xffnk")
    (rig.store / "changed").write_text("afterwards")
    with open(rig.store / "appended", "a") as file:
        file.write("two\n")
    (rig.store / "big").write_bytes(os.urandom(3_000_000))
    result = rig.pull()
    ours, theirs = snapshot(rig.folder), snapshot(rig.store)
    assert {path: entry for path, entry in ours.items() if entry[0] != "directory"} == {
        path: entry for path, entry in theirs.items() if entry[0] != "directory"
    }
    assert len(result.brought) == len(NAMES) + 4
    assert (result.conflicts, result.kept_changing) == ((), ())
    after = os.stat(rig.folder / "untouched")
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert rig.pull().brought == ()


def test_pull_never_deletes(rig: Rig) -> None:
    (rig.folder / "d").mkdir()
    for name in ("a", "d/b"):
        (rig.folder / name).write_text(name)
    rig.push()
    (rig.store / "a").unlink()
    (rig.store / "d/b").unlink()
    (rig.store / "d").rmdir()
    rig.pull()
    assert contents(rig.folder) == {"a": b"a", "d/b": b"d/b"}


def test_pull_of_a_file_changed_on_both_sides_keeps_both(rig: Rig) -> None:
    (rig.folder / "f").write_text("start")
    rig.push()
    (rig.folder / "f").write_text("mine")
    (rig.store / "f").write_text("theirs")
    result = rig.pull()
    assert contents(rig.folder) == {"f": b"mine", "f.womm-t1": b"theirs"}
    assert result.conflicts == ((b"f", b"f.womm-t1"),)
    assert rig.said == ["share: f was changed here and by jobs; theirs is kept as f.womm-t1"]
    again = rig.pull()
    assert again.conflicts == () and contents(rig.folder) == {"f": b"mine", "f.womm-t1": b"theirs"}


@pytest.mark.parametrize("before", ["start", ""], ids=["changed", "new"])
def test_pull_of_a_file_that_jobs_change_again_after_a_conflict_keeps_all(rig: Rig, before: str) -> None:
    if before:
        (rig.folder / "f").write_text(before)
    rig.push()
    (rig.folder / "f").write_text("mine")
    (rig.store / "f").write_text("theirs")
    rig.pull()
    (rig.store / "f").write_text("theirs again")
    rig.pull()
    assert contents(rig.folder) == {"f": b"mine", "f.womm-t1": b"theirs", "f.womm-t1.2": b"theirs again"}
    assert rig.pull().conflicts == ()


def test_pull_of_a_file_that_was_edited_here_while_jobs_only_touched_it_is_a_conflict_when_they_write(
    rig: Rig,
) -> None:
    (rig.folder / "f").write_text("start")
    rig.push()
    (rig.folder / "f").write_text("mine")
    os.utime(rig.store / "f")
    assert rig.pull().conflicts == ()
    (rig.store / "f").write_text("theirs")
    rig.pull()
    assert contents(rig.folder) == {"f": b"mine", "f.womm-t1": b"theirs"}


def test_pull_of_a_file_in_a_directory_that_has_another_name_here_brings_each_change(rig: Rig) -> None:
    rig.push()
    (rig.folder / "d").write_text("mine")
    (rig.store / "d").mkdir()
    for text in ("theirs", "theirs again"):
        (rig.store / "d/f").write_text(text)
        assert rig.pull().brought == (b"d/f",)
    assert contents(rig.folder) == {"d": b"mine", "d.womm-t1/f": b"theirs again"}
    (rig.folder / "d.womm-t1/f").write_text("mine, too")
    (rig.store / "d/f").write_text("theirs at last")
    rig.pull()
    assert contents(rig.folder) == {
        "d": b"mine",
        "d.womm-t1/f": b"mine, too",
        "d.womm-t1/f.womm-t1": b"theirs at last",
    }


def test_pull_of_a_new_file_that_is_new_here_too_keeps_both_unless_they_are_equal(rig: Rig) -> None:
    rig.push()
    for folder, text in ((rig.folder, "mine"), (rig.store, "theirs")):
        (folder / "differs").write_text(text)
        (folder / "equal").write_text("equal")
    result = rig.pull()
    assert contents(rig.folder) == {"differs": b"mine", "differs.womm-t1": b"theirs", "equal": b"equal"}
    assert len(result.conflicts) == 1


def test_pull_of_a_changed_file_that_was_deleted_here_brings_it_back(rig: Rig) -> None:
    (rig.folder / "f").write_text("start")
    rig.push()
    (rig.folder / "f").unlink()
    (rig.store / "f").write_text("result")
    assert rig.pull().brought == (b"f",)
    assert contents(rig.folder) == {"f": b"result"}


def test_pull_of_a_touched_file_and_of_one_touched_here_is_no_conflict(rig: Rig) -> None:
    for name in ("there", "here"):
        (rig.folder / name).write_text(name)
    rig.push()
    (rig.folder / "there").write_text("edited here")
    os.utime(rig.folder / "here")
    (rig.store / "here").write_text("edited there")
    result = rig.pull()
    assert contents(rig.folder) == {"there": b"edited here", "here": b"edited there"}
    assert result.conflicts == ()


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_pull_is_the_same_with_clocks_an_hour_apart(rig: Rig, skew_s: int) -> None:
    """Whose time is later says nothing: the pod's, set back or ahead, decides nothing."""
    for name in ("mine", "theirs", "both", "neither"):
        (rig.folder / name).write_text(name)
    rig.push()
    for folder, names in ((rig.folder, ("mine", "both")), (rig.store, ("theirs", "both"))):
        for name in names:
            (folder / name).write_text(f"{folder.name} {name}")
    for name in ("theirs", "both"):
        now = os.stat(rig.store / name).st_mtime_ns + skew_s * 10**9
        os.utime(rig.store / name, ns=(now, now))
    result = rig.pull()
    assert contents(rig.folder) == {
        "mine": b"folder mine",
        "theirs": b"store theirs",
        "both": b"folder both",
        "both.womm-t1": b"store both",
        "neither": b"neither",
    }
    assert result.brought == (b"theirs",)


def test_pull_finds_a_change_whose_size_and_time_were_put_back(rig: Rig) -> None:
    (rig.folder / "f").write_text("before")
    rig.push()
    now = os.stat(rig.store / "f").st_mtime_ns
    (rig.store / "f").write_text("after!")
    os.utime(rig.store / "f", ns=(now, now))
    assert rig.pull().brought == (b"f",)
    assert contents(rig.folder) == {"f": b"after!"}


def test_pull_brings_only_a_mode_where_only_that_has_changed(rig: Rig) -> None:
    (rig.folder / "script").write_text("#!/bin/sh\n")
    (rig.folder / "script").chmod(0o644)
    rig.push()
    before = os.stat(rig.folder / "script").st_ino
    (rig.store / "script").chmod(0o755)
    rig.pull()
    after = os.stat(rig.folder / "script")
    assert (after.st_ino, stat.S_IMODE(after.st_mode)) == (before, 0o755)


@pytest.mark.parametrize("ours", ["directory", "file", "link"])
@pytest.mark.parametrize("theirs", ["directory", "file", "link"])
def test_pull_of_a_name_that_is_of_another_kind_here_loses_neither(rig: Rig, ours: str, theirs: str) -> None:
    outside = rig.folder.parent / "outside"
    outside.mkdir()
    rig.push()

    def make(path: Path, kind: str, text: str) -> None:
        if kind == "directory":
            path.mkdir()
            (path / "inner").write_text(text)
        elif kind == "file":
            path.write_text(text)
        else:
            path.symlink_to(outside if text == "ours" else "elsewhere")

    make(rig.folder / "it", ours, "ours")
    make(rig.store / "it", theirs, "theirs")
    before = snapshot(rig.folder)
    rig.pull()
    after = snapshot(rig.folder, times=False)
    assert {path: entry[0] for path, entry in before.items()}.items() <= {
        path: entry[0] for path, entry in after.items()
    }.items()
    found = sorted(str(entry[-1 if entry[0] == "file" else 1]) for entry in after.values())
    texts = {"directory": "b'theirs'", "file": "b'theirs'", "link": "b'elsewhere'"}
    assert texts[theirs] in found
    assert os.listdir(outside) == []


def test_pull_leaves_what_is_ignored_where_it_is(rig: Rig) -> None:
    (rig.folder / "kept").write_text("kept")
    rig.push(ignore=NoNumbers())
    (rig.store / "build").mkdir()
    for name in ("build/object", "123", "result"):
        (rig.store / name).write_text(name)
    result = rig.pull(ignore=NoNumbers())
    assert contents(rig.folder) == {"kept": b"kept", "result": b"result"}
    assert result.brought == (b"result",)


def test_pull_drops_setuid_and_keeps_links_as_they_are(rig: Rig) -> None:
    rig.push()
    (rig.store / "program").write_text("x")
    (rig.store / "program").chmod(0o6755)
    (rig.store / "out").symlink_to("../../../etc")
    rig.pull()
    assert stat.S_IMODE(os.stat(rig.folder / "program").st_mode) == 0o755
    assert os.readlink(rig.folder / "out") == "../../../etc"


def test_push_to_a_kept_store_first_brings_back_what_was_left_there(rig: Rig) -> None:
    for name in ("both", "theirs", "mine"):
        (rig.folder / name).write_text(name)
    rig.push()
    for name in ("both", "theirs", "new"):
        (rig.store / name).write_text(f"result {name}")
    for name in ("both", "mine"):
        (rig.folder / name).write_text(f"edit {name}")
    rig.task = "t2"
    rig.push()
    expected = {
        "both": b"edit both",
        "both.womm-t2": b"result both",
        "theirs": b"result theirs",
        "mine": b"edit mine",
        "new": b"result new",
    }
    assert contents(rig.folder) == expected
    assert contents(rig.store) == expected
    assert rig.pull().conflicts == ()


def test_pull_into_another_folder_of_that_name_is_refused(rig: Rig) -> None:
    (rig.folder / "f").write_text("f")
    rig.push()
    (rig.store / "f").write_text("result")
    rig.folder.rename(rig.folder.with_name("moved away"))
    rig.folder.mkdir()
    with pytest.raises(ShareError, match="not the folder that was copied"):
        rig.pull()
    assert os.listdir(rig.folder) == []


def test_pull_of_a_conflict_beside_a_name_that_is_taken_takes_another(rig: Rig) -> None:
    name = "n" * 255
    (rig.folder / name).write_text("start")
    rig.push()
    taken = os.fsdecode(beside_name(os.fsencode(name), "t1", 1))
    (rig.folder / taken).write_text("taken")
    (rig.folder / name).write_text("mine")
    (rig.store / name).write_text("theirs")
    rig.pull()
    assert contents(rig.folder) == {
        name: b"mine",
        taken: b"taken",
        os.fsdecode(beside_name(os.fsencode(name), "t1", 2)): b"theirs",
    }


def test_500_random_edit_pairs_lose_no_byte(rig: Rig) -> None:
    """Each file is left, edited, touched, deleted or replaced on either side."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    pairs = count(100, 500)
    for number in range(pairs):
        folder = rig.folder / f"d{number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}").write_bytes(rng.randbytes(rng.randrange(3000)))
    rig.push()
    written: set[bytes] = set()

    def edit(top: Path, number: int) -> bytes | None:
        """Edit a file somehow; return the content that must not be lost."""
        path = top / f"d{number % 7}" / f"f{number}"
        how = rng.choice(
            ["leave", "leave", "write", "append", "replace", "touch", "delete", "same size", "mode"]
        )
        if how == "delete":
            path.unlink()
        elif how == "touch":
            os.utime(path)
        elif how == "mode":
            path.chmod(0o755)
        elif how != "leave":
            new = rng.randbytes(rng.randrange(1, 3000))
            if how == "append":
                new = path.read_bytes() + new
            elif how == "same size":
                new = rng.randbytes(path.stat().st_size)
            if how == "replace":
                path.with_name("new").write_bytes(new)
                path.with_name("new").rename(path)
            else:
                path.write_bytes(new)
            if new:
                return new
        return None

    conflicts = 0
    for number in range(pairs):
        mine, theirs = edit(rig.folder, number), edit(rig.store, number)
        written |= {one for one in (mine, theirs) if one is not None}
        conflicts += mine is not None and theirs is not None
    before = contents(rig.folder)
    result = rig.pull()
    after = contents(rig.folder)
    assert written <= set(after.values())
    assert before.keys() <= after.keys()
    assert len(result.conflicts) == conflicts
    for path, _ in result.conflicts:
        assert after[os.fsdecode(path)] == before[os.fsdecode(path)]


def test_what_the_user_writes_stays_over_several_pulls_whatever_jobs_do(rig: Rig) -> None:
    """The store never gets it: no version of theirs may take its place."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    names = [f"f{number}" for number in range(40)]
    for name in names:
        (rig.folder / name).write_bytes(rng.randbytes(rng.randrange(2000)))
    rig.push()
    mine: dict[str, bytes] = {}
    for _ in range(count(4, 50)):
        theirs = {}
        for name in rng.sample(names, 15):
            mine[name] = rng.randbytes(rng.randrange(1, 2000))
            (rig.folder / name).write_bytes(mine[name])
        for name in rng.sample(names, 25):
            path = rig.store / name
            how = rng.choice(["write", "same size", "touch", "mode", "delete"])
            if how == "write" or not path.exists():
                path.write_bytes(rng.randbytes(rng.randrange(1, 2000)))
            elif how == "same size":
                path.write_bytes(rng.randbytes(path.stat().st_size))
            elif how == "delete":
                path.unlink()
            else:
                path.chmod(0o755) if how == "mode" else os.utime(path)
            if path.exists():
                theirs[name] = path.read_bytes()
        before = contents(rig.folder)
        rig.pull()
        after = contents(rig.folder)
        assert {name: after[name] for name in mine} == mine
        assert before.keys() <= after.keys()
        assert {name: after[name] for name in theirs if name not in mine} == {
            name: data for name, data in theirs.items() if name not in mine
        }


def test_pull_never_brings_back_womms_own_files_and_says_so_once(rig: Rig) -> None:
    (rig.folder / ".womm").write_text("mine")
    (rig.folder / "sub").mkdir()
    (rig.folder / "sub/.wommignore").write_text("secret\n")
    (rig.folder / "sub/secret").write_text("secret")
    (rig.folder / "gone").mkdir()
    (rig.folder / "gone/.womm").write_text("mine")
    ignore = Ignore(rig.folder)
    share = rig.share(ignore=ignore)
    in_store(share.push)
    ignore.begun()
    before = snapshot(rig.folder, times=False)
    (rig.store / ".womm").write_text('kubeconfig = "k"')
    (rig.store / "sub/.wommignore").write_text("")
    (rig.store / "sub/.WOMM").write_text("twin")
    (rig.store / "deep/er/.womm").mkdir(parents=True)
    (rig.store / "deep/er/.womm/config").write_text("x")
    (rig.store / "deep/er/f").write_text("f")
    os.symlink("../k", rig.store / "deep/.wommignore")
    shutil.rmtree(rig.store / "gone")
    found = in_store(share.pull)
    assert found.brought == (b"deep/er/f",) and len(found.own) == 6
    assert in_store(share.pull).brought == ()
    after = snapshot(rig.folder, times=False)
    assert {path: after.get(path) for path in before} == before
    assert set(after) - set(before) == {b"deep", b"deep/er", b"deep/er/f"}
    assert len(rig.said) == 1 and rig.said[0].startswith(
        "share: what jobs have made of womm's own files is not brought back: "
    )
    assert rig.said[0].endswith(" and 1 more")
    ignore.close()


def test_rules_that_are_changed_here_while_the_task_runs_hold_for_the_next(rig: Rig) -> None:
    (rig.folder / "sub").mkdir()
    (rig.folder / ".wommignore").write_text("*.key\n")
    (rig.folder / "sub/f").touch()
    ignore = Ignore(rig.folder)
    share = rig.share(ignore=ignore)
    in_store(share.push)
    ignore.begun()
    (rig.folder / ".wommignore").write_text("*.out\n")
    (rig.folder / "sub/.wommignore").write_text("*\n")
    for name in ("a.out", "a.key", "sub/g"):
        (rig.store / name).write_text(name)
    assert sorted(in_store(share.pull).brought) == [b"a.out", b"sub/g"]
    ignore.close()
    ignore = Ignore(rig.folder)
    (rig.store / "b.key").write_text("b")
    (rig.store / "b.out").write_text("b")
    assert sorted(rig.pull(ignore=ignore).brought) == [b"a.key", b"b.key"]
    ignore.close()


def test_pull_brings_back_what_is_below_share_write_and_names_the_rest_once(rig: Rig) -> None:
    for name in ("out", ".git/hooks"):
        (rig.folder / name).mkdir(parents=True)
    (rig.folder / "Makefile").write_text("all:")
    rig.push()
    before = snapshot(rig.folder)
    share = rig.share(writable=Writable.only([b"out", b"new/deep", b"log\x1b"]))
    (rig.store / "Makefile").write_text("theirs")
    (rig.store / ".git/hooks/post-commit").write_text("theirs")
    for name in ("out/a/b", "new/deep/c", "new/not", "log\x1b", "out/.womm"):
        (rig.store / name).parent.mkdir(parents=True, exist_ok=True)
        (rig.store / name).write_text(name)
    os.symlink("../.git/hooks", rig.store / "new/deep/link")
    for _ in range(2):
        found = in_store(share.pull)
        assert set(found.outside) == {b"Makefile", b".git/hooks/post-commit", b"new/not"}
    after = snapshot(rig.folder)
    assert {path: after[path] for path in (b"Makefile", b".git/hooks")} == {
        path: before[path] for path in (b"Makefile", b".git/hooks")
    }
    made = {*(b"out/a", b"out/a/b", b"new", b"new/deep", b"new/deep/c", b"new/deep/link", b"log\x1b")}
    assert set(after) - set(before) == made
    assert [line.partition(":")[2].partition(":")[0] for line in rig.said] == [
        " what jobs have made of womm's own files is not brought back",
        " not below a path of share-write, so not brought back",
    ]


# -- answers of a store, by hand
class Taking:
    """Takes the answers to a request for `theirs` into a folder."""

    def __init__(self, folder: Path, theirs: dict[bytes, Stamp]) -> None:
        self.theirs = theirs
        self.root = os.open(folder, os.O_RDONLY)
        self.staging = Staging(self.root, "t1")
        self.placer = Placer(self.root, "t1", self.staging, Ancestor(1, 1))
        self.progress: list[tuple[int, int]] = []

    def __enter__(self) -> "Taking":
        return self

    def __exit__(self, *exc: object) -> None:
        self.placer.close()
        self.staging.close()
        os.close(self.root)

    def take(self, said: bytes) -> None:
        source = Source(io.BytesIO(said).read)
        receive(source, list(self.theirs), self.theirs, self.placer, lambda *done: self.progress.append(done))


LISTED = {b"a": Stamp(FILE, 0o644, 3, 7, 9), b"b": Stamp(LINK, 0o777, 2, 7, 9)}
A, B = header(FILE, b"a", 0o644, 7, 3) + b"abc", header(LINK, b"b", 7, 2) + b"to"


def test_answers_are_placed_and_counted_and_known_with_the_stores_own_record(tmp_path: Path) -> None:
    with Taking(tmp_path, LISTED) as taking:
        taking.take(A + B)
        assert taking.progress == [(1, 3), (2, 5)]
        assert {path: base.theirs for path, base in taking.placer.ancestor.entries.items()} == LISTED
    assert contents(tmp_path) == {"a": b"abc"} and os.readlink(tmp_path / "b") == "to"


def test_file_that_is_another_than_was_listed_has_no_record_of_the_store(tmp_path: Path) -> None:
    """It changed since the list was made: the next list must be able to tell."""
    with Taking(tmp_path, {b"a": LISTED[b"a"]}) as taking:
        taking.take(header(FILE, b"a", 0o644, 8, 3) + b"abc")
        assert taking.placer.ancestor.entries[b"a"].theirs == Stamp(FILE, 0o644, 3, 8, 0)


def test_file_that_is_gone_is_named_and_the_others_come(tmp_path: Path) -> None:
    with Taking(tmp_path, LISTED) as taking:
        taking.take(header(GONE, b"a") + B)
        assert (taking.placer.kept_changing, taking.placer.brought) == ([b"a"], [b"b"])


def test_torn_file_is_taken_when_it_is_whole_or_gone(tmp_path: Path) -> None:
    torn = header(BIG, b"a", 0o644, 7, 3) + PIECE.pack(0, 3) + b"xxx" + PIECE.pack(0, 0) + TORN
    whole = header(BIG, b"a", 0o644, 7, 3) + PIECE.pack(1, 2) + b"bc" + PIECE.pack(0, 0) + WHOLE
    with Taking(tmp_path, {b"a": LISTED[b"a"]}) as taking:
        taking.take(torn * TRIES + whole)
        assert contents(tmp_path) == {"a": b"\0bc"}
        taking.take(torn * TRIES + header(GONE, b"a"))
        assert taking.placer.kept_changing == [b"a"]
        with pytest.raises(BadPack, match="torn again and again"):
            taking.take(torn * (TRIES + 1) + whole)


@pytest.mark.parametrize("mtime_ns", [1 << 62, -(1 << 62), -5])
def test_time_that_no_disk_has_is_no_error(tmp_path: Path, mtime_ns: int) -> None:
    with Taking(tmp_path, LISTED) as taking:
        taking.take(header(FILE, b"a", 0o644, mtime_ns, 3) + b"abc" + header(LINK, b"b", mtime_ns, 2) + b"to")
    assert contents(tmp_path) == {"a": b"abc"}


@pytest.mark.parametrize(
    "said",
    [
        B + A,
        header(FILE, b"../a", 0o644, 7, 3) + b"abc",
        header(FILE, b"a", 0o644, 7, -1),
        header(FILE, b"a", 0o644, 7, CHUNK + 1) + bytes(CHUNK + 1),
        header(FILE, b"a", 0o644, 3) + b"abc",
        header(DIRECTORY, b"a", 0o755, 7, 0),
        header(LINK, b"a", 7, 0),
        header(LINK, b"a", 7, LINK_BYTES + 1) + b"x" * (LINK_BYTES + 1),
        header(LINK, b"a", 7, 3) + b"a\0b",
        header(LINK, b"a", 7, 3, 1) + b"abc",
        header(BIG, b"a", 0o644, 7, -1),
        header(BIG, b"a", 0o644, 7, 3) + PIECE.pack(2, 2) + b"xx",
        b"nonsense\0",
    ],
    ids=range(13),
)
def test_answer_that_nobody_asked_for_is_refused_and_gets_no_name(tmp_path: Path, said: bytes) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with Taking(folder, LISTED) as taking, pytest.raises(BadPack):
        taking.take(said)
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(folder) == []


def test_answers_that_are_cut_anywhere_leave_whole_files_only(tmp_path: Path) -> None:
    said = A + B
    for at in range(len(said)):
        folder = tmp_path / str(at)
        folder.mkdir()
        with Taking(folder, LISTED) as taking, pytest.raises(EOFError):
            taking.take(said[:at])
        assert contents(folder) == ({"a": b"abc"} if at >= len(A) else {})
        assert len(os.listdir(folder)) == (at >= len(A))
