"""Errors of the system in words: which file, and what to type next. Imported only when one happens."""

import errno
import os
import shlex
from typing import Final

from womm.words import printable

# Errors that a user, or an admin, can mend. Any other error without a file is a bug of womm's.
_WITHOUT_FILE: Final = {
    errno.EMFILE: ("too many files are open in this process", "ulimit -n $(ulimit -Hn)"),
    errno.ENFILE: ("too many files are open on this machine", "cat /proc/sys/fs/file-nr"),
    errno.EAGAIN: ("no process or thread can be started", "ulimit -u"),
    errno.ENOMEM: ("there is no memory left", "free -h"),
    errno.ENOSPC: ("a disk is full", "df -h"),
    errno.EDQUOT: ("a quota is used up", "quota -s"),
    errno.EROFS: ("a file system is read-only", "womm doctor"),
    errno.EACCES: ("permission denied", "womm doctor"),
    errno.EPERM: ("operation not permitted", "womm doctor"),
    errno.ENOENT: ("a file or folder is gone", "womm doctor"),
    errno.EIO: ("a device fails", "dmesg | tail"),
}


def explain(exc: OSError) -> tuple[str, str]:
    """Return a message and a hint. Raises the error again when it is a bug of womm's."""
    why = exc.strerror or str(exc)
    known = _WITHOUT_FILE.get(exc.errno or 0)
    if exc.filename is None:
        if known is None:
            raise exc
        return f"{known[0]}: {why}", known[1]
    path = os.fsdecode(exc.filename) if isinstance(exc.filename, str | bytes) else str(exc.filename)
    name = printable(path)
    hints = {
        errno.EMFILE: "ulimit -n $(ulimit -Hn)",
        errno.ENFILE: "cat /proc/sys/fs/file-nr",
        errno.ENOSPC: f"df -h {_folder(path)}",
        errno.EDQUOT: "quota -s",
        errno.EROFS: f"findmnt -T {_folder(path)}",
    }
    return f"{name}: {why}", hints.get(exc.errno or 0, f"ls -ld {shlex.quote(name)}")


def _folder(path: str) -> str:
    """Return the nearest folder that is there."""
    folder = os.path.dirname(os.path.abspath(path)) if os.path.isabs(path) else "."
    while folder != "/" and not os.path.isdir(folder):
        folder = os.path.dirname(folder) or "/"
    return shlex.quote(printable(folder))
