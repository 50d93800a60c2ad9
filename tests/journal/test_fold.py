"""A journal folded: pods, jobs, status, and what a resume can use."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.samples import ALL, JOB_ENDED, JOB_STARTED, STARTED
from womm.journal.events import (
    JobLost,
    OutputRef,
    PodGone,
    PodLeft,
    PodReady,
    PodStarted,
    TaskCleaned,
    TaskEnded,
)
from womm.journal.fold import TaskStatus, fold, results_for_resume, status_of


@given(st.lists(st.sampled_from(ALL)))
def test_fold_any_order_never_raises(events):
    state = fold(events)
    status_of(state, coordinator_alive=False, pods_alive=0)
    results_for_resume(state)
    state.ended_jobs()


def test_fold_pods_that_come_back_are_live():
    first, second = PodStarted(1.0, "pod-0", 1, 10, "a"), PodStarted(3.0, "pod-0", 2, 11, "b")
    state = fold([first, PodReady(1.5, "pod-0", 1), PodGone(2.0, "pod-0", 1, "crash", ""), second])
    assert state.live_instances() == [second]
    assert state.all_instances() == [first, second]
    assert state.pods["pod-0"].instances[1].ready
    assert not state.pods["pod-0"].instances[2].ready
    assert fold([PodLeft(1.0, "pod-1", "x")]).pods["pod-1"].left is not None


def test_fold_a_lost_job_runs_again():
    state = fold(
        [
            JOB_STARTED,
            JobLost(1.5, 7, 1, "pod-0", "crash"),
            replace(JOB_STARTED, attempt=2, pod="pod-1", time=1.6),
            replace(JOB_ENDED, attempt=2, pod="pod-1"),
        ]
    )
    job = state.jobs[7]
    assert (job.lost, job.attempt, job.pod, job.command) == (1, 2, "pod-1", JOB_STARTED.command)
    assert job.ended is not None


def test_ended_jobs_are_in_the_order_of_their_end():
    state = fold([replace(JOB_ENDED, job=1, time=5.0), replace(JOB_ENDED, job=2, time=4.0), JOB_STARTED])
    assert [job.job for job in state.ended_jobs()] == [2, 1]


ENDED = TaskEnded(3.0, 0, 1, 0)


@pytest.mark.parametrize(
    ("events", "alive", "pods", "status"),
    [
        ([STARTED], True, 1, TaskStatus.RUNNING),
        ([STARTED], True, 0, TaskStatus.RUNNING),
        ([STARTED], False, 1, TaskStatus.ORPHANED),
        ([STARTED], False, 0, TaskStatus.ORPHANED),
        ([STARTED, ENDED], True, 1, TaskStatus.COMPLETE),
        ([STARTED, ENDED], False, 0, TaskStatus.COMPLETE),
        ([STARTED, ENDED], False, 1, TaskStatus.ORPHANED),
        ([STARTED, ENDED, TaskCleaned(4.0)], False, 0, TaskStatus.CLEANED),
        ([STARTED, TaskCleaned(4.0)], True, 0, TaskStatus.CLEANED),
        ([], False, 0, TaskStatus.ORPHANED),
    ],
)
def test_status_of_follows_the_guide(events, alive, pods, status):
    assert status_of(fold(events), coordinator_alive=alive, pods_alive=pods) is status


def test_results_for_resume_are_whole_outputs_only():
    state = fold([JOB_STARTED, JOB_ENDED])
    assert results_for_resume(state) == {(7, JOB_STARTED.command): JOB_ENDED}
    for ended in (
        replace(JOB_ENDED, seq=None),
        replace(JOB_ENDED, out=OutputRef(inline="aGkK", size=3, cut=True)),
        replace(JOB_ENDED, out=None),
        replace(JOB_ENDED, out_bytes=4),
        replace(JOB_ENDED, err=OutputRef(cut=True)),
    ):
        started = replace(JOB_STARTED, seq=ended.seq)
        assert results_for_resume(fold([started, ended])) == {}
    assert results_for_resume(fold([JOB_STARTED])) == {}
    nothing = replace(JOB_ENDED, out_bytes=0, out=None, err=None, exit=3)
    assert results_for_resume(fold([JOB_STARTED, nothing])) == {(7, JOB_STARTED.command): nothing}
