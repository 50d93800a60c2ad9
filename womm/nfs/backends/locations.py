"""Where files were seen last: inode number -> directory and name. Hints only: who uses one verifies it.

Strategy: file handles hold inode numbers, since nothing else is stable over renames and restarts, and an
unprivileged server cannot open a file by its number. So it remembers names. The newest are in a dict,
the others in a small database on disk, which outlives the server when it has a path: memory stays small
with any number of files. What is in neither is searched for in the whole tree, once (tree.py).
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

BUFFER_ENTRIES: Final = 8192

Place = tuple[int, bytes]
"""The directory's inode number, and the name."""


class Locations:
    """Hints of one tree; with `path` None they are in a temporary file that goes with the process."""

    def __init__(self, path: Path | None) -> None:
        self._recent: dict[int, Place | None] = {}
        self._since: set[int] | None = None
        """What was noted or forgotten since a walk began."""
        self._path = path
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            # Hints only: a file that cannot be read is made anew.
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path or "", isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA journal_mode = OFF" if self._path is None else "PRAGMA journal_mode = WAL")
            db.execute("PRAGMA cache_size = -2048")
            db.execute(
                "CREATE TABLE IF NOT EXISTS places"
                " (ino INTEGER PRIMARY KEY, directory INTEGER NOT NULL, name BLOB NOT NULL)"
            )
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def note(self, ino: int, directory: int, name: bytes) -> None:
        """Remember where a file is."""
        self._set(ino, (directory, name))
        if len(self._recent) >= BUFFER_ENTRIES:
            self.flush()

    @contextmanager
    def walk(self) -> Iterator[None]:
        """Around a walk through the tree: what is noted meanwhile is newer than what the walk has seen."""
        self.flush()
        self._since = set()
        try:
            yield
        finally:
            self._since = None

    def note_walked(self, found: Iterable[tuple[int, int, bytes]]) -> None:
        """Remember what a walk has seen: inode number, directory's inode number, name."""
        since = self._since or ()
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?)",
            ((_signed(ino), _signed(directory), name) for ino, directory, name in found if ino not in since),
        )
        self._db.execute("COMMIT")

    def forget(self, ino: int) -> None:
        self._set(ino, None)

    def _set(self, ino: int, place: Place | None) -> None:
        self._recent[ino] = place
        if self._since is not None:
            self._since.add(ino)

    def find(self, ino: int) -> Place | None:
        if ino in self._recent:
            return self._recent[ino]
        row = self._db.execute("SELECT directory, name FROM places WHERE ino = ?", (_signed(ino),)).fetchone()
        return None if row is None else (row[0] & 0xFFFFFFFFFFFFFFFF, row[1])

    def flush(self) -> None:
        """Move what is in memory to the database."""
        if not self._recent:
            return
        recent, self._recent = self._recent, {}
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?)",
            (
                (_signed(ino), _signed(place[0]), place[1])
                for ino, place in recent.items()
                if place is not None
            ),
        )
        self._db.executemany(
            "DELETE FROM places WHERE ino = ?",
            ((_signed(ino),) for ino, place in recent.items() if place is None),
        )
        self._db.execute("COMMIT")

    def close(self) -> None:
        self.flush()
        self._db.close()


def _signed(number: int) -> int:
    """SQLite has signed numbers only."""
    return number - (1 << 64) if number >> 63 else number
