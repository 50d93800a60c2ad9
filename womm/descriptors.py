"""The descriptors that womm was started with: those of its caller, and closed standard ones.

Strategy: Python opens every file close-on-exec, so programs that it starts do not inherit it. A descriptor
that is open and inheritable at the start is therefore the caller's: `<(...)`, `exec 9>lock`, make's job
server. GNU parallel and the workers of this machine get these, by number, and no others.

womm opens a closed standard descriptor at once, before another file can get its number: otherwise messages
to 2 would go into some file of womm's. It opens stdin for writing and stdout for reading, so that reading
and writing fail as on a closed one (EBADF). stderr leads to /dev/null.
"""

import os
import sys
from contextlib import suppress
from typing import TextIO, cast

_callers: list[int] = []


def take_stock() -> None:
    """Open those of 0, 1 and 2 that are closed, and note the caller's other descriptors. Call this first."""
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):  # no /dev/null: nothing can be done
                _open_null(number, flags)
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")
    _callers[:] = [number for number in _open() if number > 2]


def of_caller() -> tuple[int, ...]:
    """Return the caller's descriptors from 3 on, for children that take the place of its own."""
    return tuple(_callers)


def release() -> None:
    """Close the caller's descriptors here: no child needs them any more, and a reader waits for their end."""
    while _callers:
        with suppress(OSError):
            os.close(_callers.pop())


def refill(path: str, content: bytes) -> bool:
    """Put content back into a descriptor of the caller's, named by `path`, that womm has read to its end.

    False: the path names no such descriptor. A pipe can be read once, and GNU parallel reads it, too.
    """
    folder, _, name = path.rpartition("/")
    if folder not in ("/dev/fd", "/proc/self/fd") or name not in map(str, _callers):
        return False
    fd = os.memfd_create("womm") if sys.platform == "linux" else _unnamed()
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    os.dup2(fd, int(name))
    os.close(fd)
    return True


def _open() -> list[int]:
    try:
        found = [int(name) for name in os.listdir("/dev/fd") if name.isdecimal()]
    except OSError:  # a sandbox without /proc
        found = list(range(256))
    return sorted(number for number in found if _is_inheritable(number))


def _is_inheritable(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:
        return False


def _open_null(number: int, flags: int) -> None:
    fd = os.open(os.devnull, flags)
    if fd != number:
        os.dup2(fd, number)
        os.close(fd)
    os.set_inheritable(number, True)


def _stream(number: int, mode: str) -> TextIO:
    return cast(TextIO, open(number, mode, closefd=False))


def _unnamed() -> int:
    path = f"{os.environ.get('TMPDIR', '/tmp')}/womm-{os.getpid()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return fd
