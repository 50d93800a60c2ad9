"""The tasks of the state folder: one folder each, with the journal and the kept output.

Strategy: the writer of a journal holds an exclusive flock on it for as long as it lives, and the
kernel releases it at any death. So `locked` means "the coordinator is alive", with no process id that
could be another's by now. A task's folder is made under another name and renamed when the lock is
held: nobody sees a task without its owner. A line is written by one write(2) at the end of the
file; a reader skips what is not a whole line, and a writer that left a part of a line behind begins
the next with a newline. After kill -9 nothing written is lost; after a power cut, at most the last
SYNC_INTERVAL_S.
"""

import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from womm import places
from womm.errors import JournalError
from womm.journal.codec import JOB_PREFIX, decode, encode
from womm.journal.events import Event, TaskCleaned, TaskStarted
from womm.journal.output import DEFAULT_TASK_BYTES, OutputReader, OutputWriter

logger = logging.getLogger(__name__)

# An fsync takes 1-10 ms, on a slow disk 50: one per event would be what the task waits for.
SYNC_INTERVAL_S: Final = 0.1
# More than the last events of a task, from TaskEnding to TaskCleaned, and a torn line or two.
_TAIL_BYTES: Final = 4096
# TaskRecord.locked has the lock for some microseconds at a time.
_LOCK_TRIES: Final = 10
_LOCK_RETRY_S: Final = 0.01
_JOURNAL: Final = "journal.jsonl"
_OUTPUT: Final = "output.zst"
# Not a task's name: left by a process that died while it made one.
_UNFINISHED: Final = ".new-"
LAST: Final = "last"


class Journal:
    """A task's journal, open for writing, and its output. Thread-safe; made by TaskStore.

    A disk that fails does not stop a task: `on_failure` is called once with a sentence, from the
    thread that met it; later outputs are not kept, later events are tried all the same.
    """

    def __init__(
        self, folder: Path, on_failure: Callable[[str], None], task_bytes: int, *, becomes: Path | None = None
    ) -> None:
        """Open and lock the files in `folder`; raises OSError, BlockingIOError if it is locked.

        becomes: make the files; the caller then gives the folder this name.
        """
        self.path = (becomes or folder) / _JOURNAL
        self._on_failure = on_failure
        self._failed = threading.Event()
        self._failure: OSError | None = None
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []  # lines that the next write takes along
        self._dirty = threading.Event()
        self._closing = threading.Event()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | (os.O_EXCL if becomes else 0)
        with ExitStack() as undo:
            fd = os.open(folder / _JOURNAL, flags, 0o600)
            undo.callback(os.close, fd)
            _lock(fd)
            size = os.fstat(fd).st_size
            self._torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            self.output = OutputWriter(folder / _OUTPUT, task_bytes, self._fail)
            undo.pop_all()
        self._fd: int | None = fd
        self._thread = threading.Thread(target=self._sync_loop, name="womm-journal", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = "closed" if self._fd is None else "failed" if self._failed.is_set() else "open"
        return f"<Journal {self.path} {state}>"

    def begin(self, event: Event) -> None:
        """Write the first event and see it on the disk. Raises JournalError and removes the task's
        folder when that fails: `status` and `finish` could not know of such a task.
        """
        tell, self._on_failure = self._on_failure, lambda text: None
        self.append(event)
        self.sync()
        self._on_failure = tell
        if self._failed.is_set():
            shutil.rmtree(self.path.parent, ignore_errors=True)
            why = self._failure.strerror if self._failure is not None else "unknown"
            raise JournalError(
                f"cannot write the journal {self.path.parent}: {why}", f"df -h {self.path.parent.parent}"
            )

    def append(self, event: Event) -> None:
        """Write the event at once; never raises. It is on the disk SYNC_INTERVAL_S later."""
        self.append_soon(event)
        self.flush()

    def append_soon(self, event: Event) -> None:
        """Write the event with the next `append` or `flush`; never raises."""
        line = encode(event)
        with self._lock:
            if self._fd is not None:
                self._waiting.append(line)
                return
        logger.warning("%s is closed: %r is not written", self.path, event)

    def flush(self) -> None:
        """Write what waits, all at once; never raises. Another thread's write has ended when it returns."""
        with self._lock:
            data = b"".join(self._waiting)
            self._waiting.clear()
            if self._fd is None or not data:
                return
            if self._torn:
                data = b"\n" + data
            written = 0
            try:
                written = os.write(self._fd, data)
                while written < len(data):
                    written += os.write(self._fd, data[written:])
            except OSError as exc:
                self._torn = self._torn or written > 0
                failure = exc
            else:
                self._torn = False
                if not self._dirty.is_set():
                    self._dirty.set()
                return
        self._fail(failure)

    def sync(self) -> None:
        """Wait until everything appended is on the disk; never raises."""
        self.flush()
        self._dirty.clear()
        try:
            # Output first: an event on the disk refers to output on the disk.
            self.output.sync()
            with self._lock:
                if self._fd is None:
                    return
                fd = os.dup(self._fd)  # not under the lock: fsync may take seconds
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as exc:
            self._fail(exc)

    def close(self) -> None:
        """Write all to the disk and give the lock back. Closing twice does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._dirty.set()
        self._thread.join()
        self.sync()
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
        self.output.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _sync_loop(self) -> None:
        # `sync` may clear what `close` has just set: so `close` has said before that it is closing.
        while not self._closing.is_set():
            self._dirty.wait()
            if self._closing.wait(SYNC_INTERVAL_S):
                return
            self.sync()

    def _fail(self, exc: OSError) -> None:
        with self._lock:
            first = not self._failed.is_set()
            self._failed.set()
            self._failure = self._failure or exc
        self.output.stop()
        if first:
            self._on_failure(
                f"cannot write the journal {self.path.parent}: {exc.strerror or exc}; "
                "jobs go on, but their output is not kept and a resume may run them again"
            )


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task of the state folder, as far as it is known without reading its journal.

    `started`: None where the journal has no whole first line. `time`: of the start, seconds.
    """

    task: str
    path: Path
    started: TaskStarted | None
    time: float

    def locked(self) -> bool:
        """Return whether a process has the journal open for writing: the coordinator is alive."""
        try:
            fd = os.open(self.path / _JOURNAL, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(fd)
        return False

    def cleaned(self) -> bool:
        """Return whether it says that nothing is left, without reading the whole journal."""
        return any(isinstance(event, TaskCleaned) for event in self.last_events())

    def last_events(self) -> list[Event]:
        """Return the last few events that are not of jobs; none where it cannot be read."""
        try:
            with open(self.path / _JOURNAL, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                tail = file.read()
        except OSError:
            return []
        # The first may be the end of a line, which is no event.
        lines = [line for line in tail.split(b"\n") if not line.startswith(JOB_PREFIX)]
        return [event for event in map(decode, lines) if event is not None]

    def events(self, *, jobs: bool = True) -> Iterator[Event]:
        """Read the journal; `jobs`: False leaves out the events of jobs, at a tenth of the cost."""
        with JournalReader(self) as reader:
            yield from reader.read(jobs=jobs)
            yield from reader.rest()

    def output(self) -> OutputReader:
        return OutputReader(self.path / _OUTPUT)

    def changed_s(self) -> float:
        """Return when the journal was last written, seconds since 1970."""
        try:
            return (self.path / _JOURNAL).stat().st_mtime
        except OSError:
            return self.time

    def size_bytes(self) -> int:
        """Return what the task's files take on the disk."""
        total = 0
        for entry in os.scandir(self.path):
            with suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512  # POSIX's unit
        return total


class JournalReader:
    """Reads a journal from the beginning and, called again, what has been added since."""

    def __init__(self, record: TaskRecord) -> None:
        """Open the journal; raises JournalError."""
        self._file: BinaryIO
        try:
            self._file = open(record.path / _JOURNAL, "rb", buffering=1 << 18)  # noqa: SIM115
        except OSError as exc:
            raise _unreadable(record.path / _JOURNAL, exc) from exc
        self._path = record.path / _JOURNAL
        self._partial = b""

    def __enter__(self) -> "JournalReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, *, jobs: bool = True) -> Iterator[Event]:
        """Yield the events of the lines that are whole by now; skip garbage."""
        try:
            for line in self._file:
                if not line.endswith(b"\n"):
                    self._partial += line
                    continue
                if self._partial:
                    line = self._partial + line  # noqa: PLW2901
                    self._partial = b""
                if not jobs and line.startswith(JOB_PREFIX):
                    continue
                event = decode(line)
                if event is not None:
                    yield event
        except OSError as exc:
            raise _unreadable(self._path, exc) from exc

    def rest(self) -> Iterator[Event]:
        """Yield the last event, where only its newline is missing; when no more is written."""
        event = decode(self._partial) if self._partial else None
        self._partial = b""
        if event is not None:
            yield event


class TaskStore:
    """The folder that holds one folder per task."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"<TaskStore {self.root}>"

    @classmethod
    def default(cls) -> "TaskStore":
        """Return the user's own; raises JournalError where no folder can hold it."""
        return cls(places.state_folder() / "tasks")

    def create(
        self,
        task: str,
        *,
        on_failure: Callable[[str], None],
        task_bytes: int = DEFAULT_TASK_BYTES,
    ) -> Journal:
        """Make the folder of a new task, owned by this process until `close`.

        task_bytes: limit of kept output. Raises JournalError.
        """
        unfinished = self.root / f"{_UNFINISHED}{task}-{os.getpid()}"
        final = self.root / task
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with ExitStack() as undo:
                unfinished.mkdir(mode=0o700)
                undo.callback(shutil.rmtree, unfinished, ignore_errors=True)
                journal = Journal(unfinished, on_failure, task_bytes, becomes=final)
                undo.callback(journal.close)
                unfinished.rename(final)  # refuses a folder that is not empty
                undo.pop_all()
        except OSError as exc:
            raise JournalError(
                f"cannot make the journal {final}: {exc.strerror or exc}",
                "womm doctor",
            ) from exc
        if places.is_spare(self.root.parent):
            logger.warning("the home folder cannot be written: the journal is in %s", self.root.parent)
        return journal

    def reopen(self, task: str, *, on_failure: Callable[[str], None]) -> Journal:
        """Open a task's journal to add to it; raises JournalError, also while another has it."""
        folder = self.root / task
        try:
            return Journal(folder, on_failure, 0)
        except BlockingIOError as exc:
            raise JournalError(f"task {task} is still owned by its coordinator") from exc
        except OSError as exc:
            raise JournalError(f"cannot open the journal {folder}: {exc.strerror or exc}") from exc

    def tasks(self) -> list[TaskRecord]:
        """Return all tasks, the newest last; raises JournalError where they cannot be listed."""
        records = []
        for name in self._names():
            try:
                records.append(self._record(name))
            except (FileNotFoundError, NotADirectoryError):  # removed meanwhile
                continue
            except JournalError as exc:  # one that cannot be read does not hide the others
                logger.warning("%s", exc.message)
        return sorted(records, key=lambda record: (record.time, record.task))

    def resolve(self, name: str) -> TaskRecord:
        """Return the task of this id, of the one id that begins so, or the newest for `last`.

        Raises JournalError, also where several begin so.
        """
        if name == LAST:
            records = self.tasks()
            if not records:
                raise JournalError("there is no task yet", "womm parallel --help")
            return records[-1]
        matches = [task for task in self._names() if task.startswith(name)] if name else []
        if name in matches:
            matches = [name]
        if not matches:
            raise JournalError(f"no task has the id {name!r}", "womm status --ended")
        if len(matches) > 1:
            shown = ", ".join(sorted(matches)[:5]) + (", ..." if len(matches) > 5 else "")
            raise JournalError(
                f"{len(matches)} tasks have an id that begins with {name!r}: {shown}",
                "womm status --ended",
            )
        try:
            return self._record(matches[0])
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise JournalError(f"no task has the id {name!r}", "womm status --ended") from exc

    def read(self, task: str) -> Iterator[Event]:
        """Yield the events of a task; raises JournalError."""
        return self.resolve(task).events()

    def remove(self, task: str) -> None:
        """Delete a task's journal and output; raises JournalError."""
        try:
            shutil.rmtree(self.root / task)
        except OSError as exc:
            raise JournalError(f"cannot remove {self.root / task}: {exc.strerror or exc}") from exc

    def unfinished(self) -> list[Path]:
        """Return folders of tasks that never began, since their process died."""
        return [path for path in self._list() if path.name.startswith(_UNFINISHED)]

    def _names(self) -> list[str]:
        return [path.name for path in self._list() if not path.name.startswith(".")]

    def _list(self) -> list[Path]:
        try:
            return list(self.root.iterdir())
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise JournalError(
                f"cannot list the tasks in {self.root}: {exc.strerror or exc}",
                f"ls -ld {self.root}",
            ) from exc

    def _record(self, task: str) -> TaskRecord:
        path = self.root / task
        try:
            with open(path / _JOURNAL, "rb") as file:
                first = decode(file.readline())
                mtime_s = os.fstat(file.fileno()).st_mtime
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as exc:
            raise _unreadable(path / _JOURNAL, exc) from exc
        started = first if isinstance(first, TaskStarted) else None
        return TaskRecord(task, path, started, mtime_s if started is None else started.time)


def _lock(fd: int) -> None:
    """Take the lock. Raises BlockingIOError when a writer has it; a reader that looks has it for a moment."""
    for _ in range(_LOCK_TRIES - 1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_RETRY_S)
        else:
            return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unreadable(path: Path, exc: OSError) -> JournalError:
    return JournalError(f"cannot read {path}: {exc.strerror or exc}", f"ls -l {path}")
