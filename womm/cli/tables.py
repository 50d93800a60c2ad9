"""Printing, for all commands: tables, ages, sizes, quoted words."""

import json
import logging
import os
import select
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TextIO

import click

from womm import words
from womm.errors import WommError

_LOGGER: Final = logging.getLogger("womm")


@dataclass(frozen=True, slots=True)
class Column:
    """`width`: the least; a cell that is wider widens the column."""

    title: str
    width: int = 0
    right: bool = False


def render(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table as `womm status` shows it: titles, dashes, rows; no blanks at line ends."""
    widths = [
        max([column.width, len(column.title), *(len(row[index]) for row in rows)])
        for index, column in enumerate(columns)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, cell, width in zip(columns, cells, widths, strict=True)
        ]
        return "  ".join(padded).rstrip()

    titles = [column.title for column in columns]
    return "\n".join(map(line, [titles, ["-" * width for width in widths], *rows])) + "\n"


def quoted(given: Sequence[str]) -> str:
    """Return the words as a shell takes them, all in single quotes, on one line."""
    return " ".join("'" + words.printable(word).replace("'", "'\\''") + "'" for word in given)


def age(seconds: float) -> str:
    """Return a duration as kubectl does, in one unit: `50m`. A clock that leapt back gives 0s."""
    whole = max(0, int(seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        # At least two of a unit, so that no figure is off by half.
        if whole >= 2 * length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def rfc3339(time_s: float) -> str:
    try:
        time = datetime.fromtimestamp(time_s, UTC)
    except (ValueError, OverflowError, OSError):  # a damaged journal
        time = datetime.fromtimestamp(0, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size(size_bytes: int) -> str:
    """Return a size for people: `3.4 MiB`."""
    value = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return words.counted(size_bytes, "byte") if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def write(data: str | bytes) -> None:
    """Write to stdout; raises WommError when that fails, BrokenPipeError unchanged."""
    _write(sys.stdout, "stdout", data.encode(*_encoding()) if isinstance(data, str) else data)


def write_stderr(data: bytes) -> None:
    """Write a job's bytes to stderr, as `write`."""
    _write(sys.stderr, "stderr", data)


def _write(stream: TextIO, name: str, data: bytes) -> None:
    # Not through `stream.buffer`: with PYTHONUNBUFFERED it writes a part and says nothing.
    view = memoryview(data)
    try:
        stream.flush()
        while view:
            try:
                view = view[os.write(stream.fileno(), view) :]
            except BlockingIOError:  # another program has made the terminal or pipe non-blocking
                select.select([], [stream], [])
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise WommError(f"cannot write to {name}: {exc.strerror or exc}") from exc


def _encoding() -> tuple[str, str]:
    return sys.stdout.encoding or "utf-8", "backslashreplace"


def write_json(value: object, *, indent: int | None = 2) -> None:
    write(json.dumps(value, indent=indent) + "\n")


def say(text: str) -> None:
    """Tell the user something on stderr, in one line, unless --quiet."""
    if _LOGGER.isEnabledFor(logging.WARNING):
        click.echo(words.line(text), err=True)
