"""The project: the folder that holds `.womm`, found by walking up from the current one."""

import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from womm.errors import ProjectError

FILE_NAME: Final = ".womm"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Project:
    """`values`: the keys of `.womm` without `version`, as TOML's types. `content`: its bytes."""

    folder: Path
    values: Mapping[str, object]
    content: bytes

    @property
    def path(self) -> Path:
        return self.folder / FILE_NAME


class OriginalError(ProjectError):
    """A `.womm` of the original womm, which wrote JSON: `womm setup` reads it."""

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(f"{path} is the original womm's, in JSON: womm setup rewrites it", "womm setup")
        self.path = path
        self.content = content


def find(cwd: Path) -> Project | None:
    """Return the project that `cwd`, an absolute path, is in; raises ProjectError for a bad one."""
    for folder in (cwd, *cwd.parents):
        path = folder / FILE_NAME
        if is_file(path):
            _check_owner(path, cwd)
            return parsed(path, _read(path))
    return None


def is_file(path: Path) -> bool:
    """Return whether a file of settings exists. Raises ProjectError for anything else of that name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise ProjectError(f"cannot look for {path}: {exc.strerror}", f"ls -ld {path.parent}") from exc
    try:
        mode = path.stat().st_mode
    except OSError as exc:
        raise ProjectError(f"{path} is a link that leads nowhere: {exc.strerror}", f"ls -l {path}") from exc
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise ProjectError(f"{path} is {kind}, where womm expects a file of settings", f"ls -ld {path}")
    return True


def at(folder: Path) -> Project | None:
    """Return the project of just this folder; raises ProjectError."""
    path = folder / FILE_NAME
    return parsed(path, _read(path)) if is_file(path) else None


def parsed(path: Path, content: bytes) -> Project:
    """Return the project whose `.womm`, at `path`, has this content; raises ProjectError."""
    if _is_originals(content):
        raise OriginalError(path, content)
    values = _toml(path, content)
    version = values.pop("version", None)
    if version is None:
        raise ProjectError(f"{path}: version is missing", f"add the line: version = {VERSION}")
    if type(version) is not int or version != VERSION:
        raise ProjectError(
            f"{path}: version = {version!r}, but this womm knows version {VERSION} only",
            "pip install --upgrade womm",
        )
    return Project(path.parent, values, content)


def _is_originals(content: bytes) -> bool:
    """Whether it is the JSON of the original womm. No TOML begins with a brace."""
    if not content.lstrip().startswith(b"{"):
        return False
    import json  # noqa: PLC0415 hardly ever

    try:
        found = json.loads(content)
    except ValueError:
        return False
    return isinstance(found, dict) and "share_kind" in found


class Sharing(Enum):
    """Whether a folder can be shared with pods."""

    GOOD = "good"
    ASK = "ask"
    """It can, but the user may not have meant it."""
    NEVER = "never"


_SYSTEM: Final = frozenset(
    "/ /bin /boot /dev /etc /lib /lib32 /lib64 /libx32 /proc /run /sbin /sys /usr /usr/bin /usr/lib"
    " /usr/lib64 /usr/libexec /usr/local /usr/local/bin /usr/local/lib /usr/sbin /usr/share"
    " /var /var/lib /var/run /womm".split()
)
"""Mounted over the same folders of an image they would hide its programs, or they hold no real files."""
_NO_FILES: Final = ("/dev", "/proc", "/sys", "/womm")
_BROAD: Final = frozenset("/home /media /mnt /opt /private /root /srv /tmp /Users /var/tmp".split())


def sharing(folder: Path, home: Path, mounts: Iterable[str]) -> tuple[Sharing, str]:
    """Judge a folder that pods will see at the same path; the text says what is wrong with it.

    folder: absolute. mounts: where file systems are mounted on this machine.
    """
    path = os.path.normpath(folder)
    below = path.rstrip("/") + "/"
    inner = sorted(mount for mount in mounts if mount.startswith(below) and mount != below)
    try:
        path.encode()
    except UnicodeEncodeError:
        return Sharing.NEVER, f"{path!a}: Kubernetes takes paths of UTF-8 only"
    if path in _SYSTEM or path.startswith(tuple(f"{top}/" for top in _NO_FILES)):
        return Sharing.NEVER, f"{path} would hide the system of the image that the pods run"
    if ":" in path:
        return Sharing.NEVER, f"{path}: Kubernetes mounts nothing at a path with a colon"
    if not path.isprintable():
        return Sharing.NEVER, f"{path!a}: a path with control characters cannot be mounted"
    if path == os.path.normpath(home):
        return Sharing.ASK, f"{path} is your home folder, with keys and passwords for all pods to see"
    if os.path.normpath(home).startswith(below) or path in _BROAD:
        return Sharing.ASK, f"{path} holds much more than a project"
    if inner:
        return Sharing.ASK, f"{path} holds other file systems ({inner[0]}), whose files pods do not see"
    return Sharing.GOOD, ""


def mounts() -> list[str]:
    """Return where file systems are mounted on this machine; empty where the system does not say (macOS)."""
    try:
        lines = Path("/proc/self/mounts").read_bytes().splitlines()
    except OSError:
        return []
    return [os.fsdecode(_unescaped(line.split(b" ")[1])) for line in lines if line.count(b" ") >= 2]


def _unescaped(path: bytes) -> bytes:
    r"""proc_pid_mounts(5): blank, tab, newline and backslash are octal, as in \040."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), path)


def read_toml(path: Path) -> dict[str, object]:
    """Read a file of settings; raises ProjectError."""
    return _toml(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ProjectError(f"cannot read {path}: {exc.strerror or exc}", f"ls -l {path}") from exc


def _toml(path: Path, content: bytes) -> dict[str, object]:
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as exc:
        raise ProjectError(f"{path} is not UTF-8: {exc.reason} at byte {exc.start}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ProjectError(f"{path} is not TOML: {exc}") from exc


def _check_owner(path: Path, cwd: Path) -> None:
    # A project file may name programs to run: one that another user left in /tmp must not count below it.
    # womm trusts the owner of the current folder as it trusts the files there (root in a user's folder).
    try:
        owner = path.stat().st_uid
        trusted = owner in {0, os.getuid(), cwd.stat().st_uid}
    except OSError as exc:
        raise ProjectError(f"cannot look at {path}: {exc.strerror or exc}") from exc
    if not trusted:
        raise ProjectError(f"{path} belongs to another user (uid {owner})", f"ls -l {path}")
