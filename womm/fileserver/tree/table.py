"""The facts that outlive the container: which file handle is which file, and how far `change` has counted.

Strategy: one row per name. It is written before anyone hears of the file, in a database without syncs: it
survives the end of the process, as an emptyDir does. The user's side has a copy for the server that takes
this one's place when the pod's disk is lost, too (NamesTeller). While that disk is full, clients get DELAY
and ask again: the flushes make room.
"""

import errno
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from womm.nfs.status import NFSError, Status

log = logging.getLogger(__name__)

STEP: Final = 1 << 32
"""How far the floor of `change` is set ahead: about as many changes as there are between two writes of it."""


class Row(NamedTuple):
    """A name: where it is, and which file it is there."""

    directory: int
    name: bytes
    fileid: int
    kind: int
    dev: int
    ino: int


class Table:
    """The table of names in `folder`; numbers of files are 2**32 to 2**63 - 1. 1 is the top directory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(folder / "names.db", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA cache_size = -8192")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS names (directory INTEGER NOT NULL, name BLOB NOT NULL,"
            " fileid INTEGER NOT NULL, kind INTEGER NOT NULL, dev INTEGER NOT NULL, ino INTEGER NOT NULL,"
            " PRIMARY KEY (directory, name)) WITHOUT ROWID"
        )
        self._db.execute("CREATE INDEX IF NOT EXISTS files ON names (fileid)")
        self._db.execute("CREATE TABLE IF NOT EXISTS doubts (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        self._db.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value)")
        self._pending: list[Row | tuple[int, bytes]] = []
        self.told: Callable[[Sequence[Row | tuple[int, bytes]]], None] = lambda changes: None
        """Hears of what was written."""
        self.empty = self._db.execute("SELECT 1 FROM names LIMIT 1").fetchone() is None
        """It was, at the start: there is nothing to ask it for."""
        self.database_id = str(self._fact("epoch", secrets.token_hex(16)))
        dev = self._db.execute("SELECT value FROM facts WHERE key = 'dev'").fetchone()
        self.dev: int | None = None if dev is None else int(dev[0])
        """The user's device that the top directory is on; None: not `whole` yet."""
        # One after the other, so that rows are added at the end; no two processes have the same upper half.
        self.generation = int(self._fact("generation", 0))
        self._begin_generation(self.generation + 1)
        self.whole = bool(self._fact("whole", 0))
        """It has all names that were given out: a new one may have to take over an earlier server's."""
        self._change = max(time.time_ns(), int(self._fact("change", 0)))
        self._floor = self._change
        self.change()

    def _fact(self, key: str, default: str | int) -> str | int:
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        if row is not None:
            found: str | int = row[0]
            return found
        self._db.execute("INSERT INTO facts VALUES (?, ?)", (key, default))
        return default

    def _begin_generation(self, generation: int) -> None:
        self.generation = generation
        self._db.execute("UPDATE facts SET value = ? WHERE key = 'generation'", (generation,))
        self._number = generation << 32

    def take(self, changes: Sequence[Row | tuple[int, bytes]]) -> None:
        """Take over what an earlier server has told of its table."""
        self._write(changes)

    def complete(self, generation: int, change: int) -> None:
        """Note that all is taken over: what the server before counted ended below these."""
        self._begin_generation(max(self.generation, generation + 1))
        self._change = max(self._change, change)
        self.change()
        self.empty = self._db.execute("SELECT 1 FROM names LIMIT 1").fetchone() is None
        self._db.execute("UPDATE facts SET value = 1 WHERE key = 'whole'")
        self.whole = True

    def rows(self, count: int) -> Iterator[list[Row]]:
        """Yield all names, so many at a time."""
        self.sync()
        found = self._db.execute("SELECT * FROM names")
        while rows := found.fetchmany(count):
            yield [_row(row) for row in rows]

    @property
    def changed(self) -> int:
        """The last `change` that was given out."""
        return self._change

    def change(self) -> int:
        """Return the next `change`: greater than all before, over restarts too."""
        self._change += 1
        if self._change > self._floor:
            self._floor = self._change + STEP
            self._db.execute("UPDATE facts SET value = ? WHERE key = 'change'", (self._floor,))
        return self._change

    def know_dev(self, dev: int) -> None:
        if self.dev is None:
            self.dev = int(self._fact("dev", str(dev)))  # as text: SQLite's numbers are signed

    def number(self) -> int:
        """Return a number for a new file, which no file had before."""
        self._number += 1
        return self._number

    def doubt(self, key: str, value: str) -> None:
        """Write down what is about to be done. Raises as `sync`."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO doubts VALUES (?, ?)", (key, value))

    def settle(self, key: str) -> None:
        """Cross it out. Raises as `sync`."""
        with self._writing():
            self._db.execute("DELETE FROM doubts WHERE key = ?", (key,))

    def doubts(self) -> list[tuple[str, str]]:
        return list(self._db.execute("SELECT key, value FROM doubts"))

    def put(self, row: Row) -> None:
        self._pending.append(row)

    def drop(self, directory: int, name: bytes) -> None:
        self._pending.append((directory, name))

    def sync(self) -> None:
        """Write what was put and dropped, in its order.

        Raises NFSError(DELAY) when the disk is full, OSError: then nothing is written, and the next call
        writes it.
        """
        if not self._pending:
            return
        self._write(self._pending)
        pending, self._pending = self._pending, []
        self.told(pending)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._db:  # a transaction that has failed is undone
                yield
        except sqlite3.OperationalError as exc:
            log.warning("the table of names cannot be written: %s", exc)
            if exc.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise NFSError(Status.DELAY) from exc
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from exc

    def _write(self, pending: Sequence[Row | tuple[int, bytes]]) -> None:
        db = self._db
        with self._writing():
            if len(pending) > 1:
                db.execute("BEGIN")
            for is_row, group in groupby(pending, lambda item: isinstance(item, Row)):
                if is_row:
                    rows = (
                        (*item[:4], _signed(item[4]), _signed(item[5])) for item in group if len(item) == 6
                    )
                    db.executemany("INSERT OR REPLACE INTO names VALUES (?, ?, ?, ?, ?, ?)", rows)
                else:
                    db.executemany("DELETE FROM names WHERE directory = ? AND name = ?", group)

    def of_directory(self, directory: int) -> list[Row]:
        self.sync()
        rows = self._db.execute("SELECT * FROM names WHERE directory = ?", (directory,))
        return [_row(row) for row in rows]

    def of_file(self, fileid: int) -> list[Row]:
        self.sync()
        return [_row(row) for row in self._db.execute("SELECT * FROM names WHERE fileid = ?", (fileid,))]

    def close(self) -> None:
        try:
            self.sync()
        finally:
            self._db.close()


def _row(row: tuple[int, bytes, int, int, int, int]) -> Row:
    return Row(*row[:4], row[4] & 0xFFFFFFFFFFFFFFFF, row[5] & 0xFFFFFFFFFFFFFFFF)


def _signed(number: int) -> int:
    """SQLite has signed numbers only."""
    return number - (1 << 64) if number >> 63 else number
