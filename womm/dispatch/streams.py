"""The bytes of jobs between their submitters and the agents: stdin out, output back, under flow control."""

from collections.abc import Callable, Mapping
from typing import Final

from womm.dispatch.job import STDERR, STDOUT, Job
from womm.dispatch.phase import Phase
from womm.link.client import Link
from womm.link.frames import STDIN_CHUNK, WINDOW, FrameType, encode, encode_credit

CREDIT_BATCH: Final = WINDOW // 2


class Streams:
    """Moves the bytes of all jobs. The jobs have all the state.

    `links`: by the pod's name. `fail` ends a job that cannot go on, with the reason; `forbid_retry` hears of
    a job whose input cannot be given a second time.
    """

    def __init__(
        self, links: Mapping[str, Link], fail: Callable[[Job, str], None], forbid_retry: Callable[[int], None]
    ) -> None:
        self._links = links
        self._fail = fail
        self._forbid_retry = forbid_retry

    def __repr__(self) -> str:
        return f"<Streams over {len(self._links)} links>"

    def feed(self, job: Job, data: bytes | memoryview) -> bool:
        """Append to the stdin. False: the producer is to pause until `resume_input` is called."""
        if job.spool is None or job.unwanted:
            return True
        try:
            job.spool.append(data)
        except OSError as exc:
            self._fail(job, f"its input cannot be kept: {exc.strerror}: {job.spool.folder}")
            return True
        self.pump_stdin(job)
        return not job.spool.wants_pause(job.stdin_sent)

    def feed_end(self, job: Job) -> None:
        if job.spool is not None:
            job.spool.ended = True
            self.pump_stdin(job)

    def pump_stdin(self, job: Job) -> None:
        """Send as much of the stdin as is there and the agent has room for."""
        spool, link = job.spool, self._links.get(job.pod)
        if spool is None or link is None or job.phase is not Phase.RUNNING:
            return
        while job.stdin_credit > 0:
            data = spool.read(job.stdin_sent, min(STDIN_CHUNK, job.stdin_credit))
            if not data:
                break
            link.send(encode(FrameType.STDIN_DATA, job.number, data))
            job.stdin_sent += len(data)
            job.stdin_credit -= len(data)
        if spool.ended and job.stdin_sent == spool.size and not job.stdin_end_sent:
            job.stdin_end_sent = True
            link.send(encode(FrameType.STDIN_END, job.number))
        spool.consumed(job.stdin_sent)
        if not spool.complete:
            self._forbid_retry(job.number)
        if not spool.wants_pause(job.stdin_sent):
            job.sink.resume_input()

    def output(self, job: Job, stream: int, payload: memoryview | bytes) -> None:
        """Give the sink what it has not had yet."""
        job.owed[stream] += len(payload)
        if job.phase is not Phase.RUNNING:
            self._return(job, stream)
            return
        fresh = job.take_output(stream, payload)
        if fresh is None:
            self._fail(job, "run again after a lost worker, it printed something else than before")
            return
        if fresh and not job.sink.write(stream, fresh):
            job.paused = True
        if job.owed[stream] >= CREDIT_BATCH:
            self._return(job, stream)

    def return_credit(self, job: Job) -> None:
        """Let the agent send on, for as much as has come, unless the sink is full."""
        for stream in (STDOUT, STDERR):
            self._return(job, stream)

    def _return(self, job: Job, stream: int) -> None:
        owed = job.owed[stream]
        if owed and not job.paused and (link := self._links.get(job.pod)):
            job.owed[stream] = 0
            link.send(encode_credit(job.number, stream, owed))
