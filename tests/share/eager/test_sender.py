"""What a copy sends: decided from two lists."""

import os

from womm.share.eager.sender import LARGE, plan
from womm.store.pack import Stamp
from womm.store.protocol import DIRECTORY, FILE, LINK
from womm.store.tree import Found, Walk


def walk_of(entries: dict[bytes, Stamp]) -> Walk:
    walk = Walk(os.stat("/"))
    for path, stamp in entries.items():
        walk.entries[path] = Found(stamp, 1, 1, 1, 1)
    return walk


def test_plan_sends_what_is_new_or_other_and_keeps_the_rest() -> None:
    ours = {
        b"d": Stamp(DIRECTORY, 0o755, 0, 1),
        b"mode": Stamp(FILE, 0o755, 10, 1),
        b"new": Stamp(FILE, 0o644, 10, 1),
        b"same": Stamp(FILE, 0o644, 10, 1, 5),
        b"touched": Stamp(FILE, 0o644, 10, 2),
    }
    theirs = {
        b"d": Stamp(DIRECTORY, 0o700, 0, 9),
        b"gone": Stamp(FILE, 0o644, 10, 1),
        b"mode": Stamp(FILE, 0o644, 10, 1),
        b"same": Stamp(FILE, 0o644, 10, 1, 77),
        b"touched": Stamp(FILE, 0o644, 10, 1),
    }
    found = plan(walk_of(ours), theirs, [b"gone"])
    assert (found.send, found.kept, found.size_bytes) == ([b"mode", b"new", b"touched"], [b"same"], 30)
    assert (found.delete, found.replace, found.older) == ([(b"gone", theirs[b"gone"])], [], set())


def test_plan_replaces_a_directory_by_a_file_and_a_file_by_a_directory() -> None:
    ours = {
        b"a": Stamp(FILE, 0o644, 1, 1),
        b"b": Stamp(DIRECTORY, 0o755, 0, 1),
        b"c": Stamp(LINK, 0o777, 1, 1),
    }
    theirs = {
        b"a": Stamp(DIRECTORY, 0o755, 0, 1),
        b"b": Stamp(FILE, 0o644, 1, 1),
        b"c": Stamp(FILE, 0o644, 1, 1),
    }
    found = plan(walk_of(ours), theirs, [])
    assert (found.replace, found.send) == ([b"a", b"b"], [b"a", b"c"])


def test_plan_compares_blocks_of_large_files_only() -> None:
    ours = {b"large": Stamp(FILE, 0o644, LARGE, 2), b"small": Stamp(FILE, 0o644, LARGE - 1, 2)}
    theirs = {path: stamp._replace(mtime_ns=1) for path, stamp in ours.items()}
    assert plan(walk_of(ours), theirs, []).older == {b"large"}
