"""The pool's decisions: which job goes to which worker. Each test checks all actions."""

import pytest

from tests.dispatch.pools import Watched, starts
from womm.cluster.base import Loss
from womm.dispatch.pool import GiveUp, Lost, Start

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
