"""A task's folder for sockets and the shim: of this user alone, with a short path, removed at the end.

Its path goes into PATH (no colon), into the first line of a script (no blank, not long) and, as --ssh,
into lines for a shell (no quote, no dollar): a folder whose path would need care in one of these is not
taken.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from womm.engine.gnu.shim_folder import UNSAFE
from womm.errors import EngineError
from womm.named import lies_in

SOCKET_PATH_LIMIT = 100
"""sun_path holds 108 bytes on Linux and 104 on macOS, the longest name below the folder is 8."""


@contextmanager
def runtime_folder(task: str, environ: Mapping[str, str], shared: Path | None = None) -> Iterator[Path]:
    """Make `womm-TASK` where a program may be executed and a path does not break. Raises EngineError.

    shared: the folder that pods see. The shim and keys must not be in it.
    """
    tried: list[str] = []
    for base in _bases(environ):
        folder = base / f"womm-{task}"
        if why := _unfit(base, folder) or _seen_by_pods(base, shared):
            tried.append(f"{base} ({why})")
            continue
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise
        except OSError as exc:
            tried.append(f"{base} ({exc.strerror})")
            continue
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise EngineError(
        f"no folder for sockets will do: {', '.join(tried)}",
        "export XDG_RUNTIME_DIR=$(mktemp -d ~/run-XXXX)",
    )


def _bases(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where to look, the best first; a name that is not absolute means another folder to each process."""
    cache = environ.get("XDG_CACHE_HOME") or (f"{environ['HOME']}/.cache" if "HOME" in environ else "")
    names = (environ.get("XDG_RUNTIME_DIR"), environ.get("TMPDIR"), "/tmp", "/var/tmp", cache)
    for name in dict.fromkeys(names):
        if name and os.path.isabs(name):
            yield Path(name)


def _unfit(base: Path, folder: Path) -> str:
    """Say why the folder cannot be made in `base`; empty: it may."""
    if found := UNSAFE.search(str(folder)):
        return f"{found[0]!r} in its path"
    if len(os.fsencode(folder)) > SOCKET_PATH_LIMIT:
        return "its path is too long"
    if not os.path.isdir(base):
        return "no folder"
    if not os.access(base, os.W_OK | os.X_OK):
        return "not writable"
    try:
        return "programs may not run there: noexec" if os.statvfs(base).f_flag & os.ST_NOEXEC else ""
    except OSError as exc:
        return exc.strerror or str(exc)


def _seen_by_pods(base: Path, shared: Path | None) -> str:
    return "shared with pods" if shared is not None and lies_in(base, shared) else ""
