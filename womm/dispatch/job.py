"""One job as the coordinator knows it: its request, its phase, its input, and the output that was shown."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Protocol

from womm import words
from womm.dispatch.phase import UNWANTED, Change, Phase, after
from womm.dispatch.pool import Start
from womm.dispatch.spool import Spool
from womm.journal.output import Capture
from womm.link.frames import WINDOW, EndRecord, RunRequest

STDOUT, STDERR = 1, 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, for its submitter: an exit status, or a signal (not 0).

    `reason` is set when womm, not the job, decided so: a sentence for the user. `started`: the time when its
    last attempt was handed to a worker; 0: never, or in an earlier run.
    """

    exit: int
    signal: int = 0
    reason: str = ""
    started: float = field(default=0.0, compare=False)


class JobSink(Protocol):
    """Where a job's output and outcome go.

    Calls come from the event loop. They must not block, and must not call the dispatcher back.
    """

    def write(self, stream: int, data: bytes | memoryview) -> bool:
        """Take output (stream 1 or 2). False: full, nothing more until `Dispatcher.consumed`.

        `data` is only valid during the call.
        """

    def can_take_back(self, stream: int) -> bool:
        """True when `take_back` can undo everything written to the stream so far."""

    def take_back(self, stream: int) -> None:
        """Undo all output of the stream: the attempt that wrote it was lost."""

    def file(self, stream: int) -> bytes | None:
        """Path to append to by which a process of this machine writes the stream, if there is one.

        Such a stream can be taken back.
        """

    def read_back(self, stream: int, size_bytes: int) -> bytes:
        """Return the beginning of what was written to the file; nothing if it cannot be read."""

    def failure(self) -> Outcome | None:
        """Return the outcome of a job whose output cannot be written; None: all could be, so far."""

    def resume_input(self) -> None:
        """There is room for more of the job's stdin (after `Dispatcher.feed` returned False)."""

    def ended(self, outcome: Outcome) -> None:
        """The last call for this job."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as it is submitted, at `time` (seconds since the epoch).

    seq: GNU parallel's number of it; None: another program submits it. no_retry: it runs once at most.
    """

    number: int
    seq: int | None
    request: RunRequest
    time: float
    no_retry: bool = False


class Job:
    """State of one submitted job. Only the dispatcher changes it, and its phase only by `change`."""

    __slots__ = (
        "attempt",
        "capture_bytes",
        "captures",
        "command",
        "direct",
        "emitted",
        "hashes",
        "no_retry",
        "number",
        "owed",
        "paused",
        "pending_signals",
        "phase",
        "pid",
        "pod",
        "replayed",
        "request",
        "seen",
        "seq",
        "sink",
        "spool",
        "started",
        "stdin_credit",
        "stdin_end_sent",
        "stdin_sent",
        "submitted",
        "unsaved_reason",
        "waited",
    )

    def __init__(
        self, submitted: Submission, sink: JobSink, spool: Spool | None, *, capture_bytes: int
    ) -> None:
        self.number = submitted.number
        self.seq = submitted.seq
        self.request = submitted.request
        self.command = _shown(submitted.request)
        self.sink = sink
        self.spool = spool
        self.pod = ""
        self.pid = 0
        self.attempt = 0
        self.no_retry = submitted.no_retry
        self.phase = Phase.WAITING
        self.submitted = submitted.time
        self.started = 0.0
        self.waited = False
        self.pending_signals: list[int] = []  # came while there was no process for them
        self.unsaved_reason = ""  # why not all that it wrote is in the folder
        self.paused = False
        self.capture_bytes = capture_bytes
        self.captures = (Capture(0), Capture(capture_bytes), Capture(capture_bytes))
        self.emitted = [0, 0, 0]  # bytes given to the sink and not taken back, per stream
        self.hashes = [None, hashlib.blake2b(), hashlib.blake2b()]  # of those, where they stay
        self.replayed = [None, hashlib.blake2b(), hashlib.blake2b()]  # of this attempt's repeat
        self.seen = [0, 0, 0]  # bytes received from the present attempt
        self.direct = [False, False, False]  # the present attempt writes to the sink's file by itself
        self.owed = [0, 0, 0]  # credit to return
        self.stdin_credit = 0
        self.stdin_sent = 0
        self.stdin_end_sent = False

    def __repr__(self) -> str:
        return f"<Job {self.number} seq {self.seq} {self.phase.name} in {self.pod or 'no worker'}>"

    @property
    def short(self) -> str:
        """The command as a line names it."""
        return words.shortened(words.printable(self.command.replace("\n", " ")), 60)

    @property
    def unwanted(self) -> bool:
        """Nobody waits for an outcome: there is one already, or there will be none."""
        return self.phase in UNWANTED

    def change(self, change: Change) -> None:
        """Go to the next phase. Raises BadChange."""
        self.phase = after(self.phase, change)

    def begin_attempt(self, start: Start, now: float) -> None:
        self.pod, self.attempt, self.started = start.pod, start.attempt, now
        self.pending_signals = []
        self.pid = 0
        self.seen = [0, 0, 0]
        self.direct = [False, False, False]
        self.owed = [0, 0, 0]
        self.replayed = [None, hashlib.blake2b(), hashlib.blake2b()]
        self.stdin_credit, self.stdin_sent, self.stdin_end_sent = WINDOW, 0, False

    def lose_attempt(self) -> None:
        """Take back what the lost attempt wrote, where that can be; the rest must come again."""
        for stream in (STDOUT, STDERR):
            if self.sink.can_take_back(stream):
                if self.emitted[stream] or self.direct[stream]:
                    self.sink.take_back(stream)
                self.emitted[stream] = 0
                self.captures[stream].reset()
        self.pod = ""

    def write_files(self) -> RunRequest:
        """Return the request with which the job, on this machine, writes its output where it goes."""
        paths = [self.sink.file(stream) for stream in (STDOUT, STDERR)]
        self.direct = [False, *(path is not None for path in paths)]
        return replace(self.request, stdout=paths[0], stderr=paths[1])

    def take_files(self, record: EndRecord) -> None:
        """Account for what the attempt that ended wrote by itself."""
        for stream, size in ((STDOUT, record.out_bytes), (STDERR, record.err_bytes)):
            if self.direct[stream] and size:
                self.seen[stream] = self.emitted[stream] = size
                kept = self.sink.read_back(stream, min(size, self.capture_bytes))
                self.captures[stream].add(kept)
                self.captures[stream].cut = size > len(kept)

    def take_output(self, stream: int, data: bytes | memoryview) -> bytes | memoryview | None:
        """Account for output of the present attempt; return the part that is new to the sink.

        None: a repeat differs from what has been shown already and cannot be taken back.
        """
        size = len(data)
        self.direct[stream] = False  # the agent could not open the file
        before, self.seen[stream] = self.seen[stream], self.seen[stream] + size
        shown = self.emitted[stream]
        if before < shown:
            repeat = min(size, shown - before)
            hasher = self.replayed[stream]
            assert hasher is not None
            hasher.update(data[:repeat])
            if before + repeat == shown:
                expected = self.hashes[stream]
                assert expected is not None
                if hasher.digest() != expected.digest():
                    return None
            data = data[repeat:]
        if data:
            self.emitted[stream] += len(data)
            self.captures[stream].add(data)
            if not self.sink.can_take_back(stream):
                hasher = self.hashes[stream]
                assert hasher is not None
                hasher.update(data)
        return data

    def repeats_missing(self) -> bool:
        """True when the attempt that ended showed less than an earlier one did."""
        return any(self.seen[stream] < self.emitted[stream] for stream in (STDOUT, STDERR))


def _shown(request: RunRequest) -> str:
    given = request.command if request.command is not None else b" ".join(request.argv)
    return given.decode(errors="surrogateescape")
