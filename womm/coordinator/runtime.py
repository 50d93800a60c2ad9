"""A task's folder for sockets and the shim: of this user alone, with a short path, removed at the end."""

import os
import platform
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from womm import worker
from womm.engine.gnu_parallel import start_words
from womm.errors import EngineError

SOCKET_PATH_LIMIT = 100
"""sun_path holds 108 bytes on Linux and 104 on macOS, the longest name below the folder is 8."""


@contextmanager
def runtime_folder(task: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Make `womm-TASK` where a program may be executed and a socket's path is not too long."""
    for base in _bases(environ):
        folder = base / f"womm-{task}"
        if len(os.fsencode(folder)) > SOCKET_PATH_LIMIT or os.statvfs(base).f_flag & os.ST_NOEXEC:
            continue
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise
        except OSError:
            continue
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise EngineError(
        "no folder for sockets: tried $XDG_RUNTIME_DIR, $TMPDIR and /tmp",
        "export XDG_RUNTIME_DIR=$(mktemp -d /tmp/run-XXXX)",
    )


def _bases(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in (environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if name and os.path.isdir(name) and os.access(name, os.W_OK | os.X_OK):
            yield Path(name)


def install_shim(folder: Path, socket: Path, perl: str, name: str) -> Path:
    """Put the login shim into `folder` under the name GNU parallel shall call it by."""
    folder.mkdir(exist_ok=True)
    shim = folder / name
    shim.write_bytes(b"#!" + os.fsencode(perl) + b"\n" + worker.SHIM.read_bytes())
    shim.chmod(stat.S_IRWXU)
    socket.with_name(socket.name + ".pl").write_bytes(worker.SHIM_REST.read_bytes())
    return shim


def install_helper(folder: Path, perl: str, parallel: Path, shell: str) -> None:
    """Put a `parallel` beside the shim for GNU parallel's own use: --shard and --bin start another one,
    whose jobs are to run here, where their fifos are."""
    helper = folder / "parallel"
    words = shlex.join(start_words(perl, parallel))
    helper.write_text(
        "#!/bin/sh\n"
        "unset WOMM_SHIM\n"
        f'PATH=${{PATH#*:}} PARALLEL_SHELL={shlex.quote(shell)} exec {words} "$@"\n'
    )
    helper.chmod(stat.S_IRWXU)


def shim_variable(socket: Path, shell: str, *, stdin: bool) -> str:
    """Return $WOMM_SHIM, which tells the shim what it must know. See womm/worker/shim.pl."""
    numbers = _SYSTEM_CALLS.get(platform.machine(), (0, 0)) if sys.platform == "linux" else (0, 0)
    return "\t".join([str(socket), shell, "1" if stdin else "", *map(str, numbers)])


_SYSTEM_CALLS = {"x86_64": (231, 46), "aarch64": (94, 211)}
"""Numbers of exit_group(2) and sendmsg(2), by machine."""
