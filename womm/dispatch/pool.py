"""Which job runs in which worker, and what a lost worker means for both. Pure decisions.

Strategy: methods take what happened and return the actions that follow; the caller carries them
out in order. A job is queued, running in one worker, or forgotten. A worker that is lost gives its
jobs back to the front of the queue: they ran first, and GNU parallel -k waits for them. `blame` decides
which workers and nodes get no more jobs.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from womm.cluster.base import Loss
from womm.dispatch.blame import Avoid, Blame, Leave, Trust

CRASH_LIMIT = 5
"""A job whose worker crashed this often for no known reason counts as failed (as HyperQueue)."""
OOM_LIMIT = 2
"""A second OOM kill of the same job is the job's own doing."""


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
    """`job` lost its worker and is forgotten: it did so too often (`times`), or may run only once."""

    job: int
    pod: str
    loss: Loss
    times: int


Action: TypeAlias = Start | Lost | GiveUp | Leave | Avoid | Trust


@dataclass(slots=True)
class _Worker:
    pod: str
    instance: int
    slots: int
    node: str
    order: int
    """Of workers that have as much room, the first one is filled first."""
    running: set[int] = field(default_factory=set)
    paused: bool = False

    @property
    def free(self) -> int:
        return 0 if self.paused else self.slots - len(self.running)


class _Room:
    """Finds the worker with most free slots, without a look at all of them.

    A heap with an entry for each change of a worker's room. Those that no longer hold are dropped when they
    come to the top, and all of them when they have become too many.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, _Worker]] = []

    def changed(self, worker: _Worker, workers: dict[str, _Worker]) -> None:
        """Its room may have changed. `workers` are all that count."""
        if (free := worker.free) > 0:
            heappush(self._heap, (-free, worker.order, worker))
        if len(self._heap) > 4 * len(workers) + 64:
            self._heap = [
                (-worker.free, worker.order, worker) for worker in workers.values() if worker.free > 0
            ]
            heapify(self._heap)

    def most(self, workers: dict[str, _Worker]) -> _Worker | None:
        while self._heap:
            free, _, worker = self._heap[0]
            if worker.free == -free and workers.get(worker.pod) is worker:
                return worker
            heappop(self._heap)
        return None


@dataclass(slots=True)
class _Job:
    pinned: str | None
    bound: bool
    attempt: int = 0
    pod: str | None = None
    crashes: int = 0
    ooms: int = 0
    crashed_on: set[str] = field(default_factory=set)
    """Workers that were lost under it, and their nodes if those may be why."""
    crashed_last: tuple[str, ...] = ()
    """The last such worker, and its node if that may be why."""
    nodes: set[str] = field(default_factory=set)
    """All nodes where workers crashed under it."""
    no_retry: bool = False
    started: int = 0
    """The number of its last start among all starts of the pool."""

    def crashed(self, *places: str) -> None:
        self.crashed_on.update(places)
        self.crashed_last = places


class Pool:
    """The workers of a task and the jobs handed to it. For one thread; never blocks."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}
        self._jobs: dict[int, _Job] = {}
        self._queue: deque[int] = deque()
        self._room = _Room()
        self._blame = Blame()
        self._starts = 0
        self._joined = 0

    def __repr__(self) -> str:
        return f"<Pool {len(self._workers)} workers, {len(self.running)} running, {len(self._queue)} queued>"

    @property
    def slots(self) -> int:
        """Jobslots of the workers that may get jobs, busy or not."""
        return sum(worker.slots for worker in self._usable())

    @property
    def workers(self) -> list[str]:
        return list(self._workers)

    @property
    def usable(self) -> list[str]:
        """The workers that may get jobs: those of avoided nodes only when there are no others."""
        return [worker.pod for worker in self._usable()]

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

    def worker_ready(self, pod: str, instance: int, slots: int, node: str = "") -> list[Action]:
        self._joined += 1
        self._workers[pod] = worker = _Worker(pod, instance, slots, node, self._joined)
        self._room.changed(worker, self._workers)
        return self._assign()

    def worker_paused(self, pod: str) -> None:
        """Its link is cut: it keeps its jobs and gets no new ones."""
        if worker := self._workers.get(pod):
            worker.paused = True

    def worker_resumed(self, pod: str) -> list[Action]:
        if worker := self._workers.get(pod):
            worker.paused = False
            self._room.changed(worker, self._workers)
        return self._assign()

    def worker_gone(self, pod: str, loss: Loss) -> list[Action]:
        """The worker and every process in it have ended: its jobs run again, within limits."""
        worker = self._workers.pop(pod, None)
        if worker is None:
            return []
        latest = max((self._jobs[number].started for number in worker.running), default=0)
        actions: list[Action] = []
        again: list[int] = []
        poison: set[int] = set()
        for number in sorted(worker.running):
            job = self._jobs[number]
            job.pod = None
            times, limit = _count(job, loss)
            if job.no_retry or (limit and times >= limit):
                del self._jobs[number]
                actions.append(GiveUp(number, pod, loss, times))
                if len(job.nodes | {worker.node}) > 1 and times >= CRASH_LIMIT:
                    poison.add(number)
                continue
            if loss is Loss.CRASHED:
                job.nodes.add(worker.node)
                job.crashed(pod, worker.node or pod)
            elif loss is not Loss.REMOVED:
                job.crashed(pod)
            actions.append(Lost(number, job.attempt, pod, loss))
            again.append(number)
        self._queue.extendleft(reversed(again))
        if loss is Loss.CRASHED:
            actions += self._blame.acquit(poison) if poison else []
            jobs = frozenset(worker.running)
            actions += self._blame.crashed(
                pod, worker.node, jobs, latest=latest, starts=self._starts, poisoned=bool(poison)
            )
        return actions + self._assign()

    def job_out_of_memory(self, job: int) -> list[Action]:
        """The kernel killed this job and spared its worker: it runs again, within limits."""
        return self._job_lost(job, Loss.OOM_KILLED)

    def job_output_lost(self, job: int) -> list[Action]:
        """The share has lost what this job wrote, and the job has ended: it runs again."""
        return self._job_lost(job, Loss.DISK)

    def _job_lost(self, job: int, loss: Loss) -> list[Action]:
        known = self._jobs.get(job)
        if known is None or known.pod is None:
            return []
        pod, known.pod = known.pod, None
        worker = self._workers[pod]
        worker.running.discard(job)
        self._room.changed(worker, self._workers)
        trust = self._blame.works(pod, worker.node)
        times, limit = _count(known, loss)
        if known.no_retry or (limit and times >= limit):
            del self._jobs[job]
            return [GiveUp(job, pod, loss, times), *trust, *self._assign()]
        if loss is Loss.OOM_KILLED:
            known.crashed(pod)
        self._queue.appendleft(job)
        return [Lost(job, known.attempt, pod, loss), *trust, *self._assign()]

    def worker_left(self, pod: str) -> list[Action]:
        """No worker of that name comes any more: jobs bound to it cannot run, others may anywhere."""
        actions: list[Action] = []
        for number in [n for n in self._queue if self._jobs[n].pinned == pod]:
            job = self._jobs[number]
            if not job.bound:
                job.pinned = None
                continue
            self._queue.remove(number)
            del self._jobs[number]
            actions.append(GiveUp(number, pod, Loss.REMOVED, 1))
        return actions + self._assign()

    def submit(self, job: int, pinned: str | None = None, *, bound: bool = True) -> list[Action]:
        """Queue a job. `pinned` names the one worker that it must run in: forever if it is `bound`, else as
        long as pods of that name come."""
        self._jobs[job] = _Job(pinned, bound)
        self._queue.append(job)
        return self._assign()

    def forbid_retry(self, job: int) -> None:
        """From now on, do not run this job again: give it up when its worker is lost."""
        if known := self._jobs.get(job):
            known.no_retry = True

    def job_ended(self, job: int) -> list[Action]:
        """Its end record is in: the slot is free, the worker works, the job is forgotten."""
        known = self._jobs.pop(job, None)
        if known is None or known.pod is None:
            return []
        worker = self._workers[known.pod]
        worker.running.discard(job)
        self._room.changed(worker, self._workers)
        trust = self._blame.works(worker.pod, worker.node)
        return [*trust, *self._assign()] if self._queue else [*trust]

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
        self._blame.check()
        most = max((worker.free for worker in self._workers.values()), default=0)
        best = self._room.most(self._workers)
        assert (best.free if best is not None else 0) == max(0, most)
        ran = {n for worker in self._workers.values() for n in worker.running}
        assert ran == {n for n, job in self._jobs.items() if job.pod is not None}

    def _assign(self) -> list[Action]:
        actions: list[Action] = []
        held: list[int] = []
        full = False
        while self._queue:
            number = self._queue.popleft()
            job = self._jobs[number]
            worker = None if full and job.pinned is None else self._choose(job)
            if worker is None:
                held.append(number)
                full = full or (job.pinned is None and not job.crashed_on)
                if full and not self._blame.avoided:
                    break  # no job finds room, not even one that must go to an avoided node
                continue
            self._starts += 1
            job.pod, job.attempt, job.started = worker.pod, job.attempt + 1, self._starts
            worker.running.add(number)
            self._room.changed(worker, self._workers)
            actions.append(Start(number, worker.pod, worker.instance, job.attempt))
        self._queue.extendleft(reversed(held))
        return actions

    def _choose(self, job: _Job) -> _Worker | None:
        """The emptiest worker with a free slot, of those that may have this job."""
        if job.pinned is not None:
            worker = self._workers.get(job.pinned)
            return worker if worker is not None and worker.free > 0 else None
        if not job.crashed_on and not self._blame.avoided:
            return self._room.most(self._workers)
        best: _Worker | None = None
        for worker in self._elsewhere(job):
            if worker.free > 0 and (best is None or worker.free > best.free):
                best = worker
        return best

    def _usable(self) -> Collection[_Worker]:
        workers = self._workers.values()
        if not self._blame.avoided:
            return workers
        return [worker for worker in workers if worker.node not in self._blame.avoided] or workers

    def _elsewhere(self, job: _Job) -> Collection[_Worker]:
        """The workers elsewhere than where workers crashed under this job, however busy they are.

        Such a place may be a black hole. A job that has been everywhere goes elsewhere than last time, at
        least to another worker.
        """
        usable = self._usable()
        for places in (job.crashed_on, job.crashed_last, job.crashed_last[:1]) if job.crashed_on else ():
            if others := [w for w in usable if not {w.pod, w.node} & {*places}]:
                return others
        return usable


def _count(job: _Job, loss: Loss) -> tuple[int, int]:
    """Count one loss; return how often it was and how often it may be (0: without limit)."""
    if loss is Loss.CRASHED:
        job.crashes += 1
        return job.crashes, CRASH_LIMIT
    if loss is Loss.OOM_KILLED:
        job.ooms += 1
        return job.ooms, OOM_LIMIT
    return 0, 0
