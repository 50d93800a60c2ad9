"""The pool under test."""

from womm.cluster.base import Loss
from womm.dispatch.pool import Pool, Start


class Watched(Pool):
    """The real pool, which checks itself after each of these calls."""

    def __init__(self, **workers: int) -> None:
        super().__init__()
        self.instances: dict[str, int] = {}
        for pod, slots in workers.items():
            assert self.ready(pod, slots) == []

    def ready(self, pod, slots=1, node=""):
        self.instances[pod] = self.instances.get(pod, 0) + 1
        actions = self.worker_ready(pod, self.instances[pod], slots, node)
        self.check()
        return actions

    def gone(self, pod, loss=Loss.CRASHED):
        actions = self.worker_gone(pod, loss)
        self.check()
        return actions


def starts(actions):
    """(job, pod) of actions that are starts and nothing else."""
    assert all(isinstance(action, Start) for action in actions), actions
    return [(action.job, action.pod) for action in actions]
