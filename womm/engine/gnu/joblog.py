"""GNU parallel's joblog, as far as womm reads it. parallel(1), --joblog: tab-separated, one line a job."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `signal` is 0 for a job that ended by itself; `exit` is -1 after --timeout."""

    seq: int
    host: str
    exit: int
    signal: int
    command: bytes


def read(path: Path) -> Iterator[Entry]:
    """Yield the entries; lines that are none (the header, a torn last one) are passed over.

    A command may hold newlines: such lines continue the entry before them in GNU parallel's file and
    are passed over as well. Raises OSError.
    """
    with path.open("rb") as file:
        for line in file:
            fields = line.rstrip(b"\n").split(b"\t", 8)
            if len(fields) == 9 and fields[0].isdigit():
                try:
                    exit_status, signal = int(fields[6]), int(fields[7])
                except ValueError:
                    continue
                yield Entry(
                    int(fields[0]), fields[1].decode(errors="replace"), exit_status, signal, fields[8]
                )


def mismatch_check(path: Path) -> Callable[[int, str], str | None]:
    """Return a function that tells, for a job to be run with --resume, when the input has moved.

    GNU parallel goes by sequence numbers alone: a line that was put before others makes it skip the
    new one and run an old one twice. Only jobs that run are seen, not those that it skips. So this is a
    warning: a line that is logged once may stand in the input a second time on purpose. One that is
    logged under several numbers does stand there several times, and says nothing.
    """
    logged: dict[str, int] = {}
    try:
        for entry in read(path):
            command = entry.command.replace(b"\0", b"\n").decode(errors="surrogateescape")
            if logged.setdefault(command, entry.seq) != entry.seq:
                logged[command] = _SEVERAL
    except OSError:
        logged = {}

    def check(seq: int, command: str) -> str | None:
        before = logged.get(command, _SEVERAL)
        if before in (_SEVERAL, seq):
            return None
        return (
            f"--resume goes by line numbers: {command!r} is job {seq} now and was job {before} in {path};"
            " if the input has changed, start over with a new --joblog"
        )

    return check


_SEVERAL = 0
"""Instead of a number: the command has several. GNU parallel's begin at 1."""
