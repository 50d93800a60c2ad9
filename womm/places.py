"""The user's own folders, also where there is no home or it cannot be used: `su`, cron, containers.

Strategy: without a home folder womm goes on without its settings, as git and ssh do. But journals need a
folder that every command finds again: where the home folder cannot be written they go to /var/tmp/womm-UID,
else /tmp/womm-UID, which must be the user's own. A folder that the user names in XDG_STATE_HOME is never
replaced by another one.
"""

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import platformdirs

from womm.errors import JournalError

_SPARE: Final = ("/var/tmp", "/tmp")
_STATE_VARIABLE: Final = "XDG_STATE_HOME"
_HALF: Final = ".womm-"
"""Begins the name of a file that is being written."""
_HALF_S: Final = 86400.0


def home() -> Path | None:
    """Return the home folder; None where neither $HOME nor the user's entry names one."""
    return _absolute(Path.home)


def config_folder() -> Path | None:
    """Return the folder of the user's settings, whether it exists or not; None without a home."""
    return _absolute(lambda: platformdirs.user_config_path("womm"))


def cache_folder() -> Path | None:
    """Return the folder of what can be made again, whether it exists or not; None without a home."""
    return _absolute(lambda: platformdirs.user_cache_path("womm"))


def state_folder() -> Path:
    """Return the folder of the journals, whether it exists or not. Raises JournalError."""
    usual = _absolute(lambda: platformdirs.user_state_path("womm"))
    if usual is not None and (os.environ.get(_STATE_VARIABLE) or _can_be_written(usual)):
        return usual
    for base in map(Path, _SPARE):
        spare = base / f"womm-{os.getuid()}"
        if spare.is_symlink() or spare.exists() or _can_be_written(base):
            return _own(spare)
    named = usual or "a home folder"
    raise JournalError(
        f"no folder for journals: {named}, /var/tmp or /tmp", f"export {_STATE_VARIABLE}=FOLDER"
    )


def is_spare(folder: Path) -> bool:
    """Return whether a state folder stands in for one in the home folder."""
    return str(folder.parent) in _SPARE and folder.name == f"womm-{os.getuid()}"


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Add the file's name to an OSError that is raised here: write(2) and bind(2) know no names."""
    try:
        yield
    except OSError as exc:
        if exc.filename is None:
            exc.filename = str(path)
        raise


def keep(path: Path, data: bytes) -> None:
    """Write a file of the cache folder beside, then rename: nobody ever sees half of it. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{_HALF}{os.getpid()}-{threading.get_ident()}")
    try:
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def remove_halves(folder: Path) -> None:
    """Remove what processes that were killed have left of `keep`, a day later."""
    with suppress(OSError):
        for path in folder.glob(f"{_HALF}*"):
            if time.time() - path.stat().st_mtime > _HALF_S:
                path.unlink(missing_ok=True)


def _absolute(find: Callable[[], Path]) -> Path | None:
    try:
        folder = find()
    except RuntimeError:  # no home: HOME is not set, and the uid has no entry
        return None
    return folder if folder.is_absolute() else None


def _can_be_written(folder: Path) -> bool:
    """Return whether the folder exists, or could be made, and files could be made in it."""
    for path in (folder, *folder.parents):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError:
            return False
        return stat.S_ISDIR(mode) and os.access(path, os.W_OK | os.X_OK)
    return False


def _own(folder: Path) -> Path:
    """Make a folder in a place where everybody may write; it must be this user's. Raises JournalError."""
    try:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        found = folder.lstat()
    except OSError as exc:
        raise JournalError(
            f"cannot make {folder}: {exc.strerror}", f"export {_STATE_VARIABLE}=FOLDER"
        ) from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise JournalError(
            f"{folder} is not a folder that only you can write: no journal goes there",
            f"export {_STATE_VARIABLE}=FOLDER",
        )
    return folder
