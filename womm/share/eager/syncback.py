"""Which of the jobs' files come back into the user's folder: decided by paths and stamps, without I/O.

`manifest` has what both sides had in common. A path that the store has otherwise than then is fetched
(`pull`) and placed (`placer`). No clock decides: a changed time only makes a path worth looking at.
"""

from dataclasses import dataclass
from typing import NamedTuple

from womm.share.control import Change, Refusal, Writable
from womm.share.eager.manifest import Ancestor
from womm.store.pack import Stamp
from womm.store.protocol import DIRECTORY
from womm.store.tree import STAGING, IgnoreRules


@dataclass(frozen=True, slots=True)
class PullResult:
    """brought: paths that are new or changed here. conflicts: paths that both sides have changed, each with
    the name that theirs has here. size_bytes: of all fetched files. kept_changing: paths that were not
    fetched: jobs wrote to them meanwhile. refused: paths that could not be placed here, and why; they are
    still in the store. own, outside: see `Held`."""

    brought: tuple[bytes, ...] = ()
    conflicts: tuple[tuple[bytes, bytes], ...] = ()
    size_bytes: int = 0
    kept_changing: tuple[bytes, ...] = ()
    refused: tuple[tuple[bytes, str], ...] = ()
    own: tuple[bytes, ...] = ()
    outside: tuple[bytes, ...] = ()

    def __add__(self, other: "PullResult") -> "PullResult":
        return PullResult(
            self.brought + other.brought,
            self.conflicts + other.conflicts,
            self.size_bytes + other.size_bytes,
            self.kept_changing + other.kept_changing,
            self.refused + other.refused,
            self.own + other.own,
            self.outside + other.outside,
        )


def changed(theirs: dict[bytes, Stamp], ancestor: Ancestor) -> list[bytes]:
    """Return the paths that have changed in the store since it was filled, a directory before its content.

    By content's size and time, by mode, and by the store's own record of the last change of each file: a
    program may set its file's time back.
    """
    found = []
    entries, since_ns = ancestor.entries, ancestor.store_ns
    for path, stamp in theirs.items():
        base = entries.get(path)
        if base is None or not base.theirs.same(stamp):
            found.append(path)
        elif stamp.kind != DIRECTORY:
            later = stamp.ctime_ns != base.theirs.ctime_ns and stamp.ctime_ns > since_ns > 0
            if later or base.theirs.mode != stamp.mode:
                found.append(path)
    return found


def hidden(paths: list[bytes], theirs: dict[bytes, Stamp], ignore: IgnoreRules | None) -> set[bytes]:
    """Return those paths that `.wommignore` names, or a directory above them."""
    found: set[bytes] = set()
    for path in paths:
        at = path.rfind(b"/")
        if path[at + 1 :].startswith(STAGING) or (at >= 0 and path[:at] in found):
            found.add(path)
        elif ignore is not None:
            parts = path.split(b"/")
            above = (b"/".join(parts[:count]) for count in range(1, len(parts)))
            is_dir = theirs[path].kind == DIRECTORY
            if ignore.is_ignored(path, is_dir) or any(ignore.is_ignored(one, True) for one in above):
                found.add(path)
    return found


class Held(NamedTuple):
    """Paths, sorted: `back` comes back; womm's `own` files and paths `outside` of share-write do not."""

    back: list[bytes]
    own: list[bytes]
    outside: list[bytes]


def held(paths: list[bytes], theirs: dict[bytes, Stamp], writable: Writable) -> Held:
    """Sort the paths that jobs have made or changed."""
    found = Held([], [], [])
    for path in paths:
        is_dir = theirs[path].kind == DIRECTORY
        why = writable.why_not(path, Change.MAKE_DIRECTORY if is_dir else Change.MAKE_FILE)
        kept = {None: found.back, Refusal.CONTROL: found.own, Refusal.OUTSIDE: found.outside}[why]
        kept.append(path)
    return found
