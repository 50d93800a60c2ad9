"""Folders of shims: programs that ask a version manager which program to run, each time (pyenv, rbenv ...).

A shim needs the manager and all of its files. So pods get the folder of the chosen version in its place.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILES: Final = {
    "pyenv": ".python-version",
    "rbenv": ".ruby-version",
    "nodenv": ".node-version",
    "goenv": ".go-version",
    "plenv": ".perl-version",
    "jenv": ".java-version",
}
"""The managers that keep VERSION in versions/VERSION/bin, and the file in which a project names its own."""
_GLOBAL: Final = "version"
_SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True)
class Shims:
    """folders: of the chosen versions' programs. system: the system's program is chosen as well, or alone."""

    manager: str
    folders: tuple[str, ...]
    system: bool


def resolve(shims: str, folder: Path, env: Mapping[str, str]) -> Shims | None:
    """Return what a folder of shims stands for in `folder`; None: it is no such folder."""
    if os.path.basename(shims) != "shims":
        return None
    # pyenv-virtualenv has shims of its own in a plugin's folder, which do no more than call pyenv's.
    for root in (os.path.dirname(shims), os.path.dirname(os.path.dirname(os.path.dirname(shims)))):
        manager = next((name for name in FILES if _has(root, name)), None)
        if manager is not None:
            chosen = _chosen(manager, root, folder, env)
            found = [place for name in chosen if (place := _installed(root, name)) is not None]
            return Shims(manager, tuple(found), _SYSTEM in chosen or not found)
    return None


def is_manager(folder: str) -> bool:
    """Return whether it is the folder of a manager's own programs: of no use without the shims."""
    root = os.path.dirname(folder)
    return os.path.isdir(f"{root}/shims") and any(_has(root, name) for name in FILES)


def _has(root: str, manager: str) -> bool:
    places = (f"{root}/bin/{manager}", f"{root}/libexec/{manager}")
    return os.path.isdir(f"{root}/versions") and any(map(os.path.lexists, places))


def _chosen(manager: str, root: str, folder: Path, env: Mapping[str, str]) -> list[str]:
    """The versions' names, as the manager finds them: a variable, a file here or above, its own file."""
    if text := env.get(f"{manager.upper()}_VERSION"):
        return text.split(":")
    for place in (folder, *folder.parents):
        if names := list(_names(place / FILES[manager])):
            return names
    return list(_names(Path(root, _GLOBAL)))


def _names(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        yield from line.partition("#")[0].split()


def _installed(root: str, name: str) -> str | None:
    """Return the folder of a version's programs. `3.12` means the newest 3.12.x that is there."""
    if "/" in name and ".." in name.split("/"):
        return None
    versions = f"{root}/versions"
    if os.path.isdir(f"{versions}/{name}/bin"):
        return f"{versions}/{name}/bin"
    try:
        near = [one for one in os.listdir(versions) if one.startswith(f"{name}.")]
    except OSError:
        return None
    newest = max(near, key=_numbers, default=None)
    return f"{versions}/{newest}/bin" if newest and os.path.isdir(f"{versions}/{newest}/bin") else None


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else -1 for part in name.split("."))
