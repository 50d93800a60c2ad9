"""What all parts of a dispatcher share: jobs, workers, links, and the ways to the user and the journal."""

import asyncio
from collections import deque
from collections.abc import Callable

from womm.background import Background
from womm.cluster.base import Cluster, Pod
from womm.dispatch.job import Job, JobSink, Outcome
from womm.dispatch.pool import Pool
from womm.journal.events import Event
from womm.journal.store import Journal
from womm.link.client import Link
from womm.share.base import SharedFolder


class DispatchState:
    """The state of one task's dispatcher.

    `pods` and `links` have the workers whose agents are dialled, by the pods' names; `pool` has those of them
    that may get jobs. `jobs` has every job without a reported result, by its number.
    """

    def __init__(
        self, cluster: Cluster, journal: Journal, say: Callable[[str], None], share: SharedFolder | None
    ) -> None:
        self.cluster = cluster
        self.journal = journal
        self.say = say
        self.pool = Pool()
        self.jobs: dict[int, Job] = {}
        self.pods: dict[str, Pod] = {}
        self.links: dict[str, Link] = {}
        self.background = Background()
        self.on_change: Callable[[], None] = lambda: None
        self.stopping = False
        self._share = share
        self._answers: deque[tuple[JobSink, Outcome]] = deque()
        self._flush_due = False

    def __repr__(self) -> str:
        return f"<DispatchState {self.pool!r}, {len(self.jobs)} jobs, {len(self.links)} links>"

    def share_of(self, pod: str) -> SharedFolder | None:
        """The share of a pod that needs it: one on this machine has the folder itself."""
        known = self.pods.get(pod)
        return self._share if known is not None and not known.pid else None

    def note(self, event: Event) -> None:
        """Journal what happened to a job: before any frame leaves, and before the next answer."""
        self.journal.append_soon(event)
        self._flush_soon()

    def answer(self, sink: JobSink, outcome: Outcome) -> None:
        """Tell a job's sink its outcome, when the journal has all that was noted until now."""
        self._answers.append((sink, outcome))
        self._flush_soon()

    def flush(self) -> None:
        """Journal what was noted, in one piece, and give the answers."""
        self._flush_due = False
        self.journal.flush()
        try:
            while self._answers:
                sink, outcome = self._answers.popleft()
                sink.ended(outcome)
        finally:
            if self._answers:
                self._flush_soon()

    def _flush_soon(self) -> None:
        """Once per turn of the event loop, however much happened in it."""
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def forget(self, job: Job) -> None:
        self.jobs.pop(job.number, None)
        if job.spool is not None:
            job.spool.close()
