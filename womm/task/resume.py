"""Results of earlier runs that GNU parallel's joblog lacks, because their coordinator was killed.

A job that ended is journalled before GNU parallel hears of it. When the coordinator dies in between,
`--resume` would run it again; instead its journalled result is given again, if it is whole and the
job's own. A job that a signal ended, or that failed while the run was being ended, runs again.
"""

from collections.abc import Iterator
from pathlib import Path

from womm.journal.events import JobEnded, OutputRef
from womm.journal.fold import TaskState, fold, results_for_resume
from womm.journal.store import TaskRecord, TaskStore

INTERRUPTED = (130, 143, 254)
"""Exit statuses of a task that did not come to its regular end."""


class Earlier:
    """Results by (seq, command) of the interrupted runs with one joblog. See EarlierResults."""

    def __init__(self, runs: list[tuple[TaskRecord, TaskState]], *, failed_again: bool) -> None:
        self.tasks = tuple(record.task for record, _ in runs)
        self._kept: dict[tuple[int, str], tuple[JobEnded, TaskRecord]] = {}
        for record, state in runs:
            for key, ended in results_for_resume(state).items():
                failed = ended.exit != 0 or ended.signal != 0
                if ended.reason or ended.signal or (failed and (failed_again or _interrupted(state, ended))):
                    continue
                if ended.replayed and key in self._kept:
                    continue
                if not ended.replayed:
                    self._kept[key] = (ended, record)

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, seq: int, command: str) -> tuple[JobEnded, bytes, bytes] | None:
        # Once: a job that --retries tries again must run.
        found = self._kept.pop((seq, command), None)
        if found is None:
            return None
        ended, record = found
        with record.output() as reader:

            def read(ref: OutputRef | None) -> bytes:
                return reader.get(ref) if ref is not None else b""

            return ended, read(ended.out), read(ended.err)


def _interrupted(state: TaskState, ended: JobEnded) -> bool:
    """True when the job may have failed because the run was being ended (Ctrl-C reaches GNU parallel,
    which ends the jobs, a little before it reaches the coordinator, which journals it)."""
    return state.ending is not None and ended.time > state.ending.time - 1.0


def interrupted_runs(store: TaskStore, joblog: str) -> list[tuple[TaskRecord, TaskState]]:
    """The runs with this joblog since the last one that ended regularly, oldest first.

    There are none when the joblog is not there: then the user has started over.
    """
    path = Path(joblog)
    if not path.is_file() or path.stat().st_size == 0:
        return []
    runs = list(_newest_first(store, str(path.resolve())))
    return runs[::-1]


def _newest_first(store: TaskStore, joblog: str) -> Iterator[tuple[TaskRecord, TaskState]]:
    for record in reversed(store.tasks()):
        if record.started is None or record.started.joblog != joblog or record.locked():
            continue
        state = fold(record.events())
        if state.ended is not None and state.ended.status not in INTERRUPTED:
            return
        yield record, state
