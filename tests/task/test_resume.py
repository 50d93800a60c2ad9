"""Which results of earlier runs are given again."""

from dataclasses import replace

import pytest

from tests.journal.samples import JOB_ENDED, STARTED, journal_of
from womm.journal.events import Event, JobStarted, OutputRef, TaskEnded, TaskEnding
from womm.journal.store import TaskStore
from womm.task.resume import INTERRUPTED, Earlier, interrupted_runs


@pytest.fixture
def store(tmp_path):
    return TaskStore(tmp_path / "tasks")


@pytest.fixture
def joblog(tmp_path):
    path = tmp_path / "jobs.log"
    path.write_text("Seq\tHost\n")
    return path


def run_of(store, joblog, task, *jobs, at=100.0, more=()):
    """Write a run's journal: `jobs` are ends, each with its start."""
    events: list[Event] = [replace(STARTED, task=task, time=at, joblog=str(joblog))]
    for ended in jobs:
        events.append(JobStarted(at, ended.job, ended.seq, ended.attempt, ended.pod, 1, f"echo {ended.seq}"))
        events.append(ended)
    journal_of(store, *events, *more, task=task)


def ended(seq, **changes):
    base = replace(
        JOB_ENDED,
        time=100.0,
        job=seq,
        seq=seq,
        exit=0,
        signal=0,
        out_bytes=2,
        err_bytes=0,
        out=OutputRef(inline="b2s=", size=2),  # ok
        err=None,
        reason="",
        replayed=False,
    )
    return replace(base, **changes)


def found(store, joblog, *, failed_again=False):
    """Return {seq: (exit, stdout)} of all results that would be given again."""
    earlier = Earlier(interrupted_runs(store, str(joblog)), failed_again=failed_again)
    results = {}
    for seq in range(20):
        kept = earlier.find(seq, f"echo {seq}")
        if kept is not None:
            results[seq] = (kept[0].exit, kept[1])
    return results


def test_results_of_a_killed_run_are_found_by_seq_and_command(store, joblog):
    run_of(store, joblog, "aaaaaaaa", ended(1), ended(2, exit=3))
    assert found(store, joblog) == {1: (0, b"ok"), 2: (3, b"ok")}
    earlier = Earlier(interrupted_runs(store, str(joblog)), failed_again=False)
    assert len(earlier) == 2
    assert earlier.tasks == ("aaaaaaaa",)
    assert earlier.find(1, "echo other") is None
    assert earlier.find(3, "echo 3") is None


def test_result_is_given_once(store, joblog):
    """What --retries tries again is to run."""
    run_of(store, joblog, "aaaaaaaa", ended(1, exit=1))
    earlier = Earlier(interrupted_runs(store, str(joblog)), failed_again=False)
    assert earlier.find(1, "echo 1") is not None
    assert earlier.find(1, "echo 1") is None


def test_resume_failed_runs_failures_again(store, joblog):
    run_of(store, joblog, "aaaaaaaa", ended(1), ended(2, exit=3))
    assert found(store, joblog, failed_again=True) == {1: (0, b"ok")}


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "its worker crashed 5 times under it", "exit": 255},
        {"signal": 15},
        {"out": OutputRef(inline="b2s=", size=2, cut=True)},
        {"out_bytes": 5},
        {"out": None},
        {"err_bytes": 1},
    ],
)
def test_results_that_are_not_whole_or_not_the_jobs_own_run_again(store, joblog, changes):
    run_of(store, joblog, "aaaaaaaa", ended(1, **changes), ended(2))
    assert found(store, joblog) == {2: (0, b"ok")}


@pytest.mark.parametrize("status", [0, 1, 101, 255])
def test_run_that_ended_regularly_is_the_joblogs_business(store, joblog, status):
    run_of(store, joblog, "aaaaaaaa", ended(1), more=[TaskEnded(101.0, status, 1, 0)])
    assert found(store, joblog) == {}


@pytest.mark.parametrize("status", INTERRUPTED)
def test_run_that_was_interrupted_counts(store, joblog, status):
    run_of(store, joblog, "aaaaaaaa", ended(1), more=[TaskEnded(101.0, status, 1, 0)])
    assert found(store, joblog) == {1: (0, b"ok")}


def test_failures_while_the_run_was_being_ended_run_again(store, joblog):
    run_of(
        store,
        joblog,
        "aaaaaaaa",
        ended(1, exit=130, time=199.5),
        ended(2, time=199.5),
        ended(3, exit=1, time=150.0),
        more=[TaskEnding(200.0, "SIGINT"), TaskEnded(201.0, 130, 3, 2)],
    )
    assert found(store, joblog) == {2: (0, b"ok"), 3: (1, b"ok")}


def test_runs_back_to_the_last_regular_end_count_and_none_before(store, joblog):
    run_of(store, joblog, "aaaaaaaa", ended(1), at=100.0)
    run_of(store, joblog, "bbbbbbbb", ended(2), at=200.0, more=[TaskEnded(201.0, 0, 1, 0)])
    run_of(store, joblog, "cccccccc", ended(3), at=300.0)
    run_of(store, joblog, "dddddddd", ended(4), at=400.0, more=[TaskEnded(401.0, 143, 1, 0)])
    assert found(store, joblog) == {3: (0, b"ok"), 4: (0, b"ok")}
    assert Earlier(interrupted_runs(store, str(joblog)), failed_again=False).tasks == ("cccccccc", "dddddddd")


def test_newest_result_of_a_job_wins_but_not_over_its_replay(store, joblog):
    run_of(store, joblog, "aaaaaaaa", ended(1, exit=1), ended(2), at=100.0)
    run_of(store, joblog, "bbbbbbbb", ended(1, exit=5), at=200.0)
    run_of(store, joblog, "cccccccc", ended(2, replayed=True, out=None), at=300.0)
    assert found(store, joblog) == {1: (5, b"ok"), 2: (0, b"ok")}


def test_other_joblogs_and_running_tasks_do_not_count(store, joblog, tmp_path):
    run_of(store, tmp_path / "other.log", "aaaaaaaa", ended(1))
    with store.create("bbbbbbbb", on_failure=print) as journal:
        journal.append(replace(STARTED, task="bbbbbbbb", joblog=str(joblog)))
        journal.append(JobStarted(1.0, 2, 2, 1, "pod", 1, "echo 2"))
        journal.append(ended(2))
        assert found(store, joblog) == {}
    assert found(store, joblog) == {2: (0, b"ok")}


@pytest.mark.parametrize("state", ["missing", "empty"])
def test_without_a_joblog_the_user_has_started_over(store, joblog, state):
    run_of(store, joblog, "aaaaaaaa", ended(1))
    if state == "missing":
        joblog.unlink()
    else:
        joblog.write_text("")
    assert interrupted_runs(store, str(joblog)) == []


def test_joblog_is_the_same_file_by_any_name(store, joblog, monkeypatch):
    run_of(store, joblog, "aaaaaaaa", ended(1))
    monkeypatch.chdir(joblog.parent)
    assert len(interrupted_runs(store, "jobs.log")) == 1
    (joblog.parent / "link").symlink_to(joblog)
    assert len(interrupted_runs(store, "link")) == 1
