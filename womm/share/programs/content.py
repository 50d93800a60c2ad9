"""Which files of the programs hold a secret: `Contents` looks when one is read first.

Strategy: a text is searched once for each version of it. It costs about 1.5 ms for 10 kB, so what packages
install as programs and pages is left out: it is the same on every machine that has the package. Settings in
the same places are looked at.
"""

import os
import threading
from collections import OrderedDict
from typing import Final

from womm.secrets import scan

_HEAD_BYTES: Final = 8192
_KEPT: Final = 4096
"""Verdicts on files of late: more blocks of them will be asked for."""
_MANAGED: Final = (b"usr/", b"nix/store/", b"gnu/store/")
_LOCAL: Final = b"usr/local/"

Version = tuple[int, int, int]
Inode = tuple[int, int]


def version_of(found: os.stat_result) -> Version:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Contents:
    """The verdicts of one task. Threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clean: OrderedDict[Inode, Version] = OrderedDict()
        self._secret: dict[Inode, tuple[Version, str]] = {}

    def __repr__(self) -> str:
        return f"<Contents {len(self._clean)} clean, {len(self._secret)} secret>"

    def known(self, found: os.stat_result) -> str:
        """Return the rule by which a file, as it is, is known to be a secret; empty: it is not."""
        if not self._secret:
            return ""
        version, rule = self._secret.get((found.st_dev, found.st_ino), (None, ""))
        return rule if version == version_of(found) else ""

    def judge(self, path: bytes, fd: int, found: os.stat_result) -> str:
        """Return the rule by which an open file, as it is, is a secret; empty: it is none. Blocks."""
        key, version = (found.st_dev, found.st_ino), version_of(found)
        if self._clean.get(key) == version:
            return ""
        if rule := self.known(found):
            return rule
        rule = _rule(path, fd, found.st_size)
        with self._lock:
            if rule:
                self._secret[key] = version, rule
            else:
                self._clean[key] = version
                if len(self._clean) > _KEPT:
                    self._clean.popitem(last=False)
        return rule


def is_managed(path: bytes) -> bool:
    """Return whether a package manager has put a file there, by its place."""
    return path.startswith(_MANAGED) and not path.startswith(_LOCAL)


def _rule(path: bytes, fd: int, size: int) -> str:
    name = "/" + os.fsdecode(path)
    named = scan.needs_content(name)
    if not named and (size > scan.LARGEST_TEXT or (is_managed(path) and scan.is_program_text(name))):
        return ""
    head = os.pread(fd, _HEAD_BYTES, 0)
    if not named and b"\0" in head:
        return ""
    content = head if size <= len(head) else os.pread(fd, scan.LARGEST_TEXT, 0)
    finding = next(scan.in_file(name, content), None)
    return finding.rule if finding is not None else ""
