"""Which workers and nodes are black holes. Together with the pool: see test_pool_black_holes."""

from itertools import count

import pytest

from womm.dispatch.blame import BLACK_HOLE_JOBS, Avoid, Blame, Leave, Trust


class Crashes:
    """Lives that crash one after the other, each under the job that started last."""

    def __init__(self):
        self.blame = Blame()
        self._starts = count(1)

    def crash(self, pod, node="", *jobs, poisoned=False):
        start = next(self._starts)
        verdicts = self.blame.crashed(
            pod, node, frozenset(jobs or [start]), latest=start, starts=start, poisoned=poisoned
        )
        self.blame.check()
        return verdicts


@pytest.fixture
def crashes():
    return Crashes()


def test_worker_without_a_node_leaves_after_crashes_under_different_jobs(crashes):
    assert [crashes.crash("a") for _ in range(BLACK_HOLE_JOBS - 1)] == [[]] * (BLACK_HOLE_JOBS - 1)
    assert crashes.crash("a") == [Leave("a", "it ended under 3 different jobs and finished none")]


def test_node_is_blamed_before_its_worker(crashes):
    assert [crashes.crash("a", "node") for _ in range(2)] == [[], []]
    assert crashes.crash("a", "node") == [
        Avoid("node", "its workers ended under 3 different jobs and finished none")
    ]
    assert crashes.blame.avoided == {"node"}
    assert crashes.crash("a", "node") == []


def test_crashes_under_one_job_blame_nobody(crashes):
    assert [crashes.crash("a", "node", 7) for _ in range(10)] == [[]] * 10


def test_lives_of_one_event_count_once(crashes):
    for pod in ("a", "b", "c"):
        assert (
            crashes.blame.crashed(pod, "node", frozenset([ord(pod)]), latest=3, starts=3, poisoned=False)
            == []
        )
    assert crashes.blame.avoided == set()


def test_life_whose_job_was_given_up_does_not_count_for_the_node(crashes):
    assert [crashes.crash(pod, "node", poisoned=True) for pod in "abc"] == [[], [], []]


def test_job_that_finishes_clears_its_worker_and_its_node(crashes):
    for _ in range(2):
        crashes.crash("a", "node")
    assert crashes.blame.works("a", "node") == []
    assert [crashes.crash("a", "node") for _ in range(2)] == [[], []]
    assert crashes.crash("a", "node") != []
    assert crashes.blame.works("b", "node") == [Trust("node", "a job has finished there")]
    assert crashes.blame.avoided == set()


def test_acquitted_node_is_used_again(crashes):
    for job in (1, 2, 3):
        crashes.crash("a", "node", job)
    assert crashes.blame.acquit({4}) == []
    assert crashes.blame.acquit({2}) == [Trust("node", "what ended its workers was the jobs")]
    assert crashes.blame.avoided == set()
