"""The dispatcher of one task: takes jobs, and gives their output and outcome to their sinks.

A program that starts jobs (GNU parallel's shims, `womm shell`) calls `submit` with a sink. `Workers` observes
the pods, `Attempts` carries out what the pool decides, `Settling` turns the end of a process into a result,
and `Results` journals it before the sink hears of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from womm.cluster.base import Cluster
from womm.dispatch.attempts import Attempts
from womm.dispatch.job import Job, JobSink, Outcome, Submission
from womm.dispatch.phase import Phase
from womm.dispatch.results import Results
from womm.dispatch.settling import Settling
from womm.dispatch.spool import Spool
from womm.dispatch.state import DispatchState
from womm.dispatch.workers import PreparePod, Workers
from womm.journal.events import JobEnded
from womm.journal.store import Journal
from womm.link.frames import RunRequest, encode_resize, encode_signal
from womm.share.base import SharedFolder
from womm.signals import ENDS_NOTHING


class EarlierResults(Protocol):
    """The results of an earlier run of the same joblog: this run need not run those jobs again."""

    def find(self, seq: int, command: str) -> tuple[JobEnded, bytes, bytes] | None:
        """Return the whole result of that very job (its end, stdout, stderr), or None."""


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How a dispatcher treats jobs and workers."""

    spool_folder: Path
    """Keeps the stdin of jobs: on a real disk, for up to `stdin_cap_bytes` a job."""
    stdin_memory_bytes: int
    """Memory keeps this much of a job's stdin, a file the rest."""
    stdin_cap_bytes: int
    """A longer stdin is not kept: the job fails when its worker is lost."""
    capture_bytes: int
    """The journal keeps this much of each output stream of a job."""
    give_up_after_s: float = 60.0
    """A worker that cannot be reached for this long is ended."""
    mem: str = ""
    """The limit of the workers' memory, for messages; empty where there is none."""
    has_timeout: bool = False
    """GNU parallel runs with --timeout: say so when it ends a job that had to wait."""


class Dispatcher:
    """The jobs of one task on the pods of one cluster. Every method is for the event loop's thread.

    `workers` is the cluster's observer. `say` prints one line for the user. `share` is the task's shared
    folder, `earlier` has the results of an earlier run.
    """

    def __init__(
        self,
        cluster: Cluster,
        journal: Journal,
        say: Callable[[str], None],
        options: DispatchOptions,
        *,
        share: SharedFolder | None = None,
        prepare_pod: PreparePod | None = None,
        earlier: EarlierResults | None = None,
    ) -> None:
        self._options = options
        self._earlier = earlier
        self._state = state = DispatchState(cluster, journal, say, share)
        self._results = Results(state, options.capture_bytes)
        self._attempts = Attempts(
            state, self._results, stdin_cap_bytes=options.stdin_cap_bytes, mem=options.mem
        )
        self._streams = self._attempts.streams
        self._settling = Settling(state, self._attempts, self._results)
        self.workers = Workers(
            state,
            self._attempts,
            self._settling,
            prepare_pod=prepare_pod,
            give_up_after_s=options.give_up_after_s,
        )
        self.pool = state.pool
        self._last_number = 0

    def __repr__(self) -> str:
        return f"<Dispatcher {self.pool!r}, {self.done} done, {self.failed} failed>"

    @property
    def done(self) -> int:
        """Jobs that have a result, and of these `failed` ones."""
        return self._results.done

    @property
    def failed(self) -> int:
        return self._results.failed

    def follow(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` when the number of jobslots may have changed, instead of the follower before."""
        self._state.on_change = on_change

    def submit(
        self,
        request: RunRequest,
        sink: JobSink,
        *,
        seq: int | None = None,
        pinned: str | None = None,
        bound: bool = False,
        no_retry: bool = False,
    ) -> int:
        """Take a job; its output and outcome go to `sink`. Returns its number.

        `seq` is GNU parallel's number of it, `pinned` the one pod to run it in; `bound`: never in another,
        also when that pod is gone for good. `no_retry`: the job ends when its worker is lost.
        """
        self._last_number += 1
        number, options = self._last_number, self._options
        spool = None
        if request.stdin:
            spool = Spool(
                options.spool_folder,
                memory_bytes=options.stdin_memory_bytes,
                cap_bytes=options.stdin_cap_bytes,
            )
        submitted = Submission(number, seq, request, time.time(), no_retry)
        job = Job(submitted, sink, spool, capture_bytes=options.capture_bytes)
        self._state.jobs[number] = job
        if self._earlier is not None and seq is not None:
            kept = self._earlier.find(seq, job.command)
            if kept is not None:
                self._results.replay(job, *kept)
                return number
        actions = self.pool.submit(number, pinned, bound=bound)
        if no_retry:
            self.pool.forbid_retry(number)
        self._attempts.act(actions)
        if not job.pod:
            job.waited = True
            self.workers.notice_soon()
        return number

    def feed(self, number: int, data: bytes | memoryview) -> bool:
        """Append to a job's stdin. False: the producer is to pause until `resume_input` is called."""
        job = self._state.jobs.get(number)
        return job is None or self._streams.feed(job, data)

    def feed_end(self, number: int) -> None:
        if (job := self._state.jobs.get(number)) is not None:
            self._streams.feed_end(job)

    def consumed(self, number: int) -> None:
        """The sink has room again."""
        if (job := self._state.jobs.get(number)) is not None:
            job.paused = False
            self._streams.return_credit(job)

    def signal(self, number: int, signal: int) -> None:
        """Deliver a signal to a job's process group. A job that still waits ends by it at once.

        A signal that ends no process is only for jobs that have begun, or are about to.
        """
        job = self._state.jobs.get(number)
        if job is None or (signal in ENDS_NOTHING and job.phase not in (Phase.RUNNING, Phase.HELD)):
            return
        if job.waited and self._options.has_timeout and signal not in ENDS_NOTHING:
            job.waited = False
            waited_s = (job.started if job.pod else time.time()) - job.submitted
            self._state.say(
                f"job {job.seq or number} ({job.short}) is ended by --timeout, which counts from"
                f" when GNU parallel handed it over: {waited_s:.0f} s of it were waiting and lost attempts"
            )
        if signal not in ENDS_NOTHING and self.pool.withdraw(number):
            self._results.finish(job, Outcome(0, signal), None)
        elif job.phase in (Phase.HELD, Phase.OUTPUT_LOST, Phase.FLUSHING):
            job.pending_signals.append(signal)
        elif job.phase is Phase.RUNNING and (link := self._state.links.get(job.pod)):
            link.send(encode_signal(number, signal))

    def fail(self, number: int, reason: str) -> None:
        """End a job that its submitter cannot go on with."""
        job = self._state.jobs.get(number)
        if job is not None and not job.unwanted:
            self._attempts.fail(job, reason)

    def resize(self, number: int, rows: int, columns: int) -> None:
        job = self._state.jobs.get(number)
        if job is not None and (link := self._state.links.get(job.pod)):
            link.send(encode_resize(number, rows, columns))

    def cancel(self, number: int) -> None:
        """Nobody waits for this job any more: end it and forget it."""
        job = self._state.jobs.get(number)
        if job is not None and not job.unwanted:
            self._attempts.cancel(job)

    def disk_lost(self) -> bool:
        """The file server's disk is lost, see Settling. Returns whether a job fails for it."""
        return self._settling.disk_lost()

    async def close(self, grace_s: int = 2) -> None:
        """Ask every agent to end its jobs and itself; drop the links."""
        self._state.stopping = True
        self._state.cluster.drain()
        await self.workers.close(grace_s)
        await self._state.background.close()
        self._state.flush()
        for job in self._state.jobs.values():
            if job.spool is not None:
                job.spool.close()
