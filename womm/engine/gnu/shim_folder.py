"""The folder of programs that GNU parallel finds first: the login shim, and a `parallel` for its own use."""

import os
import platform
import re
import shlex
import stat
import sys
from pathlib import Path

from womm import worker
from womm.engine.gnu.start import start_words

FIRST_LINE_LIMIT = 120
"""The kernel reads 127 bytes of a script's first line (execve(2), before Linux 5.1), `#!` and all."""
UNSAFE = re.compile(r"[^A-Za-z0-9/._+@-]")
"""A character that a path in PATH, in a script's first line or in a line for a shell cannot hold."""


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
    if not UNSAFE.search(str(path)):
        return path
    link.symlink_to(path.absolute())
    return link


def install_helper(folder: Path, perl: str, parallel: Path, shell: str) -> None:
    """Put a `parallel` beside the shim for GNU parallel's own use: --shard and --bin start another one,
    whose jobs are to run here, where their fifos are."""
    folder.mkdir(exist_ok=True)
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
