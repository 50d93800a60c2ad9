"""Events and journals for tests."""

from dataclasses import replace
from pathlib import Path

from womm.journal.events import (
    EngineStarted,
    Event,
    JobEnded,
    JobLost,
    JobStarted,
    Note,
    OutputRef,
    PodGone,
    PodLeft,
    PodReady,
    PodStarted,
    ProgramsTraffic,
    ShareKept,
    ShareTraffic,
    ShareUnsent,
    TaskCleaned,
    TaskEnded,
    TaskEnding,
    TaskStarted,
)
from womm.journal.store import Journal, TaskStore

TASK = "blhqwudx"

STARTED = TaskStarted(
    time=1763726645.25,
    task=TASK,
    kind="parallel",
    argv=("parallel", "--", "sleep 1; echo {}"),
    folder="/home/audrey/proj/supercool",
    host="laptop",
    user="audrey",
    cluster="local",
    pods=1,
    procs_per_pod=1,
    local_procs=0,
    cpu="1",
    mem="512Mi",
    coordinator_pid=4194304,
    coordinator_start="1",
    runtime_dir="/run/user/1000/womm-blhqwudx",
    joblog=None,
    resumes=(),
    version="0.1.0",
)
JOB_STARTED = JobStarted(1.0, 7, 7, 1, "pod-0", 1, "cat 'caf\udce9'\n\x00\U0001f600")
JOB_ENDED = JobEnded(
    time=2.0,
    job=7,
    seq=7,
    attempt=1,
    pod="pod-0",
    exit=0,
    signal=0,
    out_bytes=3,
    err_bytes=0,
    utime_us=1200,
    stime_us=800,
    maxrss_kib=3400,
    started=1.0,
    out=OutputRef(inline="aGkK", size=3),
    err=OutputRef(inline=""),
)

ALL: tuple[Event, ...] = (
    STARTED,
    replace(STARTED, joblog="/tmp/jl", resumes=("aaaaaaaa", "bbbbbbbb")),
    EngineStarted(1.0, 17, "12345", ("perl", "parallel", "-j4")),
    PodStarted(1.0, "pod-0", 1, 18, "12346"),
    PodReady(1.1, "pod-0", 1),
    PodGone(1.2, "pod-0", 1, "crash", "exit 9"),
    PodLeft(1.3, "pod-0", "it failed 5 times"),
    JOB_STARTED,
    replace(JOB_STARTED, seq=None),
    JobLost(1.5, 7, 1, "pod-0", "crash"),
    JOB_ENDED,
    replace(JOB_ENDED, seq=None, out=None, err=None, replayed=True, reason="OOM", exit=137),
    replace(JOB_ENDED, out=OutputRef(offset=5, length=9, size=5000, cut=True)),
    ShareTraffic(2.9, 1 << 40, 5, 0, 1),
    ProgramsTraffic(2.9, 1 << 40, 5, 3, 2, 1),
    ShareUnsent(2.9, ("out/a b", "caf\udce9\n"), 5, "No space left on device"),
    ShareUnsent(2.9, (), 0, ""),
    ShareKept(2.9, ("log", "caf\udce9\n"), ("log.womm-t", "caf\udce9\n.womm-t"), 5),
    TaskEnding(3.0, "SIGINT"),
    TaskEnded(3.0, 2, 10, 2),
    TaskCleaned(4.0),
    Note(4.0, "all\nis \udcff well"),
)


class Complaints(list[str]):
    """What a journal's `on_failure` was told."""

    def __call__(self, text: str) -> None:
        self.append(text)


def create(store: TaskStore, task: str = TASK) -> Journal:
    """Make a journal that must not fail."""
    return store.create(task, on_failure=_fail)


def _fail(text: str) -> None:
    raise AssertionError(text)


def journal_of(store: TaskStore, *events: Event, task: str = TASK) -> Path:
    """Write a whole journal and return its file."""
    with create(store, task) as journal:
        for event in events:
            journal.append(event)
    return journal.path
