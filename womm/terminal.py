"""This terminal, and the one in the pod that takes its place: keys, size, environment, the shell in it."""

import codecs
import errno
import os
import re
import select
import struct
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fcntl import ioctl
from typing import Final

from womm import words

READ_BYTES: Final = 65536
_PASSED: Final = ("TERM", "COLORTERM")
"""Programs choose how to draw by these. A terminal's other variables are about this machine's programs."""

# $1: the locale that is used here, as glibc calls its folder; empty: none that counts. The others are what is
# run; none: a shell for people. A locale is set only where the image has it, and sets none itself: programs
# complain of others. Where C.UTF-8 is no folder (musl) all text is UTF-8 anyway.
_START: Final = b"""
here=$1; shift
if [ -n "$here" ] && [ -z "$LC_ALL$LC_CTYPE$LANG" ]; then
    for name in "$here" C.utf8 C.UTF-8; do
        if [ -d "/usr/lib/locale/$name" ]; then LANG=$name; export LANG; break; fi
    done
fi
if [ $# -eq 0 ]; then
    if command -v bash >/dev/null 2>&1; then set -- bash; else set -- sh; fi
fi
exec "$@"
"""


def passed(env: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return the variables that a terminal in a pod gets from this one."""
    return {os.fsencode(name): os.fsencode(env[name]) for name in _PASSED if env.get(name)}


def start_words(env: Mapping[str, str], run: Sequence[bytes]) -> list[bytes]:
    """Return what starts `run` in a pod's terminal, with the locale of here; without: bash, else sh."""
    return [b"sh", b"-c", _START, b"sh", os.fsencode(locale_folder(env)), *run]


def locale_folder(env: Mapping[str, str]) -> str:
    """Return how glibc calls the folder of the locale that characters are read by: `de_DE.utf8`.

    Empty where it is not UTF-8: the agent's link carries bytes, and no terminal of a pod needs another one.
    """
    name = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    match = re.fullmatch(r"([A-Za-z_]+)\.([A-Za-z0-9-]+)(@[a-z]+)?", name, re.ASCII)
    if match is None:
        return ""
    try:
        charset = codecs.lookup(match[2]).name
    except LookupError:
        return ""
    return f"{match[1]}.utf8{match[3] or ''}" if charset == "utf-8" else ""


@contextmanager
def raw() -> Iterator[None]:
    """Pass every key on unchanged. Keys that are typed before, or afterwards, are kept for their reader."""
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)  # the default throws away what was typed while the pod started
    try:
        yield
    finally:
        with suppress(termios.error):  # it has been hung up
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def size() -> tuple[int, int]:
    """Rows and columns of this terminal."""
    rows, columns, _, _ = struct.unpack("HHHH", ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    return rows or 24, columns or 80


def ask_terminal() -> Callable[[str], bool] | None:
    """Return a function that asks a question at the terminal; None: there is none. stdin may be the jobs'."""
    try:
        with open("/dev/tty", "rb"):
            pass
    except OSError:
        return None

    def ask(question: str) -> bool:
        with open("/dev/tty", "r+b", buffering=0) as terminal:
            lines = "\n".join(map(words.line, question.split("\n")))
            terminal.write(f"womm: {lines} [y/N] ".encode())
            return terminal.readline().strip().lower() in {b"y", b"yes"}

    return ask


class Input(threading.Thread):
    """Reads this process's stdin, when there is room, until it ends or is stopped.

    A thread: a file cannot be waited for otherwise. feed: gets the data, empty at its end. refused: gets the
    error when stdin cannot be read. Both are called in this thread. After `stop` it reads nothing more: keys
    that are typed then are for the shell that started womm.
    """

    def __init__(
        self, feed: Callable[[bytes], None], refused: Callable[[OSError], None], room: threading.Event
    ) -> None:
        super().__init__(name="womm-shell-input", daemon=True)
        self._feed = feed
        self._refused = refused
        self._room = room
        self._stopped = False
        self._wake, self._waker = os.pipe()

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            with suppress(BrokenPipeError):  # its end was reached
                os.write(self._waker, b"x")
            os.close(self._waker)
            self._room.set()

    def run(self) -> None:
        data = b"x"
        while data:
            self._room.wait()
            try:
                select.select([0, self._wake], [], [])
                if self._stopped:
                    break
                data = os.read(0, READ_BYTES)
            except BlockingIOError:  # another program has made the terminal or pipe non-blocking
                continue
            except OSError as exc:
                if exc.errno != errno.EIO:  # a terminal that is gone
                    self._refused(exc)
                data = b""
            self._room.clear()
            try:
                self._feed(data)
            except RuntimeError:  # the loop has been closed: the shell has ended
                break
        os.close(self._wake)
