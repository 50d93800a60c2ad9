"""Which job runs in which worker, and what a lost worker means for both. Pure decisions.

Strategy: methods take what happened and return the actions that follow; the caller carries them
out in order. A job is queued, running in one worker, or forgotten. A worker that is lost gives its
jobs back to the front of the queue: they ran first, and GNU parallel -k waits for them.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from womm.cluster.base import Loss

CRASH_LIMIT = 5
"""A job whose worker crashed this often for no known reason counts as failed (as HyperQueue)."""
OOM_LIMIT = 2
"""A second OOM kill of the same job is the job's own doing."""
BLACK_HOLE_JOBS = 3
"""A worker that crashed under this many different jobs and finished none leaves the pool."""


@dataclass(frozen=True, slots=True)
class Start:
    """Run `job` in worker `pod` as its `attempt`-th try (from 1)."""

    job: int
    pod: str
    instance: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Lost:
    """`job` lost its worker, or what it wrote, in its `attempt`-th try and is queued again."""

    job: int
    attempt: int
    pod: str
    loss: Loss


@dataclass(frozen=True, slots=True)
class GiveUp:
    """`job` lost its worker and is forgotten: too often (`times`), or it may run only once."""

    job: int
    pod: str
    loss: Loss
    times: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The worker `pod` is a black hole: ask the cluster for none of that name any more."""

    pod: str
    reason: str


Action: TypeAlias = Start | Lost | GiveUp | Leave


@dataclass(slots=True)
class _Worker:
    pod: str
    instance: int
    slots: int
    running: set[int] = field(default_factory=set)
    paused: bool = False

    @property
    def free(self) -> int:
        return 0 if self.paused else self.slots - len(self.running)


@dataclass(slots=True)
class _Job:
    pinned: str | None
    attempt: int = 0
    pod: str | None = None
    crashes: int = 0
    ooms: int = 0
    crashed_on: str | None = None
    once: bool = False


class Pool:
    """The workers of a task and the jobs handed to it. For one thread; never blocks."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}
        self._jobs: dict[int, _Job] = {}
        self._queue: deque[int] = deque()
        self._strikes: dict[str, list[frozenset[int]]] = {}
        """The jobs of each life in a row that ended by a crash and finished none, by worker."""

    def __repr__(self) -> str:
        return f"<Pool {len(self._workers)} workers, {len(self.running)} running, {len(self._queue)} queued>"

    @property
    def slots(self) -> int:
        """Jobslots of the workers that are there, busy or not."""
        return sum(worker.slots for worker in self._workers.values())

    @property
    def workers(self) -> list[str]:
        return list(self._workers)

    @property
    def running(self) -> list[int]:
        return [number for number, job in self._jobs.items() if job.pod is not None]

    @property
    def queued(self) -> int:
        return len(self._queue)

    def where(self, job: int) -> str | None:
        """The worker in which a job runs now."""
        known = self._jobs.get(job)
        return known.pod if known else None

    def attempts(self, job: int) -> int:
        return self._jobs[job].attempt

    def worker_ready(self, pod: str, instance: int, slots: int) -> list[Action]:
        self._workers[pod] = _Worker(pod, instance, slots)
        return self._assign()

    def worker_paused(self, pod: str) -> None:
        """Its link is cut: it keeps its jobs and gets no new ones."""
        if worker := self._workers.get(pod):
            worker.paused = True

    def worker_resumed(self, pod: str) -> list[Action]:
        if worker := self._workers.get(pod):
            worker.paused = False
        return self._assign()

    def worker_gone(self, pod: str, loss: Loss) -> list[Action]:
        """The worker and every process in it have ended: its jobs run again, within limits."""
        worker = self._workers.pop(pod, None)
        if worker is None:
            return []
        actions: list[Action] = []
        again: list[int] = []
        for number in sorted(worker.running):
            job = self._jobs[number]
            job.pod = None
            times, limit = self._count(job, loss)
            if job.once or (limit and times >= limit):
                del self._jobs[number]
                actions.append(GiveUp(number, pod, loss, times))
                continue
            job.crashed_on = pod if loss is not Loss.REMOVED else job.crashed_on
            actions.append(Lost(number, job.attempt, pod, loss))
            again.append(number)
        self._queue.extendleft(reversed(again))
        if loss is Loss.CRASHED:
            lives = self._strikes.setdefault(pod, [])
            lives.append(frozenset(worker.running))
            jobs = frozenset().union(*lives)
            if len(jobs) >= BLACK_HOLE_JOBS <= len(lives) and not lives[-1].intersection(*lives[-3:]):
                reason = f"it ended under {len(jobs)} different jobs and finished none"
                actions.append(Leave(pod, reason))
        return actions + self._assign()

    def job_out_of_memory(self, job: int) -> list[Action]:
        """The kernel killed this job and spared its worker: it runs again, within limits."""
        return self._job_lost(job, Loss.OOM_KILLED)

    def job_void(self, job: int) -> list[Action]:
        """It has ended, and the share has lost what it wrote: it runs again."""
        return self._job_lost(job, Loss.DISK)

    def _job_lost(self, job: int, loss: Loss) -> list[Action]:
        known = self._jobs.get(job)
        if known is None or known.pod is None:
            return []
        pod, known.pod = known.pod, None
        self._workers[pod].running.discard(job)
        self._strikes.pop(pod, None)
        times, limit = self._count(known, loss)
        if known.once or (limit and times >= limit):
            del self._jobs[job]
            return [GiveUp(job, pod, loss, times), *self._assign()]
        if loss is Loss.OOM_KILLED:
            known.crashed_on = pod
        self._queue.appendleft(job)
        return [Lost(job, known.attempt, pod, loss), *self._assign()]

    def worker_left(self, pod: str) -> list[Action]:
        """No worker of that name comes any more: jobs that must run in it cannot."""
        stuck = [n for n in self._queue if self._jobs[n].pinned == pod]
        actions: list[Action] = []
        for number in stuck:
            self._queue.remove(number)
            del self._jobs[number]
            actions.append(GiveUp(number, pod, Loss.REMOVED, 1))
        return actions

    def submit(self, job: int, pinned: str | None = None) -> list[Action]:
        """Queue a job; `pinned` names the one worker that it must run in."""
        self._jobs[job] = _Job(pinned)
        self._queue.append(job)
        return self._assign()

    def run_once(self, job: int) -> None:
        """From now on, do not run this job again: give it up when its worker is lost."""
        if known := self._jobs.get(job):
            known.once = True

    def job_ended(self, job: int) -> list[Action]:
        """Its end record is in: the slot is free, the worker works, the job is forgotten."""
        known = self._jobs.pop(job, None)
        if known is None or known.pod is None:
            return []
        self._strikes.pop(known.pod, None)
        self._workers[known.pod].running.discard(job)
        return self._assign() if self._queue else []

    def withdraw(self, job: int) -> bool:
        """Forget a job that is still queued. False: it runs, or is unknown."""
        known = self._jobs.get(job)
        if known is None or known.pod is not None:
            return False
        del self._jobs[job]
        self._queue.remove(job)
        return True

    def check(self) -> None:
        """Assert what must hold between calls. For tests."""
        for pod, worker in self._workers.items():
            assert len(worker.running) <= worker.slots
            assert all(self._jobs[number].pod == pod for number in worker.running)
        assert sorted(self._queue) == sorted(n for n, job in self._jobs.items() if job.pod is None)
        ran = {n for worker in self._workers.values() for n in worker.running}
        assert ran == {n for n, job in self._jobs.items() if job.pod is not None}

    @staticmethod
    def _count(job: _Job, loss: Loss) -> tuple[int, int]:
        """Count one loss; return how often it was and how often it may be (0: without limit)."""
        if loss is Loss.CRASHED:
            job.crashes += 1
            return job.crashes, CRASH_LIMIT
        if loss is Loss.OOM_KILLED:
            job.ooms += 1
            return job.ooms, OOM_LIMIT
        return 0, 0

    def _assign(self) -> list[Action]:
        actions: list[Action] = []
        held: list[int] = []
        while self._queue:
            number = self._queue.popleft()
            job = self._jobs[number]
            worker = self._choose(job)
            if worker is None:
                held.append(number)
                if job.pinned is None and job.crashed_on is None:
                    break  # there is no room for anybody
                continue
            job.pod, job.attempt = worker.pod, job.attempt + 1
            worker.running.add(number)
            actions.append(Start(number, worker.pod, worker.instance, job.attempt))
        self._queue.extendleft(reversed(held))
        return actions

    def _choose(self, job: _Job) -> _Worker | None:
        """The emptiest worker with a free slot; not the one that just crashed under this job, be the
        others ever so busy: it may be a black hole."""
        if job.pinned is not None:
            worker = self._workers.get(job.pinned)
            return worker if worker is not None and worker.free > 0 else None
        best: _Worker | None = None
        for worker in self._workers.values():
            if worker.free > 0 and (best is None or worker.free > best.free):
                if worker.pod == job.crashed_on and len(self._workers) > 1:
                    continue
                best = worker
        return best
