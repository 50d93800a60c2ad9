"""`.wommignore`: which names of a folder are left out of its share.

The syntax is gitignore(5)'s, in the folder and in any directory below it; a file's rules are for what is
beside and below it, and come before those from above. What is in a directory that is left out is left out,
whatever the rules say of it, as git has it.

pathspec turns patterns into regular expressions. It means them for whole paths, and lets the pattern of a
directory match what is in it; git asks for each name on the way by itself, and so is done here.
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

from womm.share.fence import Fence

RULES: Final = ".wommignore"
_RULES: Final = os.fsencode(RULES)
_MAX_BYTES: Final = 1 << 20
"""Of a file of rules: more is no such file."""
LOOK_AGAIN_S: Final = 1.0
_MARK: Final = "ps_d"
"""pathspec's group for the slash after a directory's name."""
_MAX_KNOWN: Final = 100_000
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

    None: it has no end, or a class that there is not.
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
    """Put a character of no script for each set of a pattern: pathspec reads them otherwise than git."""
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


def _rule(line: str) -> _Rule | None:
    """Compile one line; None: it says nothing, or nothing that makes sense."""
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
    regex = re.compile(text, re.DOTALL)
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


def compile_rules(text: bytes) -> tuple[_Rule, ...]:
    """Compile a file of rules, the last first: the last that matches decides."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    lines = [os.fsdecode(line.removesuffix(b"\r")) for line in text.split(b"\n")]
    rules = [_rule(line) for line in lines]
    return tuple(rule for rule in reversed(rules) if rule is not None)


@dataclass(slots=True)
class _Known:
    """The rules in one directory, and when and what its file was when they were read."""

    looked: float
    stamp: tuple[int, int, int, int] | None
    rules: tuple[_Rule, ...]


class Ignore:
    """The rules of a folder (or of the one that a fence confines). May be used in several threads.

    Files of rules are looked at again when they were not looked at for LOOK_AGAIN_S, and after `forget`.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | Fence, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fence = folder if isinstance(folder, Fence) else Fence(folder)
        self._owned = self._fence is not folder
        self._clock = clock
        self._known: dict[bytes, _Known] = {}

    def __repr__(self) -> str:
        with_rules = sum(bool(known.rules) for known in self._known.values())
        return f"<Ignore {len(self._known)} directories, {with_rules} with rules>"

    def close(self) -> None:
        if self._owned:
            self._fence.close()

    def forget(self) -> None:
        """Look at every file of rules again when it is needed next."""
        self._known.clear()

    def is_ignored(self, path: bytes | str, is_dir: bool) -> bool:
        """Whether a path relative to the folder is left out, or a directory on the way to it."""
        name = os.fsencode(path).strip(b"/")
        if not name or name == b".":
            return False
        directories: list[bytes] = [b""]
        at = name.find(b"/")
        while at >= 0:
            directories.append(name[:at])
            at = name.find(b"/", at + 1)
        rules: list[tuple[int, tuple[_Rule, ...]]] = []
        for directory, below in zip(directories, [*directories[1:], name], strict=True):
            found = self._rules(directory)
            if found:
                rules.append((len(directory) + 1 if directory else 0, found))
            if rules and self._matches(rules, below, below is not name or is_dir):
                return True
        return False

    @staticmethod
    def _matches(rules: list[tuple[int, tuple[_Rule, ...]]], path: bytes, is_dir: bool) -> bool:
        """Whether the rules from the folder down to a path's directory leave it out."""
        for start, here in reversed(rules):
            text = os.fsdecode(path[start:])
            for rule in here:
                if rule.matches(text, is_dir):
                    return rule.ignores
        return False

    def _rules(self, directory: bytes) -> tuple[_Rule, ...]:
        known = self._known.get(directory)
        now = self._clock()
        if known is not None and now - known.looked < LOOK_AGAIN_S:
            return known.rules
        path = directory + b"/" + _RULES if directory else _RULES
        try:
            found = self._fence.lstat(path)
        except OSError:
            found = None
        if found is None or not stat.S_ISREG(found.st_mode):
            rules: tuple[_Rule, ...] = ()
            stamp = None
        else:
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            rules = known.rules if known is not None and known.stamp == stamp else self._read(path)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[directory] = _Known(now, stamp, rules)
        return rules

    def _read(self, path: bytes) -> tuple[_Rule, ...]:
        try:
            fd = self._fence.open_file(path, os.O_RDONLY)
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.EINVAL):
                return ()
            raise
        try:
            return compile_rules(os.pread(fd, _MAX_BYTES, 0))
        finally:
            os.close(fd)
