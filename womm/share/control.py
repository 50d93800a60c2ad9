"""What of a shared folder pods may change, by its path: never womm's own files, and nothing but what
`share-write` names.

Pure: paths are relative to the folder, as `fence.clean` returns them. womm reads its own files as the user's
will, so a job that could write one would run programs on this machine, or see what is hidden.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from womm.project import FILE_NAME

NAMES: Final = (FILE_NAME.encode(), b".wommignore")
"""womm's own, at any depth: files, and what there is below, where such a name is a folder's."""

_SPELLED: Final = frozenset(name.decode() for name in NAMES)
_ENDS: Final = ". "
"""At the end of a name some file systems drop them."""
# Default_Ignorable_Code_Point of Unicode, which case-folding file systems leave out.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


class Change(Enum):
    """What is to be done to a path."""

    MAKE_DIRECTORY = auto()
    MAKE_FILE = auto()
    """A regular one, under a name that may be there."""
    WRITE = auto()
    """To content or attributes, or to give the file one more name, by which it can be written."""
    PLACE = auto()
    """To remove it, or to give its name to something else: by a rename, a link, a symbolic link."""


class Refusal(Enum):
    CONTROL = auto()
    """womm's own."""
    OUTSIDE = auto()
    """Not below what `share-write` names."""


def folded(name: bytes) -> str:
    """A name as the file systems compare it that tell no case apart."""
    text = _INVISIBLE.sub("", name.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def is_control_name(name: bytes) -> bool:
    """Whether a name is one of womm's own, in any spelling that some file system takes for it.

    Everywhere, as git does with `.GIT`: a folder may be moved to such a file system.
    """
    if name.isascii() and b"womm" not in name.lower():
        return False
    return folded(name).rstrip(_ENDS) in _SPELLED


def is_control(path: bytes) -> bool:
    """Whether a path leads to what is womm's own, or to something in it."""
    if path.isascii() and b"womm" not in path.lower():
        return False
    return any(map(is_control_name, path.split(b"/")))


@dataclass(frozen=True, slots=True)
class Writable:
    """`paths`: what pods may write, files or folders, which need not be there; b"" is all of the folder."""

    paths: tuple[bytes, ...] = (b"",)

    @classmethod
    def only(cls, paths: Iterable[bytes]) -> "Writable":
        """What `share-write` says; without any path it is all, and so it is with "."."""
        return cls(tuple(b"" if path == b"." else path for path in paths) or (b"",))

    def why_not(self, path: bytes, change: Change) -> Refusal | None:
        """Return why pods may not do this; None: they may.

        What is below one of `paths` is theirs. The path itself they may make and write to, but not remove or
        replace; of those above it they may make directories that are missing.
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
        """Whether what is new or changed at a path is to be brought back."""
        return self.why_not(path, Change.WRITE) is None
