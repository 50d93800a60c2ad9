"""`womm clean`: delete the journals, and the kept output, of old tasks."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from womm import words
from womm.cli import tables
from womm.errors import JournalError
from womm.journal.store import TaskRecord, TaskStore
from womm.values import parse_duration

DEFAULT_AGE_S = 30 * 86400.0
# Making a task takes some milliseconds; a half-made one of this age comes from a crash.
_UNFINISHED_AGE_S = 3600.0


class Duration(click.ParamType[float]):
    """A duration as womm.settings reads it, in seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_duration(value)
        except ValueError as exc:
            self.fail(f"{value!r} must be {exc}", param, ctx)


@click.command("clean")
@click.option(
    "--older-than",
    "older_than_s",
    metavar="TIME",
    type=Duration(),
    help="Only tasks whose journal did not change for so long, such as 7d (without --keep: 30d).",
)
@click.option("--keep", metavar="N", type=click.IntRange(min=0), help="Spare the N newest of all tasks.")
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
def command(older_than_s: float | None, keep: int | None, dry_run: bool) -> int:
    """Delete the journals of old tasks.

    Tasks that `womm status` shows are spared: they may have left something behind.

    \b
    Examples:
      womm clean --older-than 7d
      womm clean --keep 20 --dry-run
    """
    store = TaskStore.default()
    if older_than_s is None:
        older_than_s = DEFAULT_AGE_S if keep is None else 0.0
    candidates = [_look(record) for record in store.tasks()]
    doomed = choose(candidates, now_s=time.time(), older_than_s=older_than_s, keep=keep or 0)
    freed = 0
    for candidate in doomed:
        freed += candidate.record.size_bytes()
        if dry_run:
            tables.write(candidate.record.task + "\n")
        else:
            store.remove(candidate.record.task)
    if not dry_run:
        _remove_unfinished(store)
    would = "would be deleted" if dry_run else "deleted"
    tables.say(
        f"womm: {words.counted(len(doomed), 'journal')} {would}, {tables.size(freed)}; "
        f"{len(candidates) - len(doomed)} kept"
    )
    return 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task. `cleaned`: nothing of it is left and nobody writes; `changed_s`: of its journal."""

    record: TaskRecord
    cleaned: bool
    changed_s: float


def _look(record: TaskRecord) -> Candidate:
    return Candidate(record, record.cleaned() and not record.locked(), record.changed_s())


def choose(
    candidates: Sequence[Candidate], *, now_s: float, older_than_s: float, keep: int
) -> list[Candidate]:
    """Return what to delete of the candidates, which are sorted, the newest last."""
    old = candidates[: max(0, len(candidates) - keep)]
    return [task for task in old if task.cleaned and now_s - task.changed_s >= older_than_s]


def _remove_unfinished(store: TaskStore) -> None:
    for path in store.unfinished():
        try:
            if time.time() - path.stat().st_mtime >= _UNFINISHED_AGE_S:
                shutil.rmtree(path)
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise JournalError(f"cannot remove {path}: {exc.strerror or exc}") from exc
