"""Which files of the programs hold a secret: `Contents` looks when one is read first.

Strategy: a text is searched once for each version of it. It costs about 1.5 ms for 10 kB, so what package
managers and installers of languages bring as programs and pages is left out: it is the same on every machine
that has the package. Settings in the same places are looked at.
"""

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from womm.here.programs import Programs
from womm.secrets import scan

_HEAD_BYTES: Final = 8192
_KEPT: Final = 4096
"""Verdicts on files of late: more blocks of them will be asked for."""
_KINDS: Final = frozenset("system conda venv node brew java go python ruby rust nix guix".split())
"""Of roots: an installer has filled them (see Root.kind)."""
_KINDS_IN_HOMES: Final = frozenset("conda venv nix guix".split())
"""The other kinds are told by a file or two, and a home has folders of its user's that have those, too."""
_LOCAL: Final = b"usr/local/"
_LIBRARIES: Final = re.compile(
    rb"(?:^|/)(?:lib(?:64)?/python[\d.]+|(?:site|dist)-packages|node_modules|gems)/"
)

Version = tuple[int, int, int]
Inode = tuple[int, int]


def version_of(found: os.stat_result) -> Version:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(slots=True)
class _Looking:
    """threads: those that look at a file, or wait for the one that does."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: int = 0


class Contents:
    """The verdicts of one task. Threads may use it."""

    def __init__(self, programs: Programs) -> None:
        self._managed = tuple(
            os.fsencode(root.path.strip("/")) + b"/"
            for root in programs.roots
            if root.kind in (_KINDS_IN_HOMES if root.private else _KINDS)
        )
        self._lock = threading.Lock()
        self._looking: dict[Inode, _Looking] = {}
        self._clean: OrderedDict[tuple[bytes, Inode], Version] = OrderedDict()
        """By name, too: the name decides whether a file is searched, and for what."""
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
        inode, version = (found.st_dev, found.st_ino), version_of(found)
        name = path, inode
        if self._clean.get(name) == version:
            return ""
        with self._alone(inode):  # the blocks of a file are asked for together: one of them looks
            if self._clean.get(name) == version:
                return ""
            if rule := self.known(found):
                return rule
            rule = _rule(path, fd, found.st_size, self._is_managed(path))
            with self._lock:
                if rule:
                    self._secret[inode] = version, rule
                else:
                    self._clean[name] = version
                    if len(self._clean) > _KEPT:
                        self._clean.popitem(last=False)
        return rule

    @contextmanager
    def _alone(self, inode: Inode) -> Iterator[None]:
        """Keep other threads from looking at this file, and at no other: a dead mount may keep it."""
        with self._lock:
            looking = self._looking.setdefault(inode, _Looking())
            looking.threads += 1
        try:
            with looking.lock:
                yield
        finally:
            with self._lock:
                looking.threads -= 1
                if not looking.threads:
                    del self._looking[inode]

    def _is_managed(self, path: bytes) -> bool:
        """Return whether an installer has put a file there, by its place."""
        if path.startswith(self._managed) and not path.startswith(_LOCAL):
            return True
        return _LIBRARIES.search(path) is not None


def _rule(path: bytes, fd: int, size: int, managed: bool) -> str:
    name = "/" + os.fsdecode(path)
    named = scan.needs_content(name)
    if not named and (size > scan.LARGEST_TEXT or (managed and scan.is_program_text(name))):
        return ""
    head = os.pread(fd, _HEAD_BYTES, 0)
    if not named and b"\0" in head:
        return ""
    content = head if size <= len(head) else os.pread(fd, scan.LARGEST_TEXT, 0)
    finding = next(scan.in_file(name, content), None)
    return finding.rule if finding is not None else ""
