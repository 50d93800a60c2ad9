"""A task's folder for sockets and the shim: of this user alone, with a short path, removed at the end.

Its path goes into PATH (no colon), into the first line of a script (no blank, not long) and, as --ssh,
into lines for a shell (no quote, no dollar): a folder whose path would need care in one of these is not
taken.
"""

import os
import platform
import re
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from womm import worker
from womm.engine.gnu.options import start_words
from womm.errors import EngineError
from womm.named import lies_in

SOCKET_PATH_LIMIT = 100
"""sun_path holds 108 bytes on Linux and 104 on macOS, the longest name below the folder is 8."""


FIRST_LINE_LIMIT = 120
"""The kernel reads 127 bytes of a script's first line (execve(2), before Linux 5.1), `#!` and all."""
_UNSAFE = re.compile(r"[^A-Za-z0-9/._+@-]")


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
    if found := _UNSAFE.search(str(folder)):
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


def install_shim(folder: Path, socket: Path, perl: str, name: str) -> Path:
    """Put the login shim into `folder` under the name GNU parallel shall call it by."""
    folder.mkdir(exist_ok=True)
    shim = folder / name
    interpreter = _interpreter(socket.with_name("perl"), perl)
    shim.write_bytes(b"#!" + os.fsencode(interpreter) + b"\n" + worker.SHIM.read_bytes())
    shim.chmod(stat.S_IRWXU)
    socket.with_name(socket.name + ".pl").write_bytes(worker.SHIM_REST.read_bytes())
    return shim


def _interpreter(link: Path, perl: str) -> str:
    """Return a name of perl that may stand after `#!`: its own, or else a link's."""
    if len(os.fsencode(perl)) <= FIRST_LINE_LIMIT and not re.search(r"\s", perl):
        return perl
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.abspath(perl))
    return str(link)


def plain_name(link: Path, path: Path) -> Path:
    """Return `path`, or a link to it: GNU parallel calls itself by that name in lines for a shell."""
    if not _UNSAFE.search(str(path)):
        return path
    link.symlink_to(path.absolute())
    return link


def install_helper(folder: Path, perl: str, parallel: Path, shell: str) -> None:
    """Put a `parallel` beside the shim for GNU parallel's own use: --shard and --bin start another one,
    whose jobs are to run here, where their fifos are."""
    helper = folder / "parallel"
    words = shlex.join(start_words(perl, parallel))
    names = [name for name in worker.PERL_VARIABLES if name in os.environ]
    text = (
        "#!/bin/sh\n"
        "unset WOMM_SHIM\n"
        + "".join(f"export {name}={shlex.quote(os.environ[name])}\n" for name in names)
        + f'PATH=${{PATH#*:}} PARALLEL_SHELL={shlex.quote(shell)} exec {words} "$@"\n'
    )
    helper.write_bytes(os.fsencode(text))
    helper.chmod(stat.S_IRWXU)


def shim_variable(socket: Path, shell: str, *, stdin: bool) -> str:
    """Return $WOMM_SHIM, which tells the shim what it must know. See womm/worker/shim.pl."""
    numbers = _SYSTEM_CALLS.get(platform.machine(), (0, 0)) if sys.platform == "linux" else (0, 0)
    return "\t".join([str(socket), shell, "1" if stdin else "", *map(str, numbers)])


_SYSTEM_CALLS = {"x86_64": (231, 46), "aarch64": (94, 211)}
"""Numbers of exit_group(2) and sendmsg(2), by machine."""
