"""What a journal records, and how one event is one line of JSON.

Strategy: a line is an ASCII JSON object whose first key is `event`, the kind, so that a reader can
leave out kinds it does not need by a prefix test on bytes (`JOB_PREFIX`). The other keys are the
field names; a field that has its default value is left out. A reader ignores unknown keys and
unknown kinds, so fields and kinds may be added, but never renamed or given another meaning. Text
that is not UTF-8 was decoded with surrogateescape; JSON's escapes carry the surrogates. `time` is
in seconds since 1970, from the clock of the machine that wrote the journal.

Encoding is on the way of every job: the two events of a job have hand-written encoders (about 6 us
each).
"""

import json
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias


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
    """What went over a share since the task began, in bytes.

    From the folder into the cluster, from the file server's cache to pods, and back into the folder;
    `unwritten`: what pods have written that is not in the folder yet.
    """

    KIND: ClassVar[str] = "share_traffic"
    time: float
    fetched: int
    cached: int
    written: int
    unwritten: int


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
    ShareUnsent,
    ShareKept,
    TaskEnding,
    TaskEnded,
    TaskCleaned,
    Note,
)

# Starts every line of a job, and no other line.
JOB_PREFIX = b'{"event":"job_'


# Values are flat and built here: there is no circle to look for.
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def encode(event: Event) -> bytes:
    """Encode as one line, newline included."""
    if type(event) is JobEnded:
        values = _job_ended_values(event)
    elif type(event) is JobStarted:
        values = {
            "event": "job_started",
            "time": event.time,
            "job": event.job,
            "seq": event.seq,
            "attempt": event.attempt,
            "pod": event.pod,
            "instance": event.instance,
            "command": event.command,
        }
    else:
        values = {"event": event.KIND}
        for field in _FIELDS[type(event)]:
            values[field.name] = getattr(event, field.name)
    return _to_json(values).encode("ascii") + b"\n"


def _job_ended_values(event: JobEnded) -> dict[str, object]:
    values: dict[str, object] = {
        "event": "job_ended",
        "time": event.time,
        "job": event.job,
        "seq": event.seq,
        "attempt": event.attempt,
        "pod": event.pod,
        "exit": event.exit,
        "signal": event.signal,
        "out_bytes": event.out_bytes,
        "err_bytes": event.err_bytes,
        "utime_us": event.utime_us,
        "stime_us": event.stime_us,
        "maxrss_kib": event.maxrss_kib,
        "started": event.started,
    }
    if event.out is not None:
        values["out"] = _ref_values(event.out)
    if event.err is not None:
        values["err"] = _ref_values(event.err)
    if event.replayed:
        values["replayed"] = True
    if event.reason:
        values["reason"] = event.reason
    return values


def _ref_values(ref: OutputRef) -> dict[str, object]:
    values: dict[str, object]
    if ref.inline is not None:
        values = {"inline": ref.inline, "size": ref.size}
    else:
        values = {"offset": ref.offset, "length": ref.length, "size": ref.size}
    if ref.cut:
        values["cut"] = True
    return values


# json.loads without its checks, which take half as long again as a short line.
_from_json = json.JSONDecoder().raw_decode
_LINE_ENDS = frozenset(("", "\n"))


def decode(line: bytes) -> Event | None:
    """Decode one line, with or without its newline; None for a kind of a newer womm and for
    garbage.
    """
    try:
        text = str(line, "utf-8")
        values, end = _from_json(text)
    except (ValueError, RecursionError):
        return None
    if type(values) is not dict or text[end:] not in _LINE_ENDS:
        return None
    kind = values.get("event")
    decoder = _DECODERS.get(kind) if type(kind) is str else None
    if decoder is None:
        return None
    try:
        return decoder(values)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _str(value: object) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _int(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _float(value: object) -> float:
    if type(value) is float:
        return value
    return float(_int(value))


def _bool(value: object) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _words(value: object) -> tuple[str, ...]:
    if type(value) is not list:
        raise TypeError
    return tuple(_str(word) for word in value)


def _optional_str(value: object) -> str | None:
    return None if value is None else _str(value)


def _optional_int(value: object) -> int | None:
    return None if value is None else _int(value)


# What most jobs write to stderr.
_EMPTY = OutputRef(inline="")
_EMPTY_VALUES = {"inline": "", "size": 0}


def _ref(value: object) -> OutputRef | None:
    if value is None or type(value) is OutputRef:
        return value
    if type(value) is not dict:
        raise TypeError
    if value == _EMPTY_VALUES:
        return _EMPTY
    return OutputRef(
        _optional_str(value.get("inline")),
        _int(value.get("offset", 0)),
        _int(value.get("length", 0)),
        _int(value.get("size", 0)),
        _bool(value.get("cut", False)),
    )


_READERS: dict[object, Callable[[object], Any]] = {
    str: _str,
    int: _int,
    float: _float,
    bool: _bool,
    tuple[str, ...]: _words,
    str | None: _optional_str,
    int | None: _optional_int,
    OutputRef | None: _ref,
}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    read: Callable[[object], Any]
    default: object  # dataclasses.MISSING where there is none: no reader accepts it


_FIELDS: dict[type[Event], tuple[_Field, ...]] = {
    event_type: tuple(_Field(field.name, _READERS[field.type], field.default) for field in fields(event_type))
    for event_type in EVENT_TYPES
}


def _decoder(event_type: type[Event]) -> Callable[[dict[str, Any]], Event]:
    """Return what builds an event of the values of a line.

    Types are checked field by field only the first time that a combination of types is seen: a
    journal of 100,000 jobs has three or four of them.
    """
    table = _FIELDS[event_type]
    defaults = [(field.name, field.default) for field in table]
    refs = [field.name for field in table if field.read is _ref]
    exact: set[tuple[type, ...]] = set()

    def decode_values(values: dict[str, Any]) -> Event:
        for name in refs:
            if name in values:
                values[name] = _ref(values[name])
        raw = [values.get(name, default) for name, default in defaults]
        types = tuple(map(type, raw))
        if types in exact:
            return event_type(*raw)
        read = [field.read(value) for field, value in zip(table, raw, strict=True)]
        if all(map(operator.is_, read, raw)):
            exact.add(types)
        return event_type(*read)

    return decode_values


_DECODERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    event_type.KIND: _decoder(event_type) for event_type in EVENT_TYPES
}
