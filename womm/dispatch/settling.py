"""From the end of a job's process to the job's result.

A job in a pod has ended when its files are in the folder. When the share loses what a job wrote, the job runs
again.
"""

from womm import words
from womm.dispatch import outcomes
from womm.dispatch.attempts import SIGKILL, Attempts
from womm.dispatch.helper_jobs import HelperJobs
from womm.dispatch.job import Job, Outcome
from womm.dispatch.phase import Change, Phase
from womm.dispatch.results import Results
from womm.dispatch.state import DispatchState
from womm.errors import ShareError
from womm.link.frames import EndKind, EndRecord
from womm.share.base import SharedFolder

TOUCHED = frozenset((Phase.RUNNING, Phase.SETTLING, Phase.OUTPUT_LOST, Phase.FLUSHING))
"""Jobs in these phases have written to the share, or may have."""


class Settling:
    """The ends of one task's jobs."""

    def __init__(self, state: DispatchState, attempts: Attempts, results: Results) -> None:
        self.helpers = HelperJobs()
        self._state = state
        self._attempts = attempts
        self._results = results

    def __repr__(self) -> str:
        return f"<Settling {self.helpers!r}>"

    def end_record(self, number: int, record: EndRecord) -> None:
        """The process of a job, or of a helper job, has ended."""
        job = self._state.jobs.get(number)
        if job is None:
            self.helpers.ended(number)
            return
        if job.phase is Phase.OUTPUT_LOST:
            job.change(Change.FLUSH)
            self._state.background.spawn(self._repeat(job))
            return
        job.take_files(record)
        if record.kind is EndKind.OOM_KILLED and not job.unwanted:
            self._state.say(f"job {job.seq or number} ({job.short}) ran out of memory in {job.pod}")
            self._attempts.act(self._state.pool.job_out_of_memory(number))
            return
        ran = record.kind in (EndKind.EXITED, EndKind.SIGNALED) and not job.unwanted
        if ran and (share := self._state.share_of(job.pod)) is not None:
            job.change(Change.SETTLE)
            self._state.background.spawn(self._settle(share, job, record))
        else:
            self._conclude(job, record)

    def disk_lost(self) -> bool:
        """The file server's disk is lost, and with it the last writes of jobs in pods.

        Jobs without a result run again, once they have ended. A job that may not run again goes on, and fails
        at its end; then this returns True.
        """
        say = self._state.say
        again, damaged = 0, False
        for job in [] if self._state.stopping else list(self._state.jobs.values()):
            if job.phase not in TOUCHED or self._state.share_of(job.pod) is None:
                continue
            if job.no_retry:
                job.unsaved_reason = "the file server's disk was lost, and with it what was written last"
                say("the file server's disk is lost: what was written in the last seconds may be, too")
                damaged = True
                continue
            again += 1
            if job.phase in (Phase.OUTPUT_LOST, Phase.FLUSHING):
                continue
            has_ended = job.phase is Phase.SETTLING
            job.change(Change.LOSE_OUTPUT)
            if has_ended:
                self._state.background.spawn(self._repeat(job))
            else:
                self._attempts.kill(job)
        if again:
            say(f"the file server's disk is lost: {words.counted(again, 'job runs', 'jobs run')} again")
        return damaged

    async def _repeat(self, job: Job) -> None:
        """Run a job again that has ended and whose output is lost, unless somebody ends it meanwhile.

        The kernel under it must let go of its pages first.
        """
        attempt, pod = job.attempt, job.pod
        share, link = self._state.share_of(pod), self._state.links.get(pod)
        if share is not None and link is not None and (request := share.sync()) is not None:
            await self.helpers.run(link, request)
        if job.attempt != attempt or job.phase not in (Phase.FLUSHING, Phase.ABANDONED):
            return
        if job.phase is Phase.FLUSHING and not job.pending_signals:
            self._attempts.act(self._state.pool.job_output_lost(job.number))
            return
        actions = self._state.pool.job_ended(job.number)
        if job.phase is Phase.ABANDONED:
            self._results.drop(job)
        else:
            self._results.finish(job, Outcome(0, job.pending_signals[-1]), None)
        self._attempts.act(actions)

    async def _settle(self, share: SharedFolder, job: Job, record: EndRecord) -> None:
        """Conclude a job when what it wrote is in the folder; until then it keeps its slot."""
        attempt = job.attempt
        try:
            unsaved_reason = await share.wait_written(job.number, job.pod)
        except ShareError:  # the task ends, and nothing is known of this job
            return
        if job.attempt == attempt and job.phase in (Phase.SETTLING, Phase.CANCELLED, Phase.FAILED):
            self._conclude(job, record, unsaved_reason or job.unsaved_reason)

    def _conclude(self, job: Job, record: EndRecord, unsaved_reason: str = "") -> None:
        """Give a job its result and free its slot. unsaved_reason: see outcomes.of_end."""
        actions = self._state.pool.job_ended(job.number)
        if job.phase is Phase.CANCELLED:
            self._results.record(job, Outcome(0, SIGKILL, "GNU parallel ended it"), record, None, None)
        if job.unwanted:
            self._results.drop(job)
        else:
            self._results.finish(job, outcomes.of_end(job, record, unsaved_reason), record)
        self._attempts.act(actions)
