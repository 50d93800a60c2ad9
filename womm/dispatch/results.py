"""The results of jobs: the journal has a result and its output before the sink hears of it."""

import asyncio
import time
from dataclasses import replace

from womm.dispatch.job import STDERR, STDOUT, Job, Outcome
from womm.dispatch.phase import Change, Phase
from womm.dispatch.state import DispatchState
from womm.journal.events import JobEnded, OutputRef
from womm.link.frames import EndRecord

COMPRESS_IN_THREAD_BYTES = 131072
"""This takes 0.3 ms: more would hold up the other jobs."""


class Results:
    """The results of one task's jobs. `capture_bytes` is what the journal keeps of each stream."""

    def __init__(self, state: DispatchState, capture_bytes: int) -> None:
        self.done = 0
        self.failed = 0
        self._state = state
        self._journal = state.journal
        self._capture_bytes = capture_bytes

    def __repr__(self) -> str:
        return f"<Results {self.done} done, {self.failed} failed>"

    def finish(self, job: Job, outcome: Outcome, record: EndRecord | None) -> None:
        """Journal a result, then report it. Large output is compressed off the event loop."""
        job.change(Change.END)
        kept = sum(min(job.emitted[stream], self._capture_bytes) for stream in (STDOUT, STDERR))
        if kept <= COMPRESS_IN_THREAD_BYTES:
            self.report(job, outcome, record, self._keep(job, STDOUT), self._keep(job, STDERR))
        else:
            self._state.background.spawn(self._finish_large(job, outcome, record))

    def drop(self, job: Job) -> None:
        """Let go of a job whose outcome nobody waits for."""
        job.change(Change.END)
        self._state.forget(job)

    def _keep(self, job: Job, stream: int) -> OutputRef | None:
        if not job.emitted[stream]:
            return None
        kept = job.captures[stream]
        return self._journal.output.put(kept.data, kept.cut)

    async def _finish_large(self, job: Job, outcome: Outcome, record: EndRecord | None) -> None:
        def keep() -> tuple[OutputRef | None, OutputRef | None]:
            return self._keep(job, STDOUT), self._keep(job, STDERR)

        self.report(job, outcome, record, *await asyncio.to_thread(keep))

    def report(
        self,
        job: Job,
        outcome: Outcome,
        record: EndRecord | None,
        out: OutputRef | None,
        err: OutputRef | None,
    ) -> None:
        outcome = _of_sink(job, outcome)
        if outcome.reason:
            self._state.say(f"job {job.seq or job.number} ({job.short}) failed: {outcome.reason}")
        self.record(job, outcome, record, out, err)
        if job.phase is Phase.ENDED:
            self._state.forget(job)
        self._state.answer(job.sink, replace(outcome, started=job.started))
        if record is None:  # rare: only ends that agents tell come many at a time
            self._state.flush()

    def record(
        self,
        job: Job,
        outcome: Outcome,
        record: EndRecord | None,
        out: OutputRef | None,
        err: OutputRef | None,
    ) -> None:
        self._state.note(
            JobEnded(
                time=time.time(),
                job=job.number,
                seq=job.seq,
                attempt=job.attempt,
                pod=job.pod,
                exit=outcome.exit,
                signal=outcome.signal,
                out_bytes=job.emitted[STDOUT],
                err_bytes=job.emitted[STDERR],
                utime_us=record.utime_us if record else 0,
                stime_us=record.stime_us if record else 0,
                maxrss_kib=record.maxrss_kib if record else 0,
                started=job.started,
                out=out,
                err=err,
                reason=outcome.reason,
            )
        )
        self.done += 1
        self.failed += outcome.exit != 0 or outcome.signal != 0

    def replay(self, job: Job, kept: JobEnded, out: bytes, err: bytes) -> None:
        for stream, data in ((STDOUT, out), (STDERR, err)):
            if data:
                job.sink.write(stream, data)
        self._state.note(replace(kept, time=time.time(), job=job.number, replayed=True, out=None, err=None))
        self.done += 1
        self.failed += kept.exit != 0 or kept.signal != 0
        self.drop(job)
        self._state.answer(job.sink, Outcome(kept.exit, kept.signal))
        self._state.flush()


def _of_sink(job: Job, outcome: Outcome) -> Outcome:
    """A job whose output could not be written is no success, whatever its own end was."""
    if outcome.exit or outcome.signal:
        return outcome
    return job.sink.failure() or outcome
