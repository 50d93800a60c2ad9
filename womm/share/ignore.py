"""`.wommignore`: which names of a folder are left out of its share.

The syntax is gitignore(5)'s. The folder and each directory in it may have such a file; its rules hold beside
and below it, and come before those from above. All that is in a directory that is left out is left out, as
with git, whatever other rules say.

pathspec turns patterns into regular expressions for whole paths, and lets the pattern of a directory match
the paths in it. git matches each name on the way by itself, and so does this module.
"""

import errno
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from womm.share.control import folded
from womm.share.fence import Fence

RULES: Final = ".wommignore"
_RULES: Final = os.fsencode(RULES)
_MAX_BYTES: Final = 1 << 20
"""A larger file is not read as rules."""
LOOK_AGAIN_S: Final = 1.0
_MARK: Final = "ps_d"
"""pathspec's group for the slash after a directory's name."""
_MAX_LOOKED: Final = 100_000
_NO_NAME: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG)
_NO_FILE: Final = (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.EINVAL)
_PLACE: Final = 0x10F000
"""In a plane for private use."""


@dataclass(frozen=True, slots=True)
class _Rule:
    matches: Callable[[str, bool], bool]
    ignores: bool


_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t-\\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NOTHING: Final = "(?!)"


def _bracket(line: str, at: int) -> tuple[str, int] | None:
    """Translate the set that begins at `at` ("[") as git's wildmatch reads it; return also where it ends.

    None: it has no end, or names an unknown class.
    """
    end = len(line)
    at += 1
    negated = line[at : at + 1] in ("!", "^")
    at += negated
    parts: list[str] = []
    before = ""
    first = True
    while first or line[at : at + 1] != "]":
        first = False
        if at >= end:
            return None
        char = line[at]
        if char == "-" and before and line[at + 1 : at + 2] not in ("", "]"):
            at += 1
            if line[at] == "\\":
                at += 1
            if at >= end:
                return None
            if before <= line[at]:
                parts.append(f"{re.escape(before)}-{re.escape(line[at])}")
            before = ""
        elif line.startswith("[:", at) and (close := line.find("]", at + 2)) > 0 and line[close - 1] == ":":
            found = _CLASSES.get(line[at + 2 : close - 1])
            if found is None:
                return None
            parts.append(found)
            before, at = "", close
        else:
            if char == "\\":
                at += 1
                if at >= end:
                    return None
            before = line[at]
            parts.append(re.escape(before))
        at += 1
    if not parts:
        return ("[^/]" if negated else _NOTHING), at + 1
    inner = "".join(parts)
    return (f"[^/{inner}]" if negated else f"(?!/)[{inner}]"), at + 1


def _without_brackets(line: str) -> tuple[str, list[str]] | None:
    """Replace each set of a pattern by a private character: pathspec and git read sets differently."""
    sets: list[str] = []
    out: list[str] = []
    at = 0
    while at < len(line):
        if line[at] == "[":
            found = _bracket(line, at)
            if found is None:
                return None
            out.append(chr(_PLACE + len(sets)))
            sets.append(found[0])
            at = found[1]
        else:
            size = 2 if line[at] == "\\" else 1
            out.append(line[at : at + size])
            at += size
    return "".join(out), sets


def _rule(line: str, folds: bool) -> _Rule | None:
    """Compile one line; None: it is empty, a comment or invalid."""
    if "[" in line and not line.startswith("#"):
        parted = _without_brackets(line)
        if parted is None:
            return None
        line, sets = parted
    else:
        sets = []
    try:
        text, ignores = GitIgnoreSpecPattern.pattern_to_regex(line)
    except GitIgnorePatternError:
        return None
    if text is None or ignores is None:
        return None
    for number, found in enumerate(sets):
        text = text.replace(chr(_PLACE + number), found)
    regex = re.compile(text, re.DOTALL | (re.IGNORECASE if folds else 0))
    if _MARK not in regex.groupindex:
        # What is in a directory ("dir/**"), or everything.
        return _Rule(lambda path, is_dir: regex.search(path) is not None, ignores)
    only_dirs = line.rstrip().endswith("/")
    if text == f"(?P<{_MARK}>/)":
        return _Rule(lambda path, is_dir: is_dir, ignores)
    if only_dirs:

        def matches_dir(path: str, is_dir: bool) -> bool:
            found = regex.search(path + "/") if is_dir else None
            return found is not None and found.end() == len(path) + 1

        return _Rule(matches_dir, ignores)

    def matches(path: str, is_dir: bool) -> bool:
        found = regex.search(path)
        return found is not None and found.end() == len(path)

    return _Rule(matches, ignores)


def compile_rules(text: bytes, *, folds: bool = False) -> tuple[_Rule, ...]:
    """Compile a file of rules, the last first: the last that matches decides.

    folds: the file system ignores case; the paths to match must be `folded` then.
    """
    text = text.removeprefix(b"\xef\xbb\xbf")
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    rules = [_rule(folded(line) if folds else os.fsdecode(line), folds) for line in lines]
    return tuple(rule for rule in reversed(rules) if rule is not None)


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of one directory. `folds`: its file system ignores case."""

    rules: tuple[_Rule, ...]
    folds: bool = False


_NONE: Final = _Rules(())


class Ignore:
    """The rules of a folder (or of the one that a fence confines). May be used in several threads.

    A task keeps the rules that it began with. Until `begun`, each directory keeps the rules that it has when
    it is first read, or that it has none. A directory that comes later gets the first rules that are found
    in it; until there are some, it is read again after LOOK_AGAIN_S.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | Fence, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fence = folder if isinstance(folder, Fence) else Fence(folder)
        self._owned = self._fence is not folder
        self._clock = clock
        self._beginning = True
        self._found: dict[bytes, _Rules] = {}
        self._without: set[bytes] = set()
        """Directories that had none when the task began."""
        self._looked: dict[bytes, float] = {}
        """For directories that came later: the time at which they had none."""

    def __repr__(self) -> str:
        return f"<Ignore {len(self._found)} directories with rules, {len(self._without)} without>"

    def close(self) -> None:
        if self._owned:
            self._fence.close()

    def begun(self) -> None:
        """The task has seen all directories: their rules stay as they are."""
        self._beginning = False

    def look(self, directory: bytes, *, there: bool = True) -> bool:
        """Read the rules of a directory, if it has none yet. Return whether it has now. Raises OSError.

        there: False where the caller knows that the directory has no file of rules.
        """
        if directory in self._found or directory in self._without:
            return False
        if not there and self._beginning:
            self._without.add(directory)
            return False
        self._looked.pop(directory, None)
        return there and self._rules(directory) is not _NONE

    def is_ignored(self, path: bytes | str, is_dir: bool) -> bool:
        """Is a path relative to the folder left out, or a directory on the way to it?"""
        name = os.fsencode(path).strip(b"/")
        if not name or name == b".":
            return False
        directories: list[bytes] = [b""]
        at = name.find(b"/")
        while at >= 0:
            directories.append(name[:at])
            at = name.find(b"/", at + 1)
        rules: list[tuple[int, _Rules]] = []
        for directory, below in zip(directories, [*directories[1:], name], strict=True):
            found = self._rules(directory)
            if found.rules:
                rules.append((len(directory) + 1 if directory else 0, found))
            if rules and self._matches(rules, below, below is not name or is_dir):
                return True
        return False

    @staticmethod
    def _matches(rules: list[tuple[int, _Rules]], path: bytes, is_dir: bool) -> bool:
        """Do the rules from the folder down to a path's directory leave it out?"""
        for start, here in reversed(rules):
            text = folded(path[start:]) if here.folds else os.fsdecode(path[start:])
            for rule in here.rules:
                if rule.matches(text, is_dir):
                    return rule.ignores
        return False

    def _rules(self, directory: bytes) -> _Rules:
        found = self._found.get(directory)
        if found is not None:
            return found
        if directory in self._without:
            return _NONE
        now = self._clock()
        looked = self._looked.get(directory)
        if looked is not None and now - looked < LOOK_AGAIN_S:
            return _NONE
        beginning = self._beginning
        found = self._read(directory + b"/" + _RULES if directory else _RULES)
        if found is not None:
            return self._found.setdefault(directory, found)
        if beginning:
            self._without.add(directory)
        else:
            if len(self._looked) >= _MAX_LOOKED:
                self._looked.clear()
            self._looked[directory] = now
        return _NONE

    def _read(self, path: bytes) -> _Rules | None:
        """None: there is no such file. Raises OSError when it cannot be found out or read."""
        try:
            found = self._fence.lstat(path)
        except OSError as exc:
            if exc.errno in _NO_NAME:
                return None
            raise
        if not stat.S_ISREG(found.st_mode):
            return None
        try:
            fd = self._fence.open_file(path, os.O_RDONLY)
        except OSError as exc:
            if exc.errno in _NO_FILE:
                return None
            raise
        try:
            text = os.pread(fd, _MAX_BYTES, 0)
        finally:
            os.close(fd)
        folds = self._folds(path, found)
        return _Rules(compile_rules(text, folds=folds), folds)

    def _folds(self, path: bytes, found: os.stat_result) -> bool:
        """Does the file answer to its name in capitals, too?"""
        above, slash, name = path.rpartition(b"/")
        try:
            other = self._fence.lstat(above + slash + name.upper())
        except FileNotFoundError:
            return False
        return os.path.samestat(found, other)
