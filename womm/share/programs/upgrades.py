"""Notices that packages were upgraded while a task runs: `Upgrades`."""

import os
import time
from collections.abc import Iterable
from glob import escape, glob
from typing import Final

from womm.here.programs import Programs
from womm.share.programs.mounts import Mounts

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
_IN_ROOTS: Final = (
    *("", "bin", "sbin", "local/bin", "local/sbin", "local/lib", "conda-meta/history"),
    *("lib/python*/site-packages", "lib/python*/dist-packages"),
    *("local/lib/python*/site-packages", "local/lib/python*/dist-packages"),
    *("lib/node_modules", "local/lib/node_modules", "lib/ruby/gems/*/specifications"),
)
"""What installers change without a word to a database."""

Mark = tuple[int, int, int] | None


class Upgrades:
    """Looks at the package databases and the roots, but at nothing on other machines: that may not answer.

    It blocks.
    """

    def __init__(
        self,
        programs: Programs,
        databases: Iterable[str] = DATABASES,
        every_s: float = LOOK_EVERY_S,
        mounts: Mounts | None = None,
    ) -> None:
        mounts = mounts or Mounts()
        self._every_s = every_s
        paths = list(databases)
        for root in programs.roots:
            for pattern in _IN_ROOTS:
                if not _waits(mounts, os.path.join(root.path, pattern.partition("*")[0])):
                    paths += _below(root.path, pattern)
        self._marks = {path: _mark(path) for path in paths if not _waits(mounts, path)}
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


def _waits(mounts: Mounts, path: str) -> bool:
    return mounts.waits(os.fsencode(path.strip("/")))


def _below(root: str, pattern: str) -> list[str]:
    if "*" in pattern:
        return glob(os.path.join(escape(root), pattern))
    return [os.path.join(root, pattern) if pattern else root]  # one that is not there yet, too


def _mark(path: str) -> Mark:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
