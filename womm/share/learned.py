"""What the jobs of a project have read in earlier tasks, kept for the next one: `LearnedFile`.

Strategy: a guess that is wrong costs bytes and nothing else, so a file that cannot be read, or is of another
version, is no file. What was not used in the last few tasks is dropped. Of two tasks at a time the last wins.
"""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from womm import places
from womm.wire.ahead import ABSENT, LISTED, Learned
from womm.wire.fields import BadMessage

log = logging.getLogger(__name__)

VERSION: Final = 1
MOST_ITEMS: Final = 50_000
MOST_BLOCKS: Final = 4096
"""1 GiB."""
TASKS: Final = 4
"""An item that so many tasks have not used is dropped."""
_MOST_BYTES: Final = 64 << 20
"""Of the file, unpacked."""
_FILES: Final = 200
"""Of all projects; the oldest are removed."""

Kind = tuple[bytes, int]


class LearnedFile:
    """What a project has learned of one export. It blocks, and raises nothing. path None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._before: dict[Kind, tuple[Learned, int]] = {}
        """With how many tasks have not used it."""

    def __repr__(self) -> str:
        return f"<LearnedFile {self._path} {len(self._before)} items>"

    @classmethod
    def of(cls, project: Path, export: str) -> "LearnedFile":
        """Return the file of a project's folder. export: a word for what is learned of."""
        folder = places.cache_folder()
        if folder is None:
            return cls(None)
        name = hashlib.sha256(b"%b:%b" % (export.encode(), os.fsencode(project))).hexdigest()[:32]
        return cls(folder / "learned" / name)

    def load(self) -> tuple[Learned, ...]:
        """Return what earlier tasks have used, in the order of the first use in the last of them."""
        with suppress(OSError, ValueError, TypeError, zlib.error, BadMessage):
            if self._path is not None:
                self._before = _read(self._path)
        return tuple(item for item, _ in self._before.values())

    def save(self, used: Sequence[Learned]) -> None:
        """Keep what this task has used so far, and what the tasks before it have."""
        if self._path is None or not used:
            return
        now = {_kind(item): (item, 0) for item in used}
        old = {
            kind: (item, tasks + 1)
            for kind, (item, tasks) in self._before.items()
            if kind not in now and tasks + 1 < TASKS
        }
        rows: list[list[object]] = []
        blocks = 0
        for item, tasks in (*now.values(), *old.values()):
            blocks += len(item.blocks)
            if len(rows) >= MOST_ITEMS or blocks > MOST_BLOCKS:
                break
            rows.append([*item.row(), tasks])
        try:
            _write(self._path, rows)
        except OSError as exc:
            log.debug("what was learned is not kept: %s", exc)


def _kind(item: Learned) -> Kind:
    return item.path, item.size if item.size in (LISTED, ABSENT) else 0


def _read(path: Path) -> dict[Kind, tuple[Learned, int]]:
    """Raises OSError, and what zlib, json and the fields raise."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(path.read_bytes(), _MOST_BYTES)
    version, rows = json.loads(text)
    if version != VERSION:
        return {}
    found = {}
    for *row, tasks in rows:
        item = Learned.read(row)
        found[_kind(item)] = item, int(tasks)
    return found


def _write(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Replace the file. Raises OSError."""
    data = zlib.compress(json.dumps([VERSION, list(rows)], separators=(",", ":")).encode(), 6)
    places.keep(path, data)
    _prune(path.parent)


def _prune(folder: Path) -> None:
    """Keep the files that were written last."""
    places.remove_halves(folder)
    with suppress(OSError):
        found = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        for entry in sorted(found, key=lambda entry: entry.stat().st_mtime)[:-_FILES]:
            os.unlink(entry.path)
