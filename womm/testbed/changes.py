"""What the testbed has changed in the image: files and bytes by folder, and what looks like a secret.

Strategy: the daemon lists the paths that the container's layer has. It also lists each folder above them,
files that docker itself puts there, and what shells leave behind; none of those is a change. One perl program
in the container (look.pl) tells the sizes of the rest, and sends the texts that may hold a secret. womm looks
at each text as it comes, and keeps none. The daemon could send the files itself, but only in archives with
all of their bytes.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from womm import words
from womm.errors import ImageError
from womm.secrets import scan
from womm.secrets.scan import Finding

if TYPE_CHECKING:
    from womm.testbed.container import Change, Testbed

LOOK: Final = Path(__file__).parent / "look.pl"
_LINES: Final = 6
"""The most folders that are named, and the most removed files."""
_MARGIN_S: Final = 10
"""A container's start is known in whole seconds, and docker makes its mount points before it."""
_LONGEST_LINE: Final = 200

_DOCKERS_OWN: Final = re.compile(
    r"/(?:dev|proc|sys)(?:/.*)?|/etc/(?:hosts|hostname|resolv\.conf|mtab)|/\.dockerenv|/run/\.containerenv"
    r"|/run/secrets|/mnt",
    re.S,
)
_LEFTOVERS: Final = re.compile(
    r"(?:/root|/home/[^/]+)?/\.(?:(?:bash|zsh|ash|sh|ksh|dash|mksh|python|psql|mysql|sqlite|node_repl)_?history|histfile"
    r"|lesshst|viminfo|viminfo\.tmp|wget-hsts|zcompdump|selected_editor|local/share/(?:nano|fish|vim)/.*|config/fish/"
    r"fish_variables|nano/.*)",
    re.S,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What look.pl tells of a path."""

    type: str
    """f: file, d: directory, l: link, o: other, -: it is gone."""
    mode: int
    uid: int
    size_bytes: int
    mtime_s: int


@dataclass(frozen=True, slots=True)
class File:
    """An added or changed path: a file, a link, or a directory that is empty or has other rights."""

    path: str
    size_bytes: int
    kind: str
    """A: added, C: changed."""
    type: str = "f"


@dataclass(frozen=True, slots=True)
class Changes:
    files: tuple[File, ...] = ()
    removed: tuple[str, ...] = ()
    """Files, and folders with all that was in them."""
    folders: tuple[str, ...] = ()
    """Folders that were made, with something in them."""
    leftovers: tuple[File, ...] = ()
    """Histories of shells and editors. They get into a commit, but are no reason for one."""
    findings: tuple[Finding, ...] = ()
    listed: "tuple[Change, ...]" = field(default=(), repr=False)
    """As the daemon lists them: a daemon takes long for many."""

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.files and not self.removed

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in (*self.files, *self.leftovers))

    def lines(self) -> list[str]:
        """Return a few lines for the user: the largest folders first, then what was removed."""
        folders = by_folder(self.files)
        rows = folders[:_LINES]
        if rest := folders[_LINES:]:
            other = words.counted(len(rest), "other folder")
            rows.append((f"and {other}", sum(row[1] for row in rest), sum(row[2] for row in rest)))
        named = [(words.name(row[0], 60), words.counted(row[1], "file"), row[2]) for row in rows]
        width = max((len(row[0]) for row in named), default=0)
        count = max((len(row[1]) for row in named), default=0)
        lines = [
            f"{name:<{width}}  {files:>{count}}  {words.shown_bytes(size)}" for name, files, size in named
        ]
        if self.removed:
            shown = [words.name(path, 60) for path in self.removed[:_LINES]]
            more = len(self.removed) - len(shown)
            lines.append("removed: " + ", ".join(shown) + (f" and {more:,} more" if more else ""))
        return lines


def look(testbed: "Testbed") -> Changes:
    """Return what the container's layer changes in the base image. Raises ImageError."""
    listed = [change for change in testbed.changes() if not _DOCKERS_OWN.fullmatch(change.path)]
    paths = [change.path for change in listed if change.kind != "D"]
    reader, findings = Reader(paths), list[Finding]()
    if paths:

        def take(data: bytes) -> None:
            for path, content, present in reader.feed(data):
                findings.extend(scan.in_file(path, content, present))

        finished = testbed.output(program(), take, stdin=questions(paths))
        if finished.status or not reader.complete:
            lines = finished.err.decode("utf-8", "replace").split("\n")
            raise _failed(lines[0] or f"its status is {finished.status}")
    return found(listed, dict(zip(paths, reader.facts, strict=True)), reader.start_s, findings)


def program() -> list[str]:
    """Return look.pl as a command."""
    wanted = b" ".join(scan.keywords()).decode()
    source = LOOK.read_text(encoding="utf-8")
    return ["perl", "-e", source, "--", wanted, scan.MARKS.decode(), str(scan.LARGEST_TEXT)]


def questions(paths: Iterable[str]) -> bytes:
    """Return the paths as look.pl reads them."""
    marked = (("!" if scan.needs_content(path) else "") + path for path in paths)
    return b"".join(os.fsencode(path) + b"\0" for path in marked)


class Reader:
    """Takes the answer of look.pl apart, in pieces as it comes. It does no I/O."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.facts: list[Facts] = []
        self.start_s = 0
        self._paths = paths
        self._buffer = bytearray()
        self._lacking = -1
        """How many bytes of a text are to come; -1: a line comes."""
        self._begun = False
        self._present: list[bytes] = []

    @property
    def complete(self) -> bool:
        return self._begun and len(self.facts) == len(self._paths) and not self._buffer and self._lacking < 0

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes, list[bytes]]]:
        """Yield the path of each file; its text, if it may hold a secret, and which words are in it.

        Raises ImageError.
        """
        self._buffer += data
        while True:
            if self._lacking < 0:
                line = self._line()
                if line is None:
                    return
                self._take(line)
            if self._lacking >= 0:
                if len(self._buffer) < self._lacking:
                    return
                content = bytes(self._buffer[: self._lacking])
                del self._buffer[: self._lacking]
                self._lacking = -1
                if self.facts[-1].type == "f":
                    yield self._paths[len(self.facts) - 1], content, self._present

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", 0, _LONGEST_LINE)
        if end < 0:
            if len(self._buffer) >= _LONGEST_LINE:
                raise _failed("its answer is garbled")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _take(self, line: bytes) -> None:
        try:
            if not self._begun:
                self.start_s, self._begun = int(line), True
                return
            type_, *numbers = line.decode("ascii").split(" ")
            mode, uid, size, mtime, length = map(int, numbers[:5])
            self._present = [word for one in numbers[5:] for word in scan.beginnings(int(one))]
        except (ValueError, IndexError) as exc:
            raise _failed("its answer is garbled") from exc
        if len(self.facts) == len(self._paths) or not 0 <= length <= scan.LARGEST_TEXT:
            raise _failed("its answer is garbled")
        self.facts.append(Facts(type_, mode, uid, size, mtime))
        self._lacking = length


def found(
    listed: Sequence["Change"], facts: Mapping[str, Facts], start_s: int, findings: Iterable[Finding] = ()
) -> Changes:
    """Decide which of the listed paths are changes.

    start_s: the container's start, in seconds since 1970; 0 where that is not known.
    """
    files, leftovers, removed, folders = list[File](), list[File](), list[str](), list[str]()
    directories: list[Change] = []
    for change in listed:
        if change.kind == "D":
            if not _LEFTOVERS.fullmatch(change.path):
                removed.append(change.path)
        elif facts[change.path].type == "d":
            directories.append(change)
        else:
            fact = facts[change.path]
            file = File(change.path, fact.size_bytes, change.kind, fact.type)
            (leftovers if _LEFTOVERS.fullmatch(change.path) else files).append(file)
    real = _above([*(file.path for file in files), *removed])
    left = _above(file.path for file in leftovers)
    # The deepest first: a folder counts for those above it.
    for change in sorted(directories, key=lambda one: one.path, reverse=True):
        if change.path in real:
            if change.kind == "A":
                folders.append(change.path)
        elif _is_change(change, facts[change.path], start_s) and change.path not in left:
            files.append(File(change.path, 0, change.kind, "d"))
            real |= _above([change.path])
    return Changes(
        tuple(sorted(files, key=lambda file: file.path)),
        tuple(sorted(removed)),
        tuple(sorted(folders)),
        tuple(leftovers),
        tuple(findings),
        tuple(listed),
    )


def _is_change(folder: "Change", facts: Facts, start_s: int) -> bool:
    """Return whether a folder in which nothing has changed is itself a change.

    If only its rights or its owner are others, its time is the image's. If its time is new, then a name in it
    has come and gone.
    """
    return folder.kind == "A" or facts.mtime_s < start_s - _MARGIN_S


def _above(paths: Iterable[str]) -> set[str]:
    """Return all folders that these paths are in."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def by_folder(files: Iterable[File]) -> list[tuple[str, int, int]]:
    """Return folders with the number and the bytes of the files in and below them, the largest first.

    There is one for each folder of the second level (/usr/lib), named as deeply as all of its files are.
    """
    groups: dict[tuple[str, ...], tuple[list[str], int, int]] = {}
    for file in files:
        parts = file.path.split("/")[1:-1]
        common, count, size = groups.get(tuple(parts[:2]), (parts, 0, 0))
        shared = [
            one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(common, parts, strict=False))
        ]
        groups[tuple(parts[:2])] = (shared, count + 1, size + file.size_bytes)
    found = [("/" + "/".join(common), count, size) for common, count, size in groups.values()]
    return sorted(found, key=lambda row: (-row[2], -row[1], row[0]))


def _failed(why: str) -> ImageError:
    # What perl has sent is not shown: it may be a file's text.
    return ImageError(f"perl in the testbed does not tell what has changed: {words.name(why)}", "womm setup")
