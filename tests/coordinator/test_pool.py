"""The pool's decisions: tables, and any order of events. Every action is looked at: nothing else happened."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from womm.cluster.base import Loss
from womm.coordinator.pool import (
    BLACK_HOLE_JOBS,
    CRASH_LIMIT,
    OOM_LIMIT,
    GiveUp,
    Leave,
    Lost,
    Pool,
    Start,
)


class Watched(Pool):
    """The real pool; each call's actions must be told with `expect` before the next one."""

    def __init__(self, **workers: int) -> None:
        super().__init__()
        self.instances: dict[str, int] = {}
        for pod, slots in workers.items():
            assert self.ready(pod, slots) == []

    def ready(self, pod, slots=1):
        self.instances[pod] = self.instances.get(pod, 0) + 1
        actions = self.worker_ready(pod, self.instances[pod], slots)
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
    assert pool.attempts(1) == 2
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
    pool.run_once(1)
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


def test_run_once_job_is_given_up_at_the_first_loss_of_any_kind():
    for loss in Loss:
        pool = Watched(a=1, b=1)
        pool.submit(1)
        pool.run_once(1)
        pool.run_once(99)
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


# ---- any order of events


PODS = st.sampled_from(["a", "b", "c"])


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
        self.once_jobs: set[int] = set()
        self.pins: dict[int, str | None] = {}
        self.crashed_on: dict[int, str] = {}

    def apply(self, actions):
        for action in actions:
            if isinstance(action, Start):
                pinned = self.waiting.pop(action.job)
                assert pinned in (None, action.pod)
                assert action.pod in self.there
                assert action.pod not in self.paused
                assert action.instance == self.instances[action.pod]
                self.attempt[action.job] = self.attempt.get(action.job, 0) + 1
                assert action.attempt == self.attempt[action.job]
                self.running[action.job] = action.pod
                used = sum(pod == action.pod for pod in self.running.values())
                assert used <= self.there[action.pod]
            elif isinstance(action, Leave):
                assert action.pod not in self.there
            else:
                raise AssertionError(action)

    @rule(slots=st.integers(1, 4), pod=PODS)
    def ready(self, pod, slots):
        if pod not in self.there:
            self.instances[pod] = self.instances.get(pod, 0) + 1
            self.there[pod] = slots
            self.apply(self.pool.worker_ready(pod, self.instances[pod], slots))

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
        del self.running[job]
        self.apply(self.pool.job_ended(job))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def run_once(self, data):
        job = data.draw(st.sampled_from(sorted(self.running)))
        self.once_jobs.add(job)
        self.pool.run_once(job)

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
            once = action.job in self.once_jobs
            if isinstance(action, Lost):
                assert not once
                assert action.attempt == self.attempt[action.job]
                self.waiting[action.job] = self.pins[action.job]
                if loss is not Loss.REMOVED:
                    self.crashed_on[action.job] = pod
            else:
                assert isinstance(action, GiveUp)
                assert once or action.times in (CRASH_LIMIT, OOM_LIMIT)
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
        assert self.pool.slots == sum(self.there.values())
        assert all(self.pool.where(job) == pod for job, pod in self.running.items())

    @invariant()
    def no_slot_idles_while_a_job_could_use_it(self):
        for pod, slots in self.there.items():
            if pod not in self.paused and slots > sum(where == pod for where in self.running.values()):
                for job, pinned in self.waiting.items():
                    avoids = pinned is None and self.crashed_on.get(job) == pod and len(self.there) > 1
                    assert pinned not in (None, pod) or avoids


TestAnyOrder = AnyOrder.TestCase
