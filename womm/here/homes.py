"""Whose folder a path is: a home is never shown to pods, and what lies in one only by the user's word."""

import os
import pwd
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_TOPS: Final = ("/home", "/Users", "/var/home", "/export/home")
_FIRST_USER: Final = 1000
"""useradd(8): accounts of people. The homes of others are folders of the system."""
_NO_HOMES: Final = frozenset(["", "/", "/nonexistent", "/dev/null", "/var/empty", "/usr", "/bin", "/sbin"])


_NO_TOPS: Final = frozenset(["/", "/opt", "/usr"])
"""A home in one of them has no other homes beside it."""


class Homes:
    """The homes of this machine.

    own: the user's, by HOME; others: as /etc/passwd has them; account: the user's, by the system. Beside the
    user's home are those of colleagues, whom /etc/passwd need not list.
    """

    def __init__(self, own: str, others: tuple[str, ...] = (), account: str = "") -> None:
        self._homes = _all_paths({"/root", own, account, *others})
        beside = {os.path.dirname(home) for home in _all_paths({own, account})}
        self._tops = {*_TOPS, *map(os.path.realpath, _TOPS)} - {"/"}
        self._tops |= {top for top in beside - _NO_TOPS if not _is_temporary(top)}
        self.own = own

    def is_or_holds_one(self, path: str) -> bool:
        """Return whether the folder is a home, or has one in it."""
        below = path.rstrip("/") + "/"
        if path in self._tops or os.path.dirname(path) in self._tops:
            return True
        return any(home == path or home.startswith(below) for home in (*self._homes, *self._tops))

    def hold(self, path: str) -> bool:
        """Return whether a real path lies in a home."""
        return any(path.startswith(f"{home}/") for home in (*self._homes, *self._tops))


def of_machine(env: Mapping[str, str]) -> Homes:
    own = env.get("HOME", "") or os.path.expanduser("~")
    return Homes(own, _of_people(), _of_account())


def _of_account() -> str:
    """Return the user's home as the system knows it: HOME may be another one (CI, sudo -E)."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _all_paths(homes: set[str]) -> set[str]:
    """Return the paths of homes, also those without links."""
    paths = {os.path.normpath(home) for home in homes - _NO_HOMES if os.path.isabs(home)}
    return paths | {os.path.realpath(home) for home in paths}


def _is_temporary(folder: str) -> bool:
    places = {"/tmp", "/var/tmp", tempfile.gettempdir()}
    return any(folder == place or folder.startswith(f"{place}/") for place in places)


def _of_people() -> tuple[str, ...]:
    # Not by pwd: it would ask the network for all of its users.
    try:
        lines = Path("/etc/passwd").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ()
    rows = [line.split(":") for line in lines]
    return tuple(
        row[5] for row in rows if len(row) >= 6 and row[2].isdecimal() and int(row[2]) >= _FIRST_USER
    )


def everybody_reads(folder: str) -> bool:
    """Return whether every user may list a folder and go into it, if they have come as far as that."""
    try:
        return os.stat(folder).st_mode & _FOR_ALL == _FOR_ALL
    except OSError:
        return False


def everybody_gets_to(path: str) -> bool:
    """Return whether every user may go through all folders above a real path."""
    at = os.path.dirname(path)
    while at != "/":
        try:
            if not os.stat(at).st_mode & stat.S_IXOTH:
                return False
        except OSError:
            return False
        at = os.path.dirname(at)
    return True


_FOR_ALL: Final = stat.S_IROTH | stat.S_IXOTH
