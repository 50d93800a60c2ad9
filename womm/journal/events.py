"""The events that a journal records.

`womm.journal.codec` writes an event as one line, with the field names as keys. A reader ignores unknown
fields and unknown kinds: fields and kinds may be added, but never renamed or given another meaning. `time` is
in seconds since 1970, from the clock of the machine that wrote the journal.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class OutputRef:
    """Where the kept bytes of one stream of a job are.

    inline: the bytes in base64, when they are few; None: they are in the output file.
    offset, length: the compressed record there; length 0 and no `inline`: nothing was kept.
    size: kept bytes, uncompressed.
    cut: the job wrote more than was kept.
    """

    inline: str | None = None
    offset: int = 0
    length: int = 0
    size: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """The first event of a journal.

    kind: `parallel` or `shell`. cpu, mem: of one pod. resumes: ids of the tasks whose results are
    replayed. version: womm's. context, namespace, kubeconfig: of a task on Kubernetes, as it found them.
    kubeconfig_seal: of one that a project's file names, see womm.named.seal.
    """

    KIND: ClassVar[str] = "task_started"
    time: float
    task: str
    kind: str
    argv: tuple[str, ...]
    folder: str
    host: str
    user: str
    cluster: str
    pods: int
    procs_per_pod: int
    local_procs: int
    cpu: str
    mem: str
    coordinator_pid: int
    coordinator_start: str
    runtime_dir: str
    joblog: str | None
    resumes: tuple[str, ...]
    version: str
    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""
    kubeconfig_seal: str = ""


@dataclass(frozen=True, slots=True)
class EngineStarted:
    KIND: ClassVar[str] = "engine_started"
    time: float
    pid: int
    pid_start: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PodStarted:
    """An agent runs; `pid` and `pid_start` are its `womm.process.ProcessIdentity`."""

    KIND: ClassVar[str] = "pod_started"
    time: float
    pod: str
    instance: int
    pid: int
    pid_start: str


@dataclass(frozen=True, slots=True)
class PodReady:
    KIND: ClassVar[str] = "pod_ready"
    time: float
    pod: str
    instance: int


@dataclass(frozen=True, slots=True)
class PodGone:
    KIND: ClassVar[str] = "pod_gone"
    time: float
    pod: str
    instance: int
    cause: str
    detail: str


@dataclass(frozen=True, slots=True)
class PodLeft:
    """The pod left the pool for good: it is not started again."""

    KIND: ClassVar[str] = "pod_left"
    time: float
    pod: str
    reason: str


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A job was handed to a pod. `seq`: GNU parallel's, None where there is none; `attempt` counts
    from 1.
    """

    KIND: ClassVar[str] = "job_started"
    time: float
    job: int
    seq: int | None
    attempt: int
    pod: str
    instance: int
    command: str


@dataclass(frozen=True, slots=True)
class JobLost:
    """An attempt was lost with its pod: the job runs again, or is failed."""

    KIND: ClassVar[str] = "job_lost"
    time: float
    job: int
    attempt: int
    pod: str
    cause: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job's result. `exit` and `signal` as in the joblog; `started`: time of the attempt that
    counted.

    out, err: None: nothing of the stream was kept. `replayed`: taken from an earlier task's
    journal, nothing ran. `reason`: why womm failed the job; empty when the job itself ended.
    """

    KIND: ClassVar[str] = "job_ended"
    time: float
    job: int
    seq: int | None
    attempt: int
    pod: str
    exit: int
    signal: int
    out_bytes: int
    err_bytes: int
    utime_us: int
    stime_us: int
    maxrss_kib: int
    started: float
    out: OutputRef | None = None
    err: OutputRef | None = None
    replayed: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ShareTraffic:
    """The bytes that went over a share since the task began.

    `fetched`: from the folder into the cluster; `cached`: from the file server's cache to pods; `written`:
    back into the folder; `unwritten`: pods have written them, and the folder does not have them yet;
    `guessed`: fetched because earlier tasks have read them; of those, `used`: read later; `wasted`: not read.
    """

    KIND: ClassVar[str] = "share_traffic"
    time: float
    fetched: int
    cached: int
    written: int
    unwritten: int
    guessed: int = 0
    used: int = 0
    wasted: int = 0


@dataclass(frozen=True, slots=True)
class ProgramsTraffic:
    """The bytes of this machine's programs that went to pods since the task began; see ShareTraffic."""

    KIND: ClassVar[str] = "programs_traffic"
    time: float
    fetched: int
    cached: int
    guessed: int
    used: int
    wasted: int


@dataclass(frozen=True, slots=True)
class ShareUnsent:
    """Files that pods have written and the folder does not have, as far as is known.

    `names`: paths below the folder, the first of `count`. `reason`: why they will not come any more;
    empty: they are on their way. No names: all has come.
    """

    KIND: ClassVar[str] = "share_unsent"
    time: float
    names: tuple[str, ...]
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class ShareKept:
    """Files that the user has changed while jobs wrote to them: the user's versions are kept beside them.

    `names`: paths below the folder, and `copies`: those of what is kept, in the same order; the last of
    `count`.
    """

    KIND: ClassVar[str] = "share_kept"
    time: float
    names: tuple[str, ...]
    copies: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class TaskEnding:
    """No new jobs from here on."""

    KIND: ClassVar[str] = "task_ending"
    time: float
    reason: str


@dataclass(frozen=True, slots=True)
class TaskEnded:
    KIND: ClassVar[str] = "task_ended"
    time: float
    status: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class TaskCleaned:
    """Nothing of the task is left but its journal."""

    KIND: ClassVar[str] = "task_cleaned"
    time: float


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for people who read the journal."""

    KIND: ClassVar[str] = "note"
    time: float
    text: str


Event: TypeAlias = (
    TaskStarted
    | EngineStarted
    | PodStarted
    | PodReady
    | PodGone
    | PodLeft
    | JobStarted
    | JobLost
    | JobEnded
    | ShareTraffic
    | ProgramsTraffic
    | ShareUnsent
    | ShareKept
    | TaskEnding
    | TaskEnded
    | TaskCleaned
    | Note
)

EVENT_TYPES: tuple[type[Event], ...] = (
    TaskStarted,
    EngineStarted,
    PodStarted,
    PodReady,
    PodGone,
    PodLeft,
    JobStarted,
    JobLost,
    JobEnded,
    ShareTraffic,
    ProgramsTraffic,
    ShareUnsent,
    ShareKept,
    TaskEnding,
    TaskEnded,
    TaskCleaned,
    Note,
)
