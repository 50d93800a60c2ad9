"""What all parts of a dispatcher share: jobs, workers, links, and the ways to the user and the journal."""

from collections.abc import Callable

from womm.background import Background
from womm.cluster.base import Cluster, Pod
from womm.dispatch.job import Job
from womm.dispatch.pool import Pool
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

    def __repr__(self) -> str:
        return f"<DispatchState {self.pool!r}, {len(self.jobs)} jobs, {len(self.links)} links>"

    def share_of(self, pod: str) -> SharedFolder | None:
        """The share of a pod that needs it: one on this machine has the folder itself."""
        known = self.pods.get(pod)
        return self._share if known is not None and not known.pid else None

    def forget(self, job: Job) -> None:
        self.jobs.pop(job.number, None)
        if job.spool is not None:
            job.spool.close()
