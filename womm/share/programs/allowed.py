"""Which paths of this machine belong to its programs: `Allowed`. Nothing here looks at a file.

Strategy: a path belongs to them if it is in a top (a root, or an entry of /etc's list), or if it is on the
way to one. Of a directory on the way only the names that lead on are shown. Paths are bytes relative to "/",
as womm.share.fence.clean returns them; there is no ".." in them.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from womm.errors import ShareError
from womm.here.programs import Programs
from womm.share.fence import clean

PLACEHOLDERS: Final = (b"hosts", b"hostname", b"resolv.conf")
"""In /etc: kubelet mounts the pod's own over them, and a read-only mount must have the names."""
_ETC: Final = b"etc"
_NEVER: Final = frozenset((b"", b"proc", b"sys", b"dev", b"run", b"boot"))
"""No top has its first name here: what is there is this machine's, and no program."""


class Place(Enum):
    """What a path is."""

    WAY = "on the way to a top"
    LINK = "a symbolic link to a folder in a root"
    PLACEHOLDER = "a file that the pod replaces"
    INSIDE = "a top, or in one"


@dataclass(frozen=True, slots=True)
class Allowed:
    """tops: each with the first directory on its way whose mode counts. ways: the directories on the way,
    each with the names that lead on. links: the symbolic links that are shown beside the tops."""

    tops: Mapping[bytes, bytes]
    ways: Mapping[bytes, tuple[bytes, ...]]
    links: frozenset[bytes]
    placeholders: frozenset[bytes]

    @classmethod
    def of(cls, programs: Programs) -> "Allowed":
        """Raises ShareError for a root that can be none."""
        roots = _outermost(_top(root.path) for root in programs.roots)
        etc = _outermost(clean(os.fsencode(path)) for path in programs.etc)
        tops = {root: root for root in roots}
        tops |= {_ETC + b"/" + path: _ETC for path in etc if path and path not in PLACEHOLDERS}
        placeholders = frozenset(_ETC + b"/" + name for name in PLACEHOLDERS) if programs.etc else frozenset()
        links = frozenset(clean(os.fsencode(link)) for link, _ in programs.links)
        links = frozenset(link for link in links if link and _in(link, tops) is None)
        names: dict[bytes, set[bytes]] = {b"": set()}
        for path in (*tops, *links, *placeholders):
            above = path
            while above:
                above, _, name = above.rpartition(b"/")
                names.setdefault(above, set()).add(name)
        return cls(tops, {way: tuple(sorted(leads)) for way, leads in names.items()}, links, placeholders)

    def place(self, path: bytes) -> Place | None:
        """Return what a path is; None: it does not belong to the programs."""
        if path in self.placeholders:
            return Place.PLACEHOLDER
        if path in self.ways:
            return Place.WAY
        if path in self.links:
            return Place.LINK
        return None if _in(path, self.tops) is None else Place.INSIDE

    def judged(self, path: bytes) -> list[bytes]:
        """Return the directories above a path inside a top whose modes count, from the first one down."""
        top = _in(path, self.tops)
        if top is None:
            return []
        first = self.tops[top]
        found = []
        at = path.find(b"/", len(first))
        while at >= 0:
            found.append(path[:at])
            at = path.find(b"/", at + 1)
        return found


def _top(path: str) -> bytes:
    found = clean(os.fsencode(path))
    if found.partition(b"/")[0] in _NEVER:
        raise ShareError(f"{path} cannot be among the programs that pods see", "womm doctor")
    return found


def _outermost(paths: Iterable[bytes]) -> list[bytes]:
    """Return the paths that lie in no other one."""
    found: dict[bytes, bytes] = {}
    for path in sorted(paths, key=len):
        if _in(path, found) is None:
            found[path] = path
    return list(found)


def _in(path: bytes, tops: Mapping[bytes, bytes]) -> bytes | None:
    """Return the top that a path is or lies in."""
    while path:
        if path in tops:
            return path
        path = path.rpartition(b"/")[0]
    return None
