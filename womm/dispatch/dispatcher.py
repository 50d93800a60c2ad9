"""Carries out what the pool decides: jobs out over links, output and end records back.

Whatever starts jobs (GNU parallel's shims, `womm shell`, a native engine) calls `submit` with a sink
and hears through it. The journal has the result before the sink does.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from womm import words
from womm.cluster.base import Cluster, Loss, Pod
from womm.dispatch import outcomes
from womm.dispatch.helper_jobs import HelperJobs
from womm.dispatch.job import STDERR, STDOUT, Job, JobSink, Outcome
from womm.dispatch.phase import Change, Phase
from womm.dispatch.pool import Action, Avoid, GiveUp, Leave, Lost, Pool, Start, Trust
from womm.dispatch.results import Results
from womm.dispatch.spool import Spool
from womm.dispatch.streams import Streams
from womm.errors import ShareError
from womm.journal.events import (
    JobEnded,
    JobLost,
    JobStarted,
    PodGone,
    PodLeft,
    PodReady,
    PodStarted,
)
from womm.journal.store import Journal
from womm.link.client import Link
from womm.link.frames import (
    WINDOW,
    EndKind,
    EndRecord,
    FrameType,
    RunRequest,
    User,
    decode_credit,
    decode_ended,
    decode_ready,
    encode_credit,
    encode_resize,
    encode_run,
    encode_signal,
)
from womm.process import identify
from womm.share.base import SharedFolder

log = logging.getLogger(__name__)

WAIT_NOTICE_S = 2.0
SIGKILL = 9
TOUCHED = frozenset((Phase.RUNNING, Phase.SETTLING, Phase.OUTPUT_LOST, Phase.FLUSHING))
"""Jobs in these phases have written to the share, or may have."""

PreparePod: TypeAlias = Callable[[Cluster, Pod, User | None], Coroutine[Any, Any, None] | None]
"""Does what a worker, which runs as the user, needs before it gets jobs. None: it needs nothing."""


class EarlierResults(Protocol):
    """What an earlier run of the same joblog finished, so that this one need not run it again."""

    def find(self, seq: int, command: str) -> tuple[JobEnded, bytes, bytes] | None:
        """Return the whole result of that very job (its end, stdout, stderr), or None."""


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How a dispatcher treats jobs and workers."""

    spool_folder: Path
    """Keeps the stdin of jobs: on a real disk, for up to `stdin_cap_bytes` a job."""
    stdin_memory_bytes: int
    """Of a job's stdin, this much is kept in memory, the rest in a file."""
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

    It is the cluster's PodObserver and every link's LinkHandler. `say` prints one line for the user.
    `share` is the task's shared folder, `earlier` has the results of an earlier run.
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
        self.pool = Pool()
        self._cluster = cluster
        self._journal = journal
        self._say = say
        self._options = options
        self._share = share
        self._prepare_pod = prepare_pod
        self._earlier = earlier
        self._on_change: Callable[[], None] = lambda: None
        self._results = Results(journal, say, options.capture_bytes, self._forget, self._later)
        self._session = secrets.token_bytes(16)
        self._loop = asyncio.get_running_loop()
        self._jobs: dict[int, Job] = {}
        self._links: dict[str, Link] = {}
        self._streams = Streams(self._links, self._fail, self.pool.forbid_retry)
        self._pods: dict[str, Pod] = {}
        self._last_number = 0
        self._background: set[asyncio.Task[None]] = set()
        self._burials: dict[str, asyncio.Task[None]] = {}  # a pod's next life waits for its last one's
        self._syncs = HelperJobs()
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._last_gone: dict[str, int] = {}  # instance, by the pod's name
        self._reasons: Mapping[str, int] = {}
        self._notice: asyncio.TimerHandle | None = None
        self.stopping = False

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
        self._on_change = on_change

    # ---- for whoever starts jobs ------------------------------------------------------------------

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
        number = self._last_number
        spool = (
            Spool(
                self._options.spool_folder,
                memory_bytes=self._options.stdin_memory_bytes,
                cap_bytes=self._options.stdin_cap_bytes,
            )
            if request.stdin
            else None
        )
        job = Job(
            number,
            seq,
            request,
            sink,
            spool,
            capture_bytes=self._options.capture_bytes,
            no_retry=no_retry,
            submitted=time.time(),
        )
        self._jobs[number] = job
        if self._earlier is not None and seq is not None:
            kept = self._earlier.find(seq, job.command)
            if kept is not None:
                self._results.replay(job, *kept)
                return number
        actions = self.pool.submit(number, pinned, bound=bound)
        if no_retry:
            self.pool.forbid_retry(number)
        self._act(actions)
        if not job.pod:
            job.waited = True
            self._notice_soon()
        return number

    def feed(self, number: int, data: bytes | memoryview) -> bool:
        """Append to a job's stdin. False: the producer is to pause until `resume_input` is called."""
        job = self._jobs.get(number)
        return job is None or self._streams.feed(job, data)

    def feed_end(self, number: int) -> None:
        if (job := self._jobs.get(number)) is not None:
            self._streams.feed_end(job)

    def consumed(self, number: int) -> None:
        """The sink has room again."""
        if (job := self._jobs.get(number)) is not None:
            job.paused = False
            self._streams.return_credit(job)

    def signal(self, number: int, signal: int) -> None:
        """Deliver a signal to a job's process group. A job that still waits ends by it at once."""
        job = self._jobs.get(number)
        if job is None:
            return
        if job.waited and self._options.has_timeout:
            job.waited = False
            waited_s = (job.started if job.pod else time.time()) - job.submitted
            self._say(
                f"job {job.seq or number} ({job.short}) is ended by --timeout, which counts from"
                f" when GNU parallel handed it over: {waited_s:.0f} s of it were waiting and lost attempts"
            )
        if self.pool.withdraw(number):
            self._results.finish(job, Outcome(0, signal), None)
        elif job.phase in (Phase.HELD, Phase.OUTPUT_LOST, Phase.FLUSHING):
            job.pending_signals.append(signal)
        elif job.phase is Phase.RUNNING and (link := self._links.get(job.pod)):
            link.send(encode_signal(number, signal))

    def fail(self, number: int, reason: str) -> None:
        """End a job that its submitter cannot go on with."""
        job = self._jobs.get(number)
        if job is not None and not job.unwanted:
            self._fail(job, reason)

    def resize(self, number: int, rows: int, columns: int) -> None:
        job = self._jobs.get(number)
        if job is not None and (link := self._links.get(job.pod)):
            link.send(encode_resize(number, rows, columns))

    def cancel(self, number: int) -> None:
        """Nobody waits for this job any more: end it and forget it."""
        job = self._jobs.get(number)
        if job is None or job.unwanted:
            return
        withdrawn = self.pool.withdraw(number)
        job.change(Change.CANCEL)
        if withdrawn:
            self._forget(job)
            return
        self.pool.forbid_retry(number)
        self._kill(job)
        self._streams.return_credit(job)

    async def close(self, grace_s: int = 2) -> None:
        """Ask every agent to end its jobs and itself; drop the links."""
        self.stopping = True
        self._cluster.drain()
        if self._notice is not None:
            self._notice.cancel()
        links = list(self._links.values())
        await asyncio.gather(*(link.bye(grace_s, grace_s + 3.0) for link in links))
        await asyncio.gather(*(link.close() for link in links))
        for task in list(self._background):
            task.cancel()
        for job in self._jobs.values():
            if job.spool is not None:
                job.spool.close()

    def disk_lost(self) -> bool:
        """What jobs in pods wrote last is lost: those without a result run again, once they have ended.

        What may not run again goes on, and fails at its end; then this returns True.
        """
        again, damaged = 0, False
        for job in [] if self.stopping else list(self._jobs.values()):
            if job.phase not in TOUCHED or self._share_of(job.pod) is None:
                continue
            if job.no_retry:
                job.unsaved_reason = "the file server's disk was lost, and with it what was written last"
                self._say("the file server's disk is lost: what was written in the last seconds may be, too")
                damaged = True
                continue
            again += 1
            if job.phase in (Phase.OUTPUT_LOST, Phase.FLUSHING):
                continue
            has_ended = job.phase is Phase.SETTLING
            job.change(Change.LOSE_OUTPUT)
            if has_ended:
                self._later(self._repeat(job))
            else:
                self._kill(job)
        if again:
            self._say(f"the file server's disk is lost: {words.counted(again, 'job runs', 'jobs run')} again")
        return damaged

    def job_processes(self, pod: Pod) -> list[int]:
        """Process ids, and session ids, of the jobs that the pod's agent runs."""
        return [job.pid for job in self._jobs.values() if job.pod == pod.name and job.pid]

    # ---- PodObserver ------------------------------------------------------------------------------

    def pod_started(self, pod: Pod) -> None:
        if self.stopping or pod.instance <= self._last_gone.get(pod.name, 0):
            return  # the cluster ends it together with the others; or it did not live to be buried
        burial = self._burials.get(pod.name)
        if burial is not None and not burial.done():
            burial.add_done_callback(lambda _: self.pod_started(pod))
            return
        who = identify(pod.pid) if pod.pid else None
        self._journal.append(
            PodStarted(time.time(), pod.name, pod.instance, pod.pid, who.start if who else "")
        )
        self._pods[pod.name] = pod
        link = Link(
            pod.name,
            self._cluster.dial(pod),
            self._session,
            self,
            give_up_after_s=self._options.give_up_after_s,
        )
        self._links[pod.name] = link
        link.start()

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        self._last_gone[pod.name] = pod.instance
        if not self.stopping:
            last = self._burials.get(pod.name)
            self._burials[pod.name] = self._later(self._lose(pod, loss, detail, last))

    def pod_left(self, name: str, reason: str) -> None:
        self._journal.append(PodLeft(time.time(), name, reason))
        self._say(f"worker {name} leaves the pool: {reason}")
        self._act(self.pool.worker_left(name))
        self._on_change()

    def pod_vanished(self, name: str) -> None:
        burial = self._burials.get(name)
        if burial is not None and not burial.done():  # it gives back the jobs that this is about
            burial.add_done_callback(lambda _: self.pod_vanished(name))
            return
        self._burials.pop(name, None)
        self._last_gone.pop(name, None)
        if not self.stopping:
            self._act(self.pool.worker_left(name))

    def waiting_for(self) -> str:
        """Why workers that are wanted are not there, in words: "3 restarting, 1 no perl"."""
        preparing = {"gets the shared folder": self.preparing} if self.preparing else {}
        return ", ".join(f"{count} {reason}" for reason, count in {**self._reasons, **preparing}.items())

    @property
    def preparing(self) -> int:
        """Workers that are there and get what they need before jobs: however long it takes."""
        return sum(not task.done() for task in self._preparing.values())

    @property
    def places_left(self) -> int:
        """Pods of this task that are there or may still come."""
        return self._cluster.wanted

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        self._reasons = reasons
        self._on_change()  # there may be none to come any more
        self._notice_soon()

    def notice(self, text: str) -> None:
        self._say(text)

    async def _lose(self, pod: Pod, loss: Loss, detail: str, last: asyncio.Task[None] | None) -> None:
        """Bury a life, after the one before it (`last`): both have the same name."""
        if last is not None:
            await asyncio.wait({last})
        opened = self._pods.get(pod.name) == pod
        if opened:
            if preparing := self._preparing.pop(pod.name, None):
                preparing.cancel()
            link = self._links[pod.name]
            # What the agent wrote before it went is still in the stream: end records above all.
            await link.drain(1.0)
            await link.close()
            self._syncs.lost(pod.name)
            del self._links[pod.name], self._pods[pod.name]
        self._journal.append(PodGone(time.time(), pod.name, pod.instance, loss.value, detail))
        if self.stopping:
            return
        actions = self.pool.worker_gone(pod.name, loss) if opened else []
        again = sum(isinstance(action, Lost) for action in actions)
        line = f"worker {pod.name} is gone ({loss.value}"
        line += f": {detail})" if detail else ")"
        if again:
            line += f": {words.counted(again, 'job runs', 'jobs run')} again"
        self._say(line)
        self._act(actions)
        self._on_change()
        self._notice_soon()

    # ---- LinkHandler ------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        if link.name in self.pool.workers:
            if (share := self._share_of(link.name)) is not None:
                share.reconnected()
            self._act(self.pool.worker_resumed(link.name))

    def link_cut(self, link: Link, reason: str) -> None:
        log.debug("link to %s cut: %s", link.name, reason)
        self.pool.worker_paused(link.name)

    def link_lost(self, link: Link, reason: str) -> None:
        pod = self._pods.get(link.name) if self._links.get(link.name) is link else None
        if pod is not None and not self.stopping:
            self._later(self._cluster.end_pod(pod, f"unreachable: {reason}"))

    def link_frame(self, link: Link, kind: int, job: int, payload: memoryview | bytes) -> None:
        if kind in (FrameType.OUT, FrameType.ERR):
            if (known := self._jobs.get(job)) is not None:
                self._streams.output(known, STDOUT if kind == FrameType.OUT else STDERR, payload)
        elif kind == FrameType.ENDED:
            self._end_record(job, decode_ended(payload))
        elif kind == FrameType.CREDIT:
            if (known := self._jobs.get(job)) is not None:
                known.stdin_credit += decode_credit(payload)[1]
                self._streams.pump_stdin(known)
        elif kind == FrameType.STARTED:
            if (known := self._jobs.get(job)) is not None:
                known.pid = int.from_bytes(payload)
        elif kind == FrameType.READY:
            pod = self._pods[link.name]
            work = self._prepare_pod(self._cluster, pod, decode_ready(payload)) if self._prepare_pod else None
            if work is None:
                self._ready(pod)
            else:
                self._preparing[pod.name] = self._later(self._prepare(pod, work))

    async def _prepare(self, pod: Pod, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ShareError as exc:
            self._cluster.leave(pod.name, exc.message)
        else:
            self._ready(pod)

    def _ready(self, pod: Pod) -> None:
        self._journal.append(PodReady(time.time(), pod.name, pod.instance))
        self._act(self.pool.worker_ready(pod.name, pod.instance, pod.slots, pod.node))
        self._on_change()

    # ---- within -----------------------------------------------------------------------------------

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Start):
                self._start(action)
            elif isinstance(action, Lost):
                self._lost(action)
            elif isinstance(action, GiveUp):
                job = self._jobs[action.job]
                job.lose_attempt()
                self._journal.append(
                    JobLost(time.time(), action.job, job.attempt, action.pod, action.loss.value)
                )
                self._given_up(job, action)
            elif isinstance(action, Leave):
                self._cluster.leave(action.pod, action.reason)
            elif isinstance(action, Avoid):
                self._say(f"node {action.node} is avoided while there are workers elsewhere: {action.reason}")
                self._on_change()
            elif isinstance(action, Trust):
                self._say(f"node {action.node} is used again: {action.reason}")
                self._on_change()

    def _start(self, action: Start) -> None:
        job = self._jobs[action.job]
        now = time.time()
        job.begin_attempt(action, now)
        self._journal.append(
            JobStarted(now, job.number, job.seq, action.attempt, action.pod, action.instance, job.command)
        )
        share = self._share_of(action.pod)
        if share is None or share.quiet:
            self._send(job)
        else:
            job.change(Change.HOLD)
            self._later(self._send_fresh(share, job, action.attempt))

    def _share_of(self, pod: str) -> SharedFolder | None:
        """The share of a pod that needs it: one on this machine has the folder itself."""
        known = self._pods.get(pod)
        return self._share if known is not None and not known.pid else None

    async def _send_fresh(self, share: SharedFolder, job: Job, attempt: int) -> None:
        """Send a job when the pods see what has changed. Meanwhile it may be lost, cancelled, signalled."""
        try:
            await share.refresh()
        except ShareError:  # the task ends
            return
        if job.attempt != attempt:
            return
        if job.phase is Phase.ABANDONED:
            actions = self.pool.job_ended(job.number)
            self._results.drop(job)
            self._act(actions)
        if job.phase is not Phase.HELD:
            return
        signals, job.pending_signals = job.pending_signals, []
        self._send(job)
        for signal in signals:
            self._links[job.pod].send(encode_signal(job.number, signal))

    def _send(self, job: Job) -> None:
        request = job.write_files() if self._pods[job.pod].pid else job.request
        if job.attempt > 1:
            env = {**(request.env or {}), b"WOMM_ATTEMPT": b"%d" % job.attempt}
            request = replace(request, env=env)
        if (share := self._share_of(job.pod)) is not None:
            request = share.renew(request, job.number, job.pod)
        link, more = self._links[job.pod], self._cluster.window_bytes - WINDOW
        job.change(Change.SEND)
        link.send(encode_run(job.number, request))
        if more > 0:
            for stream in (STDOUT, STDERR):
                link.send(encode_credit(job.number, stream, more))
            job.stdin_credit += more
        self._streams.pump_stdin(job)

    def _lost(self, action: Lost) -> None:
        job = self._jobs[action.job]
        self._journal.append(JobLost(time.time(), action.job, action.attempt, action.pod, action.loss.value))
        job.waited = True
        job.lose_attempt()
        job.change(Change.LOSE)

    def _given_up(self, job: Job, action: GiveUp) -> None:
        if job.unwanted:
            self._results.drop(job)
            return
        cap, mem = self._options.stdin_cap_bytes, self._options.mem
        outcome = outcomes.of_loss(job, action, stdin_cap_bytes=cap, mem=mem)
        self._results.finish(job, outcome, None)

    def _fail(self, job: Job, reason: str) -> None:
        """End a job that womm cannot go on with; its process is killed, its slot freed by its end."""
        withdrawn = self.pool.withdraw(job.number)
        job.change(Change.FAIL)
        if not withdrawn:
            self.pool.forbid_retry(job.number)
            self._kill(job)
        self._results.report(job, Outcome(outcomes.POISON_STATUS, reason=reason), None, None, None)

    def _kill(self, job: Job) -> None:
        """Kill a job's process, if it has one."""
        if job.phase is not Phase.ABANDONED and (link := self._links.get(job.pod)):
            link.send(encode_signal(job.number, SIGKILL))

    def _end_record(self, number: int, record: EndRecord) -> None:
        job = self._jobs.get(number)
        if job is None:
            self._syncs.ended(number)
            return
        if job.phase is Phase.OUTPUT_LOST:
            job.change(Change.FLUSH)
            self._later(self._repeat(job))
            return
        job.take_files(record)
        if record.kind is EndKind.OOM_KILLED and not job.unwanted:
            self._say(f"job {job.seq or number} ({job.short}) ran out of memory in {job.pod}")
            self._act(self.pool.job_out_of_memory(number))
            return
        ran = record.kind in (EndKind.EXITED, EndKind.SIGNALED) and not job.unwanted
        if ran and (share := self._share_of(job.pod)) is not None:
            job.change(Change.SETTLE)
            self._later(self._settle(share, job, record))
        else:
            self._conclude(job, record)

    async def _repeat(self, job: Job) -> None:
        """What a job wrote is lost, and it has ended: it runs again, unless somebody ends it meanwhile.

        Not before the kernel under it has let go of its pages.
        """
        attempt, pod = job.attempt, job.pod
        share, link = self._share_of(pod), self._links.get(pod)
        if share is not None and link is not None and (request := share.sync()) is not None:
            await self._syncs.run(link, request)
        if job.attempt != attempt or job.phase not in (Phase.FLUSHING, Phase.ABANDONED):
            return
        if job.phase is Phase.FLUSHING and not job.pending_signals:
            self._act(self.pool.job_output_lost(job.number))
            return
        actions = self.pool.job_ended(job.number)
        if job.phase is Phase.ABANDONED:
            self._results.drop(job)
        else:
            self._results.finish(job, Outcome(0, job.pending_signals[-1]), None)
        self._act(actions)

    async def _settle(self, share: SharedFolder, job: Job, record: EndRecord) -> None:
        """A job is done when what it wrote is in the folder; until then it keeps its slot."""
        attempt = job.attempt
        try:
            unsettled = await share.settle(job.number, job.pod)
        except ShareError:  # the task ends, and nothing is known of this job
            return
        if job.attempt == attempt and job.phase in (Phase.SETTLING, Phase.CANCELLED, Phase.FAILED):
            self._conclude(job, record, unsettled or job.unsaved_reason)

    def _conclude(self, job: Job, record: EndRecord, unsettled: str = "") -> None:
        """Take a job's end for what it is. unsettled: why what it wrote is not in the folder."""
        actions = self.pool.job_ended(job.number)
        if job.phase is Phase.CANCELLED:
            self._results.record(job, Outcome(0, SIGKILL, "GNU parallel ended it"), record, None, None)
        if job.unwanted:
            self._results.drop(job)
        else:
            self._results.finish(job, outcomes.of_end(job, record, unsettled), record)
        self._act(actions)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.number, None)
        if job.spool is not None:
            job.spool.close()

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done_later)
        return task

    def _done_later(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "background work failed", "exception": error})

    def _notice_soon(self) -> None:
        """Say why jobs wait, if they still do in a moment."""
        if self._notice is None and not self.stopping and self.pool.queued and not self.pool.slots:
            self._notice = self._loop.call_later(WAIT_NOTICE_S, self._notice_now)

    def _notice_now(self) -> None:
        self._notice = None
        if self.stopping or self.pool.slots or not self.pool.queued:
            return
        why = self.waiting_for()
        jobs = words.counted(self.pool.queued, "job waits", "jobs wait")
        self._say(f"{jobs}: no worker is there" + (f" ({why})" if why else ""))
