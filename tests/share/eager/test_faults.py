"""The eager share when something goes wrong: folders that are gone, kills, full disks, hostile stores."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.share.eager.eagers import Rig, contents, in_store, snapshot
from tests.soak import count
from womm.errors import ShareError
from womm.share.eager.stream import LocalStore
from womm.store.protocol import VERSION
from womm.store.tree import STAGING

PROGRAM = """
import asyncio, sys
from pathlib import Path
from womm.share.eager.connection import EagerConnection, store_command
from womm.share.eager.options import EagerOptions
from womm.share.eager.report import CopyEvents
from womm.share.eager.stream import LocalStore
what, folder, store, state = sys.argv[1:]
async def main():
    async with LocalStore() as local:
        share = EagerConnection(
            Path(folder), "t1", store_command(store, python=(sys.executable,)), state=Path(state),
            options=EagerOptions(syncback=True, yes=True), events=CopyEvents(lambda text: None),
        )
        await getattr(share, what)(local.exec_dial)
asyncio.run(main())
"""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@contextmanager
def tmpfs(path: Path, size: str) -> Iterator[Path]:
    """Mount a small disk: root on Linux only."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root can mount a small disk")
    path.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, f"size={size}".encode()) != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield path
    finally:
        libc.umount2(os.fsencode(path), 2)


def rubbish(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if os.fsencode(path.name).startswith(STAGING)]


# ---- the source changes while it is read


def test_emptied_folder_halts_before_anything_is_deleted(rig: Rig) -> None:
    (rig.folder / "d").mkdir()
    for name in ("a", "d/b"):
        (rig.folder / name).write_text(name)
    rig.push()
    (rig.folder / "a").unlink()
    (rig.folder / "d/b").unlink()
    for options in ({}, {"syncback": False, "keep": True}):
        with pytest.raises(ShareError, match="it is empty, and had 2 files"):
            rig.push(**options)
    assert contents(rig.store) == {"a": b"a", "d/b": b"d/b"}


def test_folder_replaced_by_a_file_or_gone_halts(rig: Rig) -> None:
    (rig.folder / "a").write_text("a")
    rig.push()
    rig.folder.rename(rig.folder.with_name("aside"))
    for work in (rig.push, rig.pull):
        with pytest.raises(ShareError, match=r"cannot open .*: No such file"):
            work()
    rig.folder.write_text("a file")
    for work in (rig.push, rig.pull):
        with pytest.raises(ShareError, match="is no folder any more"):
            work()
    assert contents(rig.store) == {"a": b"a"}


def test_unmounted_folder_halts_before_anything_is_deleted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    (rig.folder / "placeholder").write_text("what is under the mount")
    with tmpfs(rig.folder, "1m"):
        for number in range(5):
            (rig.folder / str(number)).write_text("x")
        rig.push()
    with pytest.raises(ShareError, match="on another filesystem than before, and 5 of 5 files are gone"):
        rig.push()
    with pytest.raises(ShareError, match="not the folder that was copied"):
        rig.pull()
    assert len(contents(rig.store)) == 5


def test_unmounted_part_of_a_folder_halts_before_anything_is_deleted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number in range(9):
        (rig.folder / str(number)).write_text("x")
    with tmpfs(rig.folder / "data", "1m"):
        (rig.folder / "data/f").write_text("f")
        rig.push()
    with pytest.raises(ShareError, match="data was a mounted filesystem"):
        rig.push()
    assert contents(rig.store)["data/f"] == b"f"


def test_pull_into_a_mounted_part_of_the_folder(tmp_path: Path) -> None:
    """A rename does not reach another filesystem: a copy under a hidden name there does."""
    rig = Rig(tmp_path)
    with tmpfs(rig.folder / "data", "1m"):
        for name in ("changed", "both"):
            (rig.folder / "data" / name).write_text(name)
        rig.push()
        for name in ("changed", "both", "new"):
            (rig.store / "data" / name).write_text(f"result {name}")
        (rig.store / "data/link").symlink_to("new")
        (rig.folder / "data/both").write_text("mine")
        rig.pull()
        assert contents(rig.folder) == {
            "data/changed": b"result changed",
            "data/new": b"result new",
            "data/both": b"mine",
            "data/both.womm-t1": b"result both",
        }
        assert os.readlink(rig.folder / "data/link") == "new"
        assert rubbish(rig.folder) == []


def test_pull_into_a_part_that_is_read_only_brings_the_rest_and_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with tmpfs(rig.folder / "data", "1m") as data:
        (data / "f").write_text("f")
        rig.push()
        for name in ("data/f", "data/new", "other"):
            (rig.store / name).write_text("result")
        subprocess.run(["mount", "-o", "remount,ro", str(data)], check=True)
        result = rig.pull()
        assert contents(rig.folder) == {"data/f": b"f", "other": b"result"}
        assert sorted(result.refused) == [
            (b"data/f", "Read-only file system"),
            (b"data/new", "Read-only file system"),
        ]
        assert len(rig.said) == 2 and "it is still in the store" in rig.said[0]
        subprocess.run(["mount", "-o", "remount,rw", str(data)], check=True)
        rig.pull()
        assert contents(rig.folder) == {"data/f": b"result", "data/new": b"result", "other": b"result"}


# ---- kill -9 at any instant


def killed_after(rig: Rig, what: str, delay_s: float) -> bool:
    """Run it in a process that is killed, with its store's, after some time; False: it was done before."""
    words = [sys.executable, "-c", PROGRAM, what, str(rig.folder), str(rig.store), str(rig.state)]
    process = subprocess.Popen(words, cwd=Path(__file__).parents[3])
    try:
        process.wait(delay_s)
        assert process.returncode == 0
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def duration_s(rig: Rig, what: str) -> float:
    began = time.monotonic()
    assert not killed_after(rig, what, 60)
    return time.monotonic() - began


@pytest.mark.slow
def test_pull_killed_at_random_instants_leaves_no_half_file_and_no_rubbish(tmp_path: Path) -> None:
    rng = random.Random()
    rig = Rig(tmp_path)
    old = {f"f{number}": rng.randbytes(100 + number * 7000) for number in range(60)}
    for name, data in old.items():
        (rig.folder / name).write_bytes(data)
    rig.push()
    kills = 0
    longest_s = 1.0
    for round_ in range(count(5, 100)):
        new = {f"f{number}": rng.randbytes(100 + number * 7000) for number in range(0, 60, 2)}
        new |= {f"new{round_}-{number}": rng.randbytes(300_000) for number in range(5)}
        for name, data in new.items():
            (rig.store / name).write_bytes(data)
        kills += killed_after(rig, "pull", rng.uniform(0.1, longest_s))
        for name, data in contents(rig.folder).items():
            if not os.fsencode(name).startswith(STAGING):
                assert data in (old.get(name), new.get(name)), f"{name} is half a file"
        began = time.monotonic()
        rig.pull()
        longest_s = max(longest_s, time.monotonic() - began)
        old |= new
        assert contents(rig.folder) == old
        assert rubbish(rig.folder) == []
    print(f"{kills} kills")


@pytest.mark.slow
def test_push_killed_at_random_instants_is_completed_by_the_next(tmp_path: Path) -> None:
    rng = random.Random()
    rig = Rig(tmp_path)
    for round_ in range(count(5, 100)):
        for number in range(60):
            (rig.folder / f"f{number}").write_bytes(rng.randbytes(rng.randrange(number * 9000 + 1)))
        killed_after(rig, "push", rng.uniform(0.1, 1.0))
        rig.push()
        assert snapshot(rig.store) == snapshot(rig.folder), f"round {round_}"
        assert rubbish(rig.store) == []


# ---- no room


def test_pull_onto_a_full_disk_says_so_and_truncates_nothing(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "1m"):
        rig = Rig(tmp_path / "small")
        store = tmp_path / "store"
        rig.store.rmdir()
        store.mkdir()
        rig.store = store
        for name in ("old", "small"):
            (rig.folder / name).write_bytes(b"old" * 1000)
        rig.push()
        (rig.store / "old").write_bytes(os.urandom(2_000_000))
        with pytest.raises(ShareError, match=r"no room for what comes back .*: No space left on device"):
            rig.pull()
        assert contents(rig.folder) == {"old": b"old" * 1000, "small": b"old" * 1000}
        assert rubbish(rig.folder) == []


def test_push_into_a_full_store_says_so(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "1m") as small:
        rig = Rig(tmp_path)
        rig.store = small
        (rig.folder / "big").write_bytes(os.urandom(9_000_000))
        with pytest.raises(ShareError, match=r"the store: big: No space left on device"):
            rig.push()
        (rig.folder / "big").write_bytes(b"small now")
        rig.push()
        assert contents(small) == {"big": b"small now"}


# ---- files that change


def test_file_that_is_written_while_it_is_read_is_whole_or_said(rig: Rig) -> None:
    path = rig.folder / "log"
    path.write_bytes(b"x" * 3_000_000)
    (rig.folder / "other").write_text("other")
    words = [sys.executable, "-c", f"f = open({str(path)!r}, 'ab', 0)\nwhile True: f.write(b'y' * 1000)"]
    writer = subprocess.Popen(words)
    try:
        result = rig.push(syncback=False)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert contents(rig.store)["other"] == b"other"
    if result.kept_changing:
        assert result.kept_changing == (b"log",) and "log kept changing" in rig.said[0]
        assert not (rig.store / "log").exists()
    rig.push(syncback=False)
    assert snapshot(rig.store) == snapshot(rig.folder)


# ---- a hostile store


def hostile(rig: Rig, tmp_path: Path, body: str, version: int = VERSION) -> list[str]:
    """Say `body` on stdout as a store would, after what the honest one has said of `q` and `L`."""
    program = tmp_path / "hostile.py"
    program.write_text(
        "import os, sys, time, struct\n"
        "out = sys.stdout.buffer\n"
        "def say(kind, path, *numbers):\n"
        "    out.write(kind + b' ' + b','.join(b'%d' % n for n in numbers) + b' ' + path + b'\\0')\n"
        f"say(b'w', b'', {version}, time.time_ns())\n"
        + textwrap.dedent(body)
        + "\nout.flush()\nsys.stdin.buffer.read()\n"
    )
    return [sys.executable, str(program)]


EVIL = {
    "parent": "say(b'f', b'../evil', 0o644, 4, 1, 1)",
    "absolute": "say(b'f', b'/tmp/evil', 0o644, 4, 1, 1)",
    "inner parent": "say(b'd', b'd', 0o755, 0, 1, 1); say(b'f', b'd/../../evil', 0o644, 4, 1, 1)",
    "empty name": "say(b'd', b'd', 0o755, 0, 1, 1); say(b'f', b'd//evil', 0o644, 4, 1, 1)",
    "no path": "say(b'f', b'', 0o644, 4, 1, 1)",
    "below a link": "say(b'l', b'l', 0o777, 4, 1, 1); say(b'f', b'l/evil', 0o644, 4, 1, 1)",
    "twice": "say(b'f', b'a', 0o644, 4, 1, 1); say(b'l', b'a', 0o777, 4, 1, 1)",
    "a device": "say(b'c', b'evil', 0o644, 4, 1, 1)",
    "negative": "say(b'f', b'evil', 0o644, -4, 1, 1)",
    "huge number": "say(b'f', b'evil', 0o644, 1 << 80, 1, 1)",
    "garbage": "out.write(os.urandom(100) + b'\\0')",
    "no end": "out.write(b'x' * 1000000)",
    "another than asked": """
        say(b'f', b'asked', 0o644, 4, 1, 1); say(b'.', b'')
        say(b'f', b'evil', 0o644, 1, 4); out.write(b'evil')
    """,
    "torn for ever": """
        say(b'f', b'asked', 0o644, 4, 1, 1); say(b'.', b'')
        for _ in range(100): say(b'F', b'asked', 0o644, 1, 4); out.write(struct.pack('>QQ', 0, 0) + b'~')
    """,
    "more than said": """
        say(b'f', b'asked', 0o644, 4, 1, 1); say(b'.', b'')
        say(b'F', b'asked', 0o644, 1, 4); out.write(struct.pack('>QQ', 1 << 40, 4) + b'evil')
    """,
    "too long a target": """
        say(b'l', b'asked', 0o777, 4, 1, 1); say(b'.', b'')
        say(b'l', b'asked', 1, 1 << 30)
    """,
    "too large at once": """
        say(b'f', b'asked', 0o644, 4, 1, 1); say(b'.', b'')
        say(b'f', b'asked', 0o644, 1, 1 << 40)
    """,
}


@pytest.mark.parametrize("how", EVIL)
def test_hostile_store_writes_nothing_outside_and_is_named(rig: Rig, tmp_path: Path, how: str) -> None:
    (rig.folder / "mine").write_text("mine")
    rig.push()
    before = snapshot(tmp_path)
    words = hostile(rig, tmp_path, EVIL[how])
    share = rig.share(command=words)
    with pytest.raises(ShareError, match="answers nonsense"):
        in_store(share.pull)
    (tmp_path / "hostile.py").unlink()
    after = snapshot(tmp_path)
    assert {path: entry for path, entry in after.items() if entry[0] == "file" and path != b"state"} == {
        path: entry for path, entry in before.items() if entry[0] == "file" and path != b"state"
    }
    assert not os.path.lexists("/tmp/evil")


def test_store_that_makes_a_link_and_then_writes_below_it_stays_inside(rig: Rig, tmp_path: Path) -> None:
    """The list says directory; here it is by now a link that leads out."""
    outside = tmp_path / "outside"
    outside.mkdir()
    rig.push()
    (rig.store / "d").mkdir()
    (rig.store / "d/evil").write_text("evil")
    (rig.folder / "d").symlink_to(outside)
    result = rig.pull()
    assert os.listdir(outside) == []
    assert result.conflicts[0] == (b"d", b"d.womm-t1")
    assert contents(rig.folder) == {"d.womm-t1/evil": b"evil"}


# ---- the store's disk is lost


async def test_what_is_written_to_an_empty_disk_before_it_is_filled_never_comes_back(rig: Rig) -> None:
    """A job that does not know of the loss yet: it appends to a file, and makes what it finds missing."""
    (rig.folder / "log").write_bytes(b"line\n" * 2000)
    (rig.folder / "sub").mkdir()
    (rig.folder / "sub/file").write_text("file")
    before = snapshot(rig.folder)
    share = rig.share(identity=str(rig.disk))

    async with LocalStore() as store:
        await share.push(store.exec_dial)
        rig.lose_disk()
        (rig.store / "half/made").mkdir(parents=True)
        (rig.store / "half/made/file").write_text("half")
        (rig.store / "log").write_text("line\n")
        (rig.store / "sub").write_text("no folder")
        await share.push(store.exec_dial)
        assert snapshot(rig.folder) == before
        assert snapshot(rig.store) == before
        assert (await share.pull(store.exec_dial)).brought == ()
    assert snapshot(rig.folder) == before


@pytest.mark.parametrize("how", ["replaced", "emptied"])
async def test_lost_disk_is_not_filled_from_a_folder_that_is_another_one(
    rig: Rig, tmp_path: Path, how: str
) -> None:
    """As after an unmount: what jobs make would go into the mount point."""
    (rig.folder / "given").write_text("given")
    share = rig.share(identity=str(rig.disk))

    async with LocalStore() as store:
        await share.push(store.exec_dial)
        rig.lose_disk()
        (rig.store / "made").write_text("made")
        if how == "replaced":
            rig.folder.rename(tmp_path / "away")
            rig.folder.mkdir()
        else:
            (rig.folder / "given").unlink()
        with pytest.raises(ShareError, match=r"is not the folder that was copied|it is empty"):
            await share.push(store.exec_dial)
    assert contents(rig.folder) == {}
    assert contents(rig.store) == {"made": b"made"}
