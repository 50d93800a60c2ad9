"""The pool's decisions when a worker is lost or a job runs out of memory. Each test checks all actions."""

import pytest

from tests.dispatch.pools import Watched, starts
from womm.cluster.base import Loss
from womm.dispatch.blame import Leave
from womm.dispatch.pool import CRASH_LIMIT, OOM_LIMIT, GiveUp, Lost, Start


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
