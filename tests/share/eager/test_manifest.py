"""The note of a copy: read as it was written, and worth nothing when it is torn."""

import os
import random
from pathlib import Path

from womm.share.eager import manifest
from womm.share.eager.manifest import Ancestor, Base
from womm.store.pack import Stamp
from womm.store.protocol import DIRECTORY, FILE, LINK


def note(count: int) -> Ancestor:
    rng = random.Random(count)
    found = Ancestor(5, 7, 123, [b"mount\xff"])
    for number in range(count):
        ours = Stamp(rng.choice([FILE, DIRECTORY, LINK]), 0o644, number, -number, rng.randrange(1 << 60))
        theirs = Stamp(*ours[:4]) if number % 2 else ours._replace(mtime_ns=5, ctime_ns=99)
        name = b"d/" + rng.randbytes(5).replace(b"\0", b";") + b";%d" % number
        found.entries[name] = Base(ours, number, theirs, rng.randbytes(16) if number % 3 else b"")
    return found


def test_note_of_a_copy_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "state"
    assert manifest.load(path) is None
    for count in (0, 1, 500):
        manifest.save(path, note(count))
        assert manifest.load(path) == note(count)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["state"]


def test_note_that_is_torn_or_foreign_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "state"
    manifest.save(path, note(20))
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert manifest.load(path) is None
    rng = random.Random(1)
    for _ in range(200):
        broken = bytearray(whole)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        manifest.load(path)
