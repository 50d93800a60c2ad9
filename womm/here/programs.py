"""What pods see of this machine when its programs are theirs: `Programs`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Root:
    """A folder of this machine that pods see, read-only, at its own path.

    path: absolute, without a symbolic link on the way. kind: a word for the table (`system`, `opt`, `python`,
    `conda`, ...). why: what it is for, in words. private: only the user's own word lets it leave this
    machine, since it lies in a home or behind a closed folder, or the project alone led to it.
    """

    path: str
    kind: str
    why: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class Programs:
    """All that pods see of this machine but the project.

    roots: none lies in another. links: a path that is a symbolic link to a folder in a root, and that folder
    (`/bin`, `/usr/bin`). etc: the paths below /etc that are shown, relative to it: files, or folders with all
    that is in them. env: variables. perl: the absolute path of the perl that agents run. notes: lines for the
    user, on what pods do not see and why.
    """

    roots: tuple[Root, ...]
    links: tuple[tuple[str, str], ...] = ()
    etc: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    perl: str = "/usr/bin/perl"
    notes: tuple[str, ...] = ()
