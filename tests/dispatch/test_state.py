"""What all parts of a dispatcher share."""

from tests.dispatch.jobs import running_job
from tests.dispatch.memory_agents import MemoryCluster
from tests.dispatch.shares import HeldShare
from tests.dispatch.sinks import Sink
from womm.cluster.base import Pod
from womm.dispatch.spool import Spool
from womm.dispatch.state import DispatchState


def state_with(share):
    state = DispatchState(MemoryCluster(), None, print, share)  # type: ignore[arg-type]
    state.pods = {"far": Pod("far", 1, 1), "here": Pod("here", 1, 1, pid=7)}
    return state


def test_share_is_that_of_pods_elsewhere():
    share = HeldShare()
    state = state_with(share)
    assert [state.share_of(pod) for pod in ("far", "here", "gone")] == [share, None, None]
    assert state_with(None).share_of("far") is None


def test_forget_closes_the_spool_and_does_so_once(tmp_path):
    state = state_with(None)
    spool = Spool(tmp_path, memory_bytes=1, cap_bytes=100)
    spool.append(b"more than memory")
    job = running_job(Sink(), spool)
    state.jobs[job.number] = job
    state.forget(job)
    state.forget(job)
    assert state.jobs == {} and "memory" in repr(spool)
