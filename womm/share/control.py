"""Which paths of a shared folder pods may change: those that `share-write` names, and never womm's own files.

Pure: paths are relative to the folder, as `fence.clean` returns them. womm obeys its own files,
so a job that could write one could run programs on this machine, or see hidden files.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from womm.project import FILE_NAME

NAMES: Final = (FILE_NAME.encode(), b".wommignore")
"""womm's own files, at any depth; where a folder has such a name, all that is in it."""

_SPELLED: Final = frozenset(name.decode() for name in NAMES)
_ENDS: Final = ". "
"""Some file systems drop these at the end of a name."""
# Default_Ignorable_Code_Point of Unicode, which case-folding file systems leave out.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


class Change(Enum):
    """A change of a path."""

    MAKE_DIRECTORY = auto()
    MAKE_FILE = auto()
    """A regular one, under a name that may be there."""
    WRITE = auto()
    """A change of content or attributes; or one more name for the file, by which it can be written."""
    PLACE = auto()
    """Its removal, or another file under its name: by a rename, a link, a symbolic link."""


class Refusal(Enum):
    CONTROL = auto()
    """womm's own."""
    OUTSIDE = auto()
    """Not below what `share-write` names."""


def folded(name: bytes) -> str:
    """Return a name as file systems that ignore case compare it."""
    text = _INVISIBLE.sub("", name.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def is_control_name(name: bytes) -> bool:
    """Is a name one of womm's own, in any spelling that some file system takes for it?

    This holds on every file system, as git does with `.GIT`: a folder may be moved.
    """
    if name.isascii() and b"womm" not in name.lower():
        return False
    return folded(name).rstrip(_ENDS) in _SPELLED


def is_control(path: bytes) -> bool:
    """Does a path lead to one of womm's own files, or into a folder of such a name?"""
    if path.isascii() and b"womm" not in path.lower():
        return False
    return any(map(is_control_name, path.split(b"/")))


@dataclass(frozen=True, slots=True)
class Writable:
    """`paths`: the files and folders that pods may write, whether they exist or not; b"" is all."""

    paths: tuple[bytes, ...] = (b"",)

    @classmethod
    def only(cls, paths: Iterable[bytes]) -> "Writable":
        """The paths of `share-write`; no path at all means everything, and so does "."."""
        return cls(tuple(b"" if path == b"." else path for path in paths) or (b"",))

    def why_not(self, path: bytes, change: Change) -> Refusal | None:
        """Return why pods may not do this; None: they may.

        Pods own everything below one of `paths`. They may make the path itself and write to it, but not
        remove or replace it. They may make missing directories above it.
        """
        if is_control(path):
            return Refusal.CONTROL
        for top in self.paths:
            if not top or path.startswith(top + b"/"):
                return None
            if path == top and change is not Change.PLACE:
                return None
            if change is Change.MAKE_DIRECTORY and (not path or top.startswith(path + b"/")):
                return None
        return Refusal.OUTSIDE

    def holds(self, path: bytes) -> bool:
        """May a new or changed file come back to this path?"""
        return self.why_not(path, Change.WRITE) is None
