"""Notices that packages were upgraded while a task runs: `Upgrades`."""

import os
import time
from collections.abc import Iterable
from glob import escape, glob
from typing import Final

from womm.here.programs import Programs

LOOK_EVERY_S: Final = 1.0
DATABASES: Final = (
    "/var/lib/dpkg/status",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/pacman/local",
    "/lib/apk/db/installed",
    "/etc/ld.so.cache",
)
"""Each package manager writes its own; ldconfig runs after libraries have changed."""
_IN_ROOTS: Final = ("", "lib/python*/site-packages", "conda-meta/history", "bin", "lib/node_modules")

Mark = tuple[int, int, int] | None


class Upgrades:
    """Looks at the package databases and the roots. It blocks."""

    def __init__(
        self, programs: Programs, databases: Iterable[str] = DATABASES, every_s: float = LOOK_EVERY_S
    ) -> None:
        self._every_s = every_s
        paths = list(databases)
        for root in programs.roots:
            for pattern in _IN_ROOTS:
                paths += glob(os.path.join(escape(root.path), pattern)) if pattern else [root.path]
        self._marks = {path: _mark(path) for path in paths}
        self._looked_s = time.monotonic()

    def __repr__(self) -> str:
        return f"<Upgrades of {len(self._marks)} paths>"

    @property
    def due(self) -> bool:
        """Was the last look long ago?"""
        return time.monotonic() - self._looked_s >= self._every_s

    def look(self) -> str:
        """Return the first path that has changed since the last look; empty: none."""
        self._looked_s = time.monotonic()
        changed = ""
        for path, before in self._marks.items():
            now = _mark(path)
            if now != before:
                self._marks[path] = now
                changed = changed or path
        return changed


def _mark(path: str) -> Mark:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
