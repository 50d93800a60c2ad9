"""What both sides had in common when they were last made equal: the ancestor of a three-way comparison.

One file per store in the user's state folder, compressed: a line of JSON for the whole, then for each path
its numbers, its digest and its name, each path ended by a NUL (JSON for them took most of the time of a copy
that has nothing to copy). It is replaced as a whole; one that cannot be read counts as none.
"""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from womm import words
from womm.store.pack import Stamp, stamp_of
from womm.store.protocol import DIRECTORY
from womm.store.tree import Found, Walk

VERSION: Final = 1


class Base(NamedTuple):
    """One path: `ours` and the inode as they were here, `theirs` as it was in the store, which has clocks
    of its own. `digest`: of the content, where it was taken."""

    ours: Stamp
    ino: int
    theirs: Stamp
    digest: bytes = b""

    def is_ours(self, now: os.stat_result) -> bool:
        """Has nobody here touched it since?"""
        stamp = stamp_of(now)
        if stamp is None or stamp.kind != self.ours.kind:
            return False
        return stamp.kind == DIRECTORY or (now.st_ino == self.ino and stamp == self.ours)

    def is_theirs(self, stamp: Stamp) -> bool:
        """Is the store's still what it was, by size, times and mode? No clock of this machine counts."""
        return self.theirs.same(stamp) and self.theirs.mode == stamp.mode


@dataclass(slots=True)
class Ancestor:
    """`store_ns`: the store's own clock when the last copy to it ended. dev, ino: the folder's. mounts:
    other devices in it."""

    dev: int
    ino: int
    store_ns: int = 0
    mounts: list[bytes] = field(default_factory=list)
    entries: dict[bytes, Base] = field(default_factory=dict)

    @property
    def files(self) -> int:
        return sum(base.ours.kind != DIRECTORY for base in self.entries.values())


def unchanged(found: Found, theirs: Stamp, before: Base | None) -> Base:
    """Return the note of a path that both sides have already."""
    digest = before.digest if before is not None and before.ours == found.stamp else b""
    return Base(found.stamp, found.ino, theirs, digest)


def save(path: Path, ancestor: Ancestor) -> None:
    """Replace the file. Raises OSError."""
    head = {
        "version": VERSION,
        "dev": ancestor.dev,
        "ino": ancestor.ino,
        "store_ns": ancestor.store_ns,
        "mounts": [os.fsdecode(mount) for mount in ancestor.mounts],
        "count": len(ancestor.entries),
    }
    records = [json.dumps(head).encode("ascii")]
    for name, (ours, ino, theirs, digest) in ancestor.entries.items():
        numbers = b"%b %d %d %d %d %d" % (*ours, ino)
        more = b"%b %d %d %d %d" % theirs if theirs[:4] != ours[:4] or theirs.ctime_ns else b""
        records.append(b"%b;%b;%b;%b" % (numbers, more, digest.hex().encode("ascii"), name))
    data = zlib.compress(b"\0".join(records), 1)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load(path: Path) -> Ancestor | None:
    """None: there is none, or none that can be read."""
    try:
        records = zlib.decompress(path.read_bytes()).split(b"\0")
        head = json.loads(records[0])
        if head["version"] != VERSION or head["count"] != len(records) - 1:
            return None
        found = Ancestor(
            int(head["dev"]),
            int(head["ino"]),
            int(head["store_ns"]),
            [os.fsencode(mount) for mount in head["mounts"]],
        )
        for record in islice(records, 1, None):
            numbers, more, digest, name = record.split(b";", 3)
            kind, mode, size, mtime_ns, ctime_ns, ino = numbers.split()
            ours = Stamp(kind, int(mode), int(size), int(mtime_ns), int(ctime_ns))
            theirs = _stamp(*more.split()) if more else Stamp(*ours[:4])
            found.entries[name] = Base(ours, int(ino), theirs, bytes.fromhex(digest.decode("ascii")))
        return found
    except (OSError, ValueError, KeyError, TypeError, zlib.error):
        return None


def _stamp(kind: bytes, *numbers: bytes) -> Stamp:
    mode, size, mtime_ns, ctime_ns = map(int, numbers)
    return Stamp(kind, mode, size, mtime_ns, ctime_ns)


def deleted(ancestor: Ancestor, walk: Walk, theirs: Mapping[bytes, Stamp]) -> list[bytes]:
    """Return the paths that were copied once, are gone here, and are in the store as they were copied.

    A directory comes after the paths in it. A path below an unreadable directory does not count as deleted.
    """
    found = [
        path
        for path, base in ancestor.entries.items()
        if path not in walk.entries and path in theirs and base.is_theirs(theirs[path])
    ]
    blind = tuple(path + b"/" for path in walk.unreadable)
    if blind:
        found = [path for path in found if not (path + b"/").startswith(blind)]
    found.sort(reverse=True)
    return found


def suspicious(ancestor: Ancestor, walk: Walk, gone: list[bytes]) -> str:
    """Return why the paths may be gone because the folder is (unmounted, emptied); "": they were deleted.

    The rule of mutagen and the lesson of okteto: never pass on the loss of a whole folder.
    """
    if not gone:
        return ""
    if ancestor.files and not walk.files:
        return f"it is empty, and had {words.counted(ancestor.files, 'file')} when it was last copied"
    now = set(walk.mounts)
    for mount in ancestor.mounts:
        below = mount + b"/"
        if mount not in now and any(path.startswith(below) for path in gone):
            return f"{os.fsdecode(mount)} was a mounted filesystem when it was last copied, and is none now"
    lost = sum(ancestor.entries[path].ours.kind != DIRECTORY for path in gone)
    if ancestor.dev != walk.root.st_dev and lost * 2 > ancestor.files:
        files = words.counted(ancestor.files, "file")
        return f"it is on another filesystem than before, and {lost:,} of {files} are gone"
    return ""
