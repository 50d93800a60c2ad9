"""The pool's decisions about workers and nodes on which every job crashes. Each test checks all actions."""

from itertools import pairwise

import pytest

from tests.dispatch.pools import Watched, starts
from womm.cluster.base import Loss
from womm.dispatch.blame import BLACK_HOLE_JOBS, Avoid, Leave, Trust
from womm.dispatch.pool import CRASH_LIMIT, GiveUp, Lost, Start

# ---- black holes


def fall(pool, finish):
    """Let the worker `hole` take jobs until it leaves, the others finish them when `finish`."""
    taken, given_up = set(), []
    for _ in range(3 * CRASH_LIMIT):
        pool.ready("hole")
        taken |= {job for job in pool.running if pool.where(job) == "hole"}
        actions = pool.gone("hole")
        given_up += [action for action in actions if isinstance(action, GiveUp)]
        if any(isinstance(action, Leave) for action in actions):
            return taken, given_up
        if finish:
            for job in pool.running:
                pool.job_ended(job)
    raise AssertionError("it never left")


def test_black_hole_takes_3_jobs_and_leaves_the_pool():
    pool = Watched(good=1)
    for job in range(1, 1001):
        pool.submit(job)
    taken, given_up = fall(pool, finish=True)
    assert len(taken) == BLACK_HOLE_JOBS
    assert given_up == []


def test_black_hole_beside_busy_workers_takes_3_jobs_and_fails_none():
    pool = Watched(good=1)
    for job in range(1, 1001):
        pool.submit(job)
    taken, given_up = fall(pool, finish=False)
    assert len(taken) == BLACK_HOLE_JOBS
    assert given_up == []


def test_worker_that_finishes_jobs_is_no_black_hole():
    pool = Watched()
    for job in range(1, 40):
        pool.submit(job)
    for _ in range(12):
        pool.ready("a")
        pool.job_ended(pool.running[0])
        actions = pool.gone("a")
        assert [type(action) for action in actions] == [Lost]


def test_worker_that_is_removed_again_and_again_is_no_black_hole():
    pool = Watched()
    for job in range(1, 10):
        pool.submit(job)
    for _ in range(20):
        pool.ready("a", 3)
        assert all(isinstance(action, Lost) for action in pool.gone("a", Loss.REMOVED))


# ---- black holes that are nodes


FINISHED = "a job has finished there"


def spread(*nodes, slots=1):
    """A pool with a worker for each of these nodes: pod-0, pod-1, ..."""
    pool = Watched()
    for number, node in enumerate(nodes):
        assert pool.ready(f"pod-{number}", slots, node) == []
    return pool


def bad_node(pool, pods, jobs, finish=True):
    """Have every worker of the node `bad` crash under whatever it gets, `pods` of them, each replaced by
    one of another name after two lives; end the others' jobs when `finish`. Return the jobs that bad
    workers took, in order, what else happened, and which pods are there in the end."""
    for job in range(1, jobs + 1):
        pool.submit(job)
    fresh = iter(range(1000))
    there = {f"bad-{next(fresh)}": 1 for _ in range(pods)}
    for pod in there:
        pool.ready(pod, 1, "bad")
    taken, others = [], []
    for _ in range(20 * CRASH_LIMIT):
        for pod in list(there):
            running = [job for job in pool.running if pool.where(job) == pod]
            if not running:
                continue
            taken += running
            others += [action for action in pool.gone(pod) if not isinstance(action, Lost | Start)]
            life = there.pop(pod) + 1
            successor, life = (pod, life) if life < 3 else (f"bad-{next(fresh)}", 1)
            there[successor] = life
            others += [action for action in pool.ready(successor, 1, "bad") if not isinstance(action, Start)]
        for job in pool.running if finish else ():
            if pool.where(job) not in there:
                pool.job_ended(job)
    return taken, others, list(there)


@pytest.mark.parametrize("finish", [True, False], ids=["others finish", "others are busy"])
def test_black_hole_node_takes_3_jobs_whatever_its_pods_are_called_and_none_fails(finish):
    pool = spread("well")
    taken, others, there = bad_node(pool, pods=1, jobs=1000, finish=finish)
    assert taken == ([2, 3, 4] if not finish else taken)
    assert len(taken) == len(set(taken)) == BLACK_HOLE_JOBS
    assert others == [Avoid("bad", "its workers ended under 3 different jobs and finished none")]
    assert pool.usable == ["pod-0"]
    assert pool.workers == ["pod-0", *there]
    assert pool.slots == 1


def test_black_hole_node_of_many_idle_pods_gets_no_job_twice():
    """The others are busy all the time: without their nodes a job would go from one bad pod to the next."""
    pool = spread("well", "well too")
    taken, others, _ = bad_node(pool, pods=4, jobs=100, finish=False)
    assert len(taken) == len(set(taken))
    assert [type(action) for action in others] == [Avoid]


def test_workers_of_one_node_that_end_at_the_same_time_are_one_event():
    """Its container runtime is restarted, say: that is no black hole."""
    pool = spread(*["node"] * 8, "other")
    for job in range(1, 19):
        pool.submit(job)
    for pod in range(8):
        assert not any(isinstance(action, Avoid) for action in pool.gone(f"pod-{pod}"))
    for pod in range(8):
        pool.ready(f"pod-{pod}", 1, "node")
    assert len(pool.usable) == 9


def fall_thrice(pool, pod, node):
    """Have a worker crash under three jobs; return what the third crash led to."""
    actions: list[object] = []
    for _ in range(BLACK_HOLE_JOBS):
        assert not any(isinstance(action, Avoid | Leave) for action in actions)
        actions = pool.gone(pod)
        pool.ready(pod, 1, node)
    return [action for action in actions if not isinstance(action, Lost | Start)]


def test_avoided_node_is_used_again_when_a_job_that_ran_there_finishes():
    pool = spread("node", "node", "other")
    for job in range(1, 10):
        pool.submit(job)
    ((long, _),) = [(job, pool.where(job)) for job in pool.running if pool.where(job) == "pod-1"]
    assert [type(action) for action in fall_thrice(pool, "pod-0", "node")] == [Avoid]
    assert pool.usable == ["pod-2"]
    trust, *rest = pool.job_ended(long)
    assert trust == Trust("node", FINISHED)
    assert {pod for _, pod in starts(rest)} == {"pod-0", "pod-1"}
    assert pool.slots == 3
    pool.check()


def test_avoided_node_is_used_again_when_its_worker_outlives_a_job_that_runs_out_of_memory():
    pool = spread("node", "node", "other")
    for job in range(1, 10):
        pool.submit(job)
    (job,) = [job for job in pool.running if pool.where(job) == "pod-1"]
    fall_thrice(pool, "pod-0", "node")
    assert Trust("node", FINISHED) in pool.job_out_of_memory(job)
    pool.check()


def test_finished_job_of_any_worker_of_a_node_speaks_for_it():
    pool = spread("node", "node", "other")
    for job in range(1, 40):
        pool.submit(job)
    for _ in range(9):
        told = [*pool.gone("pod-0"), *pool.ready("pod-0", 1, "node")]
        told += pool.job_ended(next(job for job in pool.running if pool.where(job) == "pod-1"))
        told = [action for action in told if not isinstance(action, Lost | Start)]
        if told:
            break
        pool.check()
    assert [type(action) for action in told] == [Leave]  # where others do well it is the worker
    assert pool.usable == ["pod-1", "pod-2", "pod-0"]


def test_only_node_is_used_whatever_is_known_of_it():
    """A single-node cluster: jobs are given up one by one, as those of any worker, and nothing waits."""
    pool = Watched()
    taken, others, there = bad_node(pool, pods=2, jobs=20)
    assert pool.queued == 0
    assert pool.running == []
    assert sorted(a.job for a in others if isinstance(a, GiveUp)) == list(range(1, 21))
    assert len(taken) == 20 * CRASH_LIMIT
    assert sum(isinstance(action, Avoid) for action in others) == 1
    assert sorted(pool.usable) == sorted(there)


def test_worker_of_an_avoided_node_does_not_leave_for_what_its_node_is_blamed_for():
    pool = spread("node")
    for job in range(1, 10):
        pool.submit(job)
    told = []
    for _ in range(9 * CRASH_LIMIT):
        told += [*pool.gone("pod-0"), *pool.ready("pod-0", 1, "node")]
    kinds = [type(action) for action in told if not isinstance(action, Lost | Start)]
    assert kinds.count(Avoid) == 1
    assert kinds.count(GiveUp) == len(kinds) - 1 == 9


def test_avoided_node_is_used_when_the_last_worker_elsewhere_goes_until_there_is_one():
    pool = spread("node", "other")
    for job in range(1, 10):
        pool.submit(job)
    fall_thrice(pool, "pod-0", "node")
    pool.worker_paused("pod-1")
    assert pool.usable == ["pod-1"]  # it may be back, or be lost, within a minute
    actions = pool.gone("pod-1", Loss.REMOVED)
    assert [action.pod for action in actions if isinstance(action, Start)] == ["pod-0"]
    assert pool.usable == ["pod-0"]
    assert len(pool.ready("pod-2", 1, "other")) == 1
    assert pool.usable == ["pod-2"]
    assert {type(action) for action in pool.job_ended(pool.running[0])} <= {Start, Trust}
    pool.check()


def test_pod_that_comes_to_an_avoided_node_gets_no_jobs_and_one_elsewhere_does():
    pool = spread("node", "other")
    for job in range(1, 10):
        pool.submit(job)
    fall_thrice(pool, "pod-0", "node")
    assert pool.ready("new", 4, "node") == []
    assert len(starts(pool.ready("newer", 2, "third"))) == 2
    assert pool.slots == 3


def test_job_that_must_run_in_a_worker_of_an_avoided_node_does():
    pool = spread("node", "other")
    for job in range(1, 10):
        pool.submit(job)
    fall_thrice(pool, "pod-0", "node")
    assert starts(pool.submit(99, "pod-0")) == [(99, "pod-0")]


def test_local_jobslots_are_elsewhere_and_never_avoided():
    pool = spread("node", "")
    for job in range(1, 10):
        pool.submit(job)
    assert [type(action) for action in fall_thrice(pool, "pod-0", "node")] == [Avoid]
    assert pool.usable == ["pod-1"]
    other = spread("node", "")
    for job in range(1, 10):
        other.submit(job)
    assert [type(action) for action in fall_thrice(other, "pod-1", "")] == [Leave]
    assert sorted(other.usable) == ["pod-0", "pod-1"]  # the cluster takes it out


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("nodes", [["a"], ["a", "a"], ["a", "a", "b", "b"], ["a", "b", "c"]], ids="".join)
def test_poison_job_makes_no_node_a_black_hole(nodes, slots):
    """Nothing else finishes but what it has to wait for, so that hardly anything speaks for a node."""
    pool = spread(*nodes, slots=slots)
    for job in range(1, 20):
        pool.submit(job)
    actions = []
    for _ in range(CRASH_LIMIT):
        while (pod := pool.where(1)) is None:
            assert all(isinstance(action, Start) for action in pool.job_ended(pool.running[0]))
        actions = pool.gone(pod)
        assert not any(isinstance(action, Avoid | Leave) for action in actions)
        pool.ready(pod, slots, nodes[int(pod.removeprefix("pod-"))])
    assert GiveUp(1, pod, Loss.CRASHED, CRASH_LIMIT) in actions
    assert len(pool.usable) == len(nodes)


def test_poison_job_is_tried_on_all_nodes_before_one_gets_it_again():
    pool = spread("a", "a", "b", "c")
    pool.submit(1)
    tried = []
    while (pod := pool.where(1)) is not None:
        tried.append(pod)
        pool.gone(pod)
        pool.ready(pod, 1, {"pod-0": "a", "pod-1": "a", "pod-2": "b", "pod-3": "c"}[pod])
    nodes = ["aabc"[int(pod.removeprefix("pod-"))] for pod in tried]
    assert sorted(nodes[:3]) == ["a", "b", "c"]
    assert all(one != next_ for one, next_ in pairwise(nodes))


def test_poison_jobs_that_are_given_up_clear_the_nodes_that_they_ran_on():
    """Three in a row, and nothing else runs: both nodes look like black holes, until the jobs are named."""
    pool = spread("a", "b")
    for job in (1, 2, 3):
        pool.submit(job)
    told = []
    for _ in range(3 * CRASH_LIMIT):
        pod = pool.where(pool.running[0])
        told += [action for action in pool.gone(pod) if not isinstance(action, Lost | Start)]
        pool.ready(pod, 1, "ab"[int(pod.removeprefix("pod-"))])
    assert pool.queued == 0
    assert pool.running == []
    assert sorted(action.job for action in told if isinstance(action, GiveUp)) == [1, 2, 3]
    assert sorted(pool.usable) == ["pod-0", "pod-1"]
    assert pool.slots == 2
    avoided = [action.node for action in told if isinstance(action, Avoid)]
    assert avoided
    assert sorted(avoided) == sorted(action.node for action in told if isinstance(action, Trust))


def test_idle_workers_that_crash_say_nothing_of_their_node():
    pool = spread("node", "other")
    for _ in range(10):
        assert pool.gone("pod-0") == []
        assert pool.ready("pod-0", 1, "node") == []
