"""The pool's decisions: tables, and any order of events. Each test checks all actions."""

from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from womm.cluster.base import Loss
from womm.dispatch.blame import BLACK_HOLE_JOBS, Avoid, Leave, Trust
from womm.dispatch.pool import CRASH_LIMIT, OOM_LIMIT, GiveUp, Lost, Pool, Start


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


# ---- jobs to workers


def test_submit_without_workers_queues():
    pool = Watched()
    assert pool.submit(1) == []
    assert pool.submit(2) == []
    assert (pool.queued, pool.running, pool.slots, pool.where(1)) == (2, [], 0, None)
    assert pool.ready("a", 2) == [Start(1, "a", 1, 1), Start(2, "a", 1, 1)]
    assert (pool.queued, pool.running, pool.slots, pool.where(1)) == (0, [1, 2], 2, "a")
    assert repr(pool) == "<Pool 1 workers, 2 running, 0 queued>"


def test_submit_goes_to_the_emptiest_worker():
    pool = Watched(a=1, b=3, c=2)
    assert [starts(pool.submit(n)) for n in range(1, 7)] == [
        [(1, "b")],
        [(2, "b")],
        [(3, "c")],
        [(4, "a")],
        [(5, "b")],
        [(6, "c")],
    ]
    assert pool.submit(7) == []


def test_job_ended_starts_the_next_in_order_of_submission():
    pool = Watched(a=1)
    pool.submit(1)
    assert [pool.submit(n) for n in (2, 3)] == [[], []]
    assert pool.job_ended(1) == [Start(2, "a", 1, 1)]
    assert pool.job_ended(2) == [Start(3, "a", 1, 1)]
    assert pool.job_ended(3) == []
    assert pool.job_ended(3) == []  # unknown by now
    pool.check()


def test_job_ended_of_a_queued_job_changes_nothing():
    pool = Watched()
    pool.submit(1)
    assert pool.job_ended(2) == []
    pool.check()


@pytest.mark.parametrize("running", [False, True])
def test_withdraw_takes_queued_jobs_only(running):
    pool = Watched(**({"a": 1} if running else {}))
    pool.submit(1)
    assert pool.withdraw(1) is not running
    assert pool.withdraw(99) is False
    pool.check()
    assert pool.queued == 0
    assert pool.running == ([1] if running else [])


def test_withdraw_a_job_that_waits_again_after_its_worker_went():
    pool = Watched(a=1)
    pool.submit(1)
    pool.gone("a")
    assert pool.withdraw(1)
    assert pool.ready("a") == []


# ---- pinned jobs


def test_pinned_job_waits_for_its_worker_and_others_pass_it():
    pool = Watched(a=1, b=1)
    assert starts(pool.submit(1, "a")) == [(1, "a")]
    assert pool.submit(2, "a") == []
    assert pool.submit(3, "no such") == []
    assert starts(pool.submit(4)) == [(4, "b")]
    assert pool.submit(5) == []
    assert starts(pool.job_ended(4)) == [(5, "b")]
    assert starts(pool.job_ended(1)) == [(2, "a")]
    pool.check()
    assert pool.queued == 1


def test_pinned_job_runs_again_in_the_same_worker_only():
    pool = Watched(a=1, b=1)
    pool.submit(1, "a")
    assert pool.gone("a", Loss.REMOVED) == [Lost(1, 1, "a", Loss.REMOVED)]
    assert pool.ready("a") == [Start(1, "a", 2, 2)]


def test_worker_left_gives_up_the_jobs_pinned_to_it_and_no_others():
    pool = Watched(a=1, b=1)
    pool.submit(1, "a")
    pool.submit(2, "b")
    for job, pod in ((3, "a"), (4, "b"), (5, "a"), (6, None)):
        assert pool.submit(job, pod) == []
    assert pool.worker_left("a") == [GiveUp(3, "a", Loss.REMOVED, 1), GiveUp(5, "a", Loss.REMOVED, 1)]
    pool.check()
    assert pool.running == [1, 2]
    assert starts(pool.job_ended(2)) == [(4, "b")]
    assert starts(pool.job_ended(4)) == [(6, "b")]


def test_worker_left_lets_jobs_that_are_not_bound_to_it_run_anywhere():
    pool = Watched(a=1, b=1)
    pool.submit(1, "a", bound=False)
    pool.submit(2, "a", bound=False)
    pool.submit(3, "a")
    assert pool.gone("a", Loss.REMOVED) == [Lost(1, 1, "a", Loss.REMOVED)]
    assert pool.worker_left("a") == [GiveUp(3, "a", Loss.REMOVED, 1), Start(1, "b", 1, 2)]
    assert starts(pool.job_ended(1)) == [(2, "b")]
    pool.check()


# ---- cut links


def test_paused_worker_keeps_its_jobs_and_gets_none():
    pool = Watched(a=2, b=1)
    assert starts(pool.submit(1)) == [(1, "a")]
    pool.worker_paused("a")
    assert starts(pool.submit(2)) == [(2, "b")]
    assert pool.submit(3) == []
    assert pool.slots == 3
    assert pool.job_ended(2) == [Start(3, "b", 1, 1)]
    assert pool.submit(4) == []
    assert starts(pool.worker_resumed("a")) == [(4, "a")]
    pool.check()


def test_paused_worker_whose_job_ends_stays_paused():
    """End records on their way arrive before the link is up again."""
    pool = Watched(a=1)
    pool.submit(1)
    pool.submit(2)
    pool.worker_paused("a")
    assert pool.job_ended(1) == []
    assert pool.worker_resumed("a") == [Start(2, "a", 1, 1)]


def test_paused_and_resumed_of_a_worker_that_is_gone_change_nothing():
    pool = Watched(a=1)
    pool.gone("a")
    pool.worker_paused("a")
    assert pool.worker_resumed("a") == []
    assert pool.worker_gone("a", Loss.CRASHED) == []


# ---- lost workers


@pytest.mark.parametrize("loss", list(Loss))
def test_lost_jobs_run_again_elsewhere_before_all_others(loss):
    pool = Watched(a=2, b=1)
    assert [starts(pool.submit(n)) for n in (1, 2, 3)] == [[(1, "a")], [(2, "a")], [(3, "b")]]
    assert [pool.submit(n) for n in (4, 5)] == [[], []]
    assert pool.gone("a", loss) == [Lost(1, 1, "a", loss), Lost(2, 1, "a", loss)]
    assert pool.job_ended(3) == [Start(1, "b", 1, 2)]
    assert pool.job_ended(1) == [Start(2, "b", 1, 2)]
    assert pool.job_ended(2) == [Start(4, "b", 1, 1)]


def test_lost_job_starts_at_once_where_a_slot_is_free():
    pool = Watched(a=1, b=1)
    pool.submit(1)
    assert pool.gone("a") == [Lost(1, 1, "a", Loss.CRASHED), Start(1, "b", 1, 2)]


def test_crashed_job_prefers_another_worker_than_the_one_it_crashed():
    pool = Watched(a=1)
    pool.submit(1)
    pool.gone("a")
    pool.submit(2)
    pool.submit(3)
    assert starts(pool.ready("b", 3)) == [(1, "b"), (2, "b"), (3, "b")]
    other = Watched(a=1, b=3)
    other.submit(1)  # b
    assert other.gone("b") == [Lost(1, 1, "b", Loss.CRASHED), Start(1, "a", 1, 2)]
    other.gone("a")
    assert starts(other.ready("a")) == [(1, "a")]  # the only one: better than none


def test_removed_worker_is_no_fault_of_the_job():
    pool = Watched()
    pool.submit(1)
    for number in range(1, 50):
        assert pool.ready("a") == [Start(1, "a", number, number)]
        assert pool.gone("a", Loss.REMOVED) == [Lost(1, number, "a", Loss.REMOVED)]


def test_poison_job_is_given_up_after_5_crashes_and_one_worker_survives_it():
    pool = Watched()
    pool.submit(1)
    pool.submit(2)
    for number in range(1, CRASH_LIMIT):
        assert pool.ready("a") == [Start(1, "a", number, number)]
        assert pool.gone("a") == [Lost(1, number, "a", Loss.CRASHED)]
    assert pool.ready("a") == [Start(1, "a", CRASH_LIMIT, CRASH_LIMIT)]
    assert pool.gone("a") == [GiveUp(1, "a", Loss.CRASHED, CRASH_LIMIT)]
    assert pool.ready("a") == [Start(2, "a", CRASH_LIMIT + 1, 1)]
    assert pool.job_ended(2) == []


def test_poison_jobs_in_a_row_do_not_empty_the_pool():
    """Two of them end one worker ten times: under fewer different jobs than a black hole's."""
    pool = Watched()
    for job in (1, 2):
        pool.submit(job)
    left = []
    for _ in range(2 * CRASH_LIMIT):
        pool.ready("a")
        left += [action for action in pool.gone("a") if isinstance(action, Leave)]
    assert pool.queued == 0
    assert left == []


def crash_course(pool, poison, rounds=100):
    """Crash whatever worker has the poison job, end the jobs of the others, until all is done."""
    outcomes: dict[str, list[object]] = {"ended": [], "given up": [], "left": []}
    away: list[str] = []
    for _ in range(rounds):
        for pod in away:
            pool.ready(pod, 4)
        away = []
        pod = pool.where(poison)
        if pod is not None:
            for action in pool.gone(pod):
                if isinstance(action, GiveUp):
                    outcomes["given up"].append(action.job)
                if isinstance(action, Leave):
                    outcomes["left"].append(action.pod)
            if pod not in outcomes["left"]:
                away.append(pod)
        for job in pool.running:
            if pool.where(job) != pool.where(poison):
                pool.job_ended(job)
                outcomes["ended"].append(job)
        if not pool.running and not pool.queued:
            break
    return outcomes


def test_poison_job_among_others_in_workers_of_many_slots_empties_no_pool():
    pool = Watched(a=4, b=4, c=4, d=4)
    for job in range(1, 41):
        pool.submit(job)
    outcomes = crash_course(pool, poison=1)
    assert outcomes["left"] == []
    assert 1 in outcomes["given up"]
    assert sorted(outcomes["ended"] + outcomes["given up"]) == list(range(1, 41))


def test_oom_kills_end_the_job_at_the_second():
    pool = Watched()
    pool.submit(1)
    assert pool.ready("a") == [Start(1, "a", 1, 1)]
    assert pool.gone("a", Loss.OOM_KILLED) == [Lost(1, 1, "a", Loss.OOM_KILLED)]
    assert pool.ready("a") == [Start(1, "a", 2, 2)]
    assert pool.gone("a", Loss.OOM_KILLED) == [GiveUp(1, "a", Loss.OOM_KILLED, OOM_LIMIT)]
    assert pool.ready("a") == []


def test_job_out_of_memory_runs_again_elsewhere_and_its_worker_stays():
    pool = Watched(a=1, b=1)
    pool.submit(1)
    pool.submit(2)
    assert pool.submit(3) == []
    lost, start = pool.job_out_of_memory(1)
    assert lost == Lost(1, 1, "a", Loss.OOM_KILLED)
    assert start == Start(3, "a", 1, 1)  # not the same job in the same worker, while there is another
    pool.check()
    assert pool.workers == ["a", "b"]
    assert pool.job_ended(2) == [Start(1, "b", 1, 2)]
    assert pool.job_out_of_memory(1) == [GiveUp(1, "b", Loss.OOM_KILLED, OOM_LIMIT)]
    pool.check()
    assert pool.job_out_of_memory(1) == []  # forgotten
    assert pool.slots == 2


def test_job_out_of_memory_in_the_only_worker_runs_again_there():
    pool = Watched(a=1)
    pool.submit(1)
    assert pool.job_out_of_memory(1) == [Lost(1, 1, "a", Loss.OOM_KILLED), Start(1, "a", 1, 2)]
    pool.check()


def test_job_out_of_memory_counts_together_with_workers_that_went_the_same_way():
    pool = Watched()
    pool.submit(1)
    pool.ready("a")
    assert pool.gone("a", Loss.OOM_KILLED) == [Lost(1, 1, "a", Loss.OOM_KILLED)]
    pool.ready("a")
    assert pool.job_out_of_memory(1) == [GiveUp(1, "a", Loss.OOM_KILLED, OOM_LIMIT)]


def test_job_out_of_memory_that_may_run_only_once_is_given_up_at_once():
    pool = Watched(a=1)
    pool.submit(1)
    pool.forbid_retry(1)
    assert pool.job_out_of_memory(1) == [GiveUp(1, "a", Loss.OOM_KILLED, 1)]


def test_job_out_of_memory_of_a_paused_worker_waits_for_it():
    pool = Watched(a=1)
    pool.submit(1)
    pool.worker_paused("a")
    assert pool.job_out_of_memory(1) == [Lost(1, 1, "a", Loss.OOM_KILLED)]
    assert pool.worker_resumed("a") == [Start(1, "a", 1, 2)]


def test_job_out_of_memory_while_queued_changes_nothing():
    pool = Watched()
    pool.submit(1)
    assert pool.job_out_of_memory(1) == []
    assert pool.queued == 1


def test_losses_of_different_kinds_are_counted_apart():
    pool = Watched()
    pool.submit(1)
    kinds = [Loss.CRASHED] * (CRASH_LIMIT - 1) + [Loss.OOM_KILLED] * (OOM_LIMIT - 1) + [Loss.REMOVED] * 9
    for number, loss in enumerate(kinds, 1):
        assert len(pool.ready("a")) == 1
        assert pool.gone("a", loss) == [Lost(1, number, "a", loss)]
    pool.ready("a")
    assert pool.gone("a", Loss.CRASHED) == [GiveUp(1, "a", Loss.CRASHED, CRASH_LIMIT)]


def test_job_without_retry_is_given_up_at_the_first_loss_of_any_kind():
    for loss in Loss:
        pool = Watched(a=1, b=1)
        pool.submit(1)
        pool.forbid_retry(1)
        pool.forbid_retry(99)
        (action,) = pool.gone("a", loss)
        assert isinstance(action, GiveUp)
        assert (action.job, action.pod, action.loss) == (1, "a", loss)


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


# ---- any order of events


PODS = st.sampled_from(["a", "b", "c", "d"])
NODES = st.sampled_from(["", "n", "m"])


class AnyOrder(RuleBasedStateMachine):
    """Against a model that knows of each job only: queued, running where, or over."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool()
        self.number = 0
        self.instances: dict[str, int] = {}
        self.there: dict[str, int] = {}
        self.paused: set[str] = set()
        self.running: dict[int, str] = {}
        self.waiting: dict[int, str | None] = {}
        self.attempt: dict[int, int] = {}
        self.no_retry_jobs: set[int] = set()
        self.pins: dict[int, str | None] = {}
        self.nodes: dict[str, str] = {}
        self.avoided: set[str] = set()
        self.blamed: dict[str, set[int]] = {}
        """The jobs under which workers of a node have crashed since one finished there."""
        self.crashed: dict[int, list[tuple[str, str]]] = {}
        """Pod and node of each worker that was lost under a job for no known reason."""
        self.last_node: dict[int, str] = {}
        """The node of the last of these, unless it was lost in another way since."""
        self.starved: dict[int, set[str]] = {}
        """Pods that went in another way that may be a job's doing."""

    def usable(self):
        return [p for p in self.there if self.nodes[p] not in self.avoided] or list(self.there)

    def elsewhere(self, node):
        """A worker that may get jobs and is not on this node."""
        return any(self.nodes[pod] != node for pod in self.usable())

    def apply(self, actions):
        for action in actions:
            if isinstance(action, Start):
                pinned = self.waiting.pop(action.job)
                assert pinned in (None, action.pod)
                assert action.pod in self.there
                assert action.pod not in self.paused
                if pinned is None:
                    assert action.pod in self.usable()
                    if node := self.last_node.get(action.job):
                        assert self.nodes[action.pod] != node or not self.elsewhere(node)
                assert action.instance == self.instances[action.pod]
                self.attempt[action.job] = self.attempt.get(action.job, 0) + 1
                assert action.attempt == self.attempt[action.job]
                self.running[action.job] = action.pod
                used = sum(pod == action.pod for pod in self.running.values())
                assert used <= self.there[action.pod]
            elif isinstance(action, Leave):
                assert action.pod not in self.there
            elif isinstance(action, Avoid):
                assert action.node not in self.avoided
                assert len(self.blamed[action.node]) >= BLACK_HOLE_JOBS
                self.avoided.add(action.node)
            elif isinstance(action, Trust):
                self.avoided.remove(action.node)
            else:
                raise AssertionError(action)

    @rule(slots=st.integers(1, 4), pod=PODS, node=NODES)
    def ready(self, pod, slots, node):
        if pod not in self.there:
            self.instances[pod] = self.instances.get(pod, 0) + 1
            self.there[pod] = slots
            node = self.nodes.setdefault(pod, node)  # a worker of that name comes again where it was
            self.apply(self.pool.worker_ready(pod, self.instances[pod], slots, node))

    @rule(pinned=st.none() | PODS)
    def submit(self, pinned):
        self.number += 1
        self.waiting[self.number] = pinned
        self.pins[self.number] = pinned
        self.apply(self.pool.submit(self.number, pinned))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data):
        job = data.draw(st.sampled_from(sorted(self.running)))
        node = self.nodes[self.running.pop(job)]
        self.blamed.pop(node, None)
        self.apply(self.pool.job_ended(job))
        assert node not in self.avoided

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def run_out_of_memory(self, data):
        job = data.draw(st.sampled_from(sorted(self.running)))
        pod = self.running.pop(job)
        self.blamed.pop(self.nodes[pod], None)
        told, *actions = self.pool.job_out_of_memory(job)
        assert isinstance(told, Lost | GiveUp)
        assert (told.job, told.pod, told.loss) == (job, pod, Loss.OOM_KILLED)
        if isinstance(told, Lost):
            self.waiting[job] = self.pins[job]
            self.starved.setdefault(job, set()).add(pod)
            self.last_node.pop(job, None)
        self.apply(actions)
        assert self.nodes[pod] not in self.avoided

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def forbid_retry(self, data):
        job = data.draw(st.sampled_from(sorted(self.running)))
        self.no_retry_jobs.add(job)
        self.pool.forbid_retry(job)

    @rule(pod=PODS)
    def pause(self, pod):
        self.pool.worker_paused(pod)
        if pod in self.there:
            self.paused.add(pod)

    @rule(pod=PODS)
    def resume(self, pod):
        self.paused.discard(pod)
        self.apply(self.pool.worker_resumed(pod))

    @rule(pod=PODS, loss=st.sampled_from(Loss))
    def gone(self, pod, loss):
        known = self.there.pop(pod, None)
        self.paused.discard(pod)
        its = sorted(job for job, where in self.running.items() if where == pod)
        actions = self.pool.worker_gone(pod, loss)
        if known is None:
            assert actions == []
            return
        told = [action for action in actions[: len(its)] if isinstance(action, Lost | GiveUp)]
        assert [action.job for action in told] == its
        for action in told:
            del self.running[action.job]
            assert (action.pod, action.loss) == (pod, loss)
            once = action.job in self.no_retry_jobs
            if isinstance(action, Lost):
                assert not once
                assert action.attempt == self.attempt[action.job]
                self.waiting[action.job] = self.pins[action.job]
                if loss is Loss.CRASHED:
                    self.crashed.setdefault(action.job, []).append((pod, self.nodes[pod]))
                    self.last_node[action.job] = self.nodes[pod]
                elif loss is not Loss.REMOVED:
                    self.starved.setdefault(action.job, set()).add(pod)
                    self.last_node.pop(action.job, None)
            else:
                assert isinstance(action, GiveUp)
                assert once or action.times in (CRASH_LIMIT, OOM_LIMIT)
        if loss is Loss.CRASHED:
            self.blamed.setdefault(self.nodes[pod], set()).update(its)
        self.apply(actions[len(its) :])

    @rule(pod=PODS)
    def left(self, pod):
        if pod in self.there:
            return
        stuck = {job for job, pinned in self.waiting.items() if pinned == pod}
        actions = self.pool.worker_left(pod)
        assert all(isinstance(action, GiveUp) for action in actions)
        assert {action.job for action in actions if isinstance(action, GiveUp)} == stuck
        for job in stuck:
            del self.waiting[job]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data):
        job = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.pool.withdraw(job)
        del self.waiting[job]

    @invariant()
    def agree(self):
        self.pool.check()
        assert sorted(self.pool.running) == sorted(self.running)
        assert self.pool.queued == len(self.waiting)
        assert sorted(self.pool.workers) == sorted(self.there)
        assert sorted(self.pool.usable) == sorted(self.usable())
        assert self.pool.slots == sum(self.there[pod] for pod in self.usable())
        assert all(self.pool.where(job) == pod for job, pod in self.running.items())

    @invariant()
    def no_slot_idles_while_a_job_could_use_it(self):
        for pod, slots in self.there.items():
            if pod not in self.paused and slots > sum(where == pod for where in self.running.values()):
                for job, pinned in self.waiting.items():
                    assert pinned != pod
                    assert pinned is not None or pod not in self.usable() or self.shuns(job, pod)

    def shuns(self, job, pod):
        crashed = {place for places in self.crashed.get(job, []) for place in places} - {""}
        places = crashed | self.starved.get(job, set())
        return len(self.usable()) > 1 and bool(places & {pod, self.nodes[pod]})


TestAnyOrder = AnyOrder.TestCase
