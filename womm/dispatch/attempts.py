"""Attempts of jobs: carries out what the pool decides, and ends the attempts that nobody wants any more."""

import time
from collections.abc import Iterable
from dataclasses import replace

from womm.dispatch import outcomes
from womm.dispatch.blame import Avoid, Leave, Trust
from womm.dispatch.job import STDERR, STDOUT, Job, Outcome
from womm.dispatch.phase import Change, Phase
from womm.dispatch.pool import Action, GiveUp, Lost, Start
from womm.dispatch.results import Results
from womm.dispatch.state import DispatchState
from womm.dispatch.streams import Streams
from womm.errors import ShareError
from womm.journal.events import JobLost, JobStarted
from womm.link.frames import WINDOW, encode_credit, encode_run, encode_signal
from womm.share.base import SharedFolder

SIGKILL = 9


class Attempts:
    """The attempts of one task's jobs.

    `stdin_cap_bytes` and `mem` are for messages: the longest stdin that is kept, and the limit of the
    workers' memory, empty where there is none.
    """

    def __init__(self, state: DispatchState, results: Results, *, stdin_cap_bytes: int, mem: str) -> None:
        self.streams = Streams(state.links, self.fail, state.pool.forbid_retry)
        self._state = state
        self._results = results
        self._stdin_cap_bytes = stdin_cap_bytes
        self._mem = mem

    def __repr__(self) -> str:
        return f"<Attempts of {self._state!r}>"

    def act(self, actions: Iterable[Action]) -> None:
        """Carry out the pool's decisions, in their order."""
        state = self._state
        for action in actions:
            if isinstance(action, Start):
                self._start(action)
            elif isinstance(action, Lost):
                self._lose(action)
            elif isinstance(action, GiveUp):
                self._give_up(action)
            elif isinstance(action, Leave):
                state.cluster.leave(action.pod, action.reason)
            elif isinstance(action, Avoid):
                state.say(f"node {action.node} is avoided while there are workers elsewhere: {action.reason}")
                state.on_change()
            elif isinstance(action, Trust):
                state.say(f"node {action.node} is used again: {action.reason}")
                state.on_change()

    def cancel(self, job: Job) -> None:
        """End a job that nobody waits for any more."""
        if self._state.pool.withdraw(job.number):
            job.change(Change.CANCEL)
            self._state.forget(job)
            return
        job.change(Change.CANCEL)
        self._state.pool.forbid_retry(job.number)
        self.kill(job)
        self.streams.return_credit(job)

    def fail(self, job: Job, reason: str) -> None:
        """End a job that womm cannot go on with; its process is killed, its end frees its slot."""
        withdrawn = self._state.pool.withdraw(job.number)
        job.change(Change.FAIL)
        if not withdrawn:
            self._state.pool.forbid_retry(job.number)
            self.kill(job)
        self._results.report(job, Outcome(outcomes.POISON_STATUS, reason=reason), None, None, None)

    def kill(self, job: Job) -> None:
        """Kill a job's process, if it has one."""
        if job.phase is not Phase.ABANDONED and (link := self._state.links.get(job.pod)):
            link.send(encode_signal(job.number, SIGKILL))

    def _start(self, action: Start) -> None:
        job = self._state.jobs[action.job]
        now = time.time()
        job.begin_attempt(action, now)
        self._state.note(
            JobStarted(now, job.number, job.seq, action.attempt, action.pod, action.instance, job.command)
        )
        share = self._state.share_of(action.pod)
        if share is None or share.is_current:
            self._send(job, share)
        else:
            job.change(Change.HOLD)
            self._state.background.spawn(self._send_fresh(share, job, action.attempt))

    async def _send_fresh(self, share: SharedFolder, job: Job, attempt: int) -> None:
        """Send a job when the pods see what has changed. Meanwhile it may be lost, cancelled, signalled."""
        try:
            await share.refresh()
        except ShareError:  # the task ends
            return
        if job.attempt != attempt:
            return
        if job.phase is Phase.ABANDONED:
            actions = self._state.pool.job_ended(job.number)
            self._results.drop(job)
            self.act(actions)
        elif job.phase is Phase.HELD:
            signals, job.pending_signals = job.pending_signals, []
            self._send(job, share)
            for signal in signals:
                self._state.links[job.pod].send(encode_signal(job.number, signal))

    def _send(self, job: Job, share: SharedFolder | None) -> None:
        state = self._state
        request = job.write_files() if state.pods[job.pod].pid else job.request
        if job.attempt > 1:
            env = {**(request.env or {}), b"WOMM_ATTEMPT": b"%d" % job.attempt}
            request = replace(request, env=env)
        if share is not None:
            request = share.revalidate(request, job.number, job.pod)
        link, more = state.links[job.pod], state.cluster.window_bytes - WINDOW
        job.change(Change.SEND)
        link.send(encode_run(job.number, request))
        if more > 0:
            for stream in (STDOUT, STDERR):
                link.send(encode_credit(job.number, stream, more))
            job.stdin_credit += more
        self.streams.pump_stdin(job)

    def _lose(self, action: Lost) -> None:
        job = self._state.jobs[action.job]
        self._state.note(JobLost(time.time(), action.job, action.attempt, action.pod, action.loss.value))
        job.waited = True
        job.lose_attempt()
        job.change(Change.LOSE)

    def _give_up(self, action: GiveUp) -> None:
        job = self._state.jobs[action.job]
        job.lose_attempt()
        self._state.note(JobLost(time.time(), action.job, job.attempt, action.pod, action.loss.value))
        if job.unwanted:
            self._results.drop(job)
            return
        outcome = outcomes.of_loss(job, action, stdin_cap_bytes=self._stdin_cap_bytes, mem=self._mem)
        self._results.finish(job, outcome, None)
