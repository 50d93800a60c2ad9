"""kill -9 of the coordinator: what stays behind, and how --resume goes on."""

import json
import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.faults.tasks import (
    agents,
    carriers,
    joblog_lines,
    nothing_left,
    started,
    wait_for,
    wait_for_end,
    womm,
)
from tests.link.wires import sleepers, unique_sleep
from tests.soak import count
from womm.journal.events import JobEnded
from womm.journal.store import TaskStore

NAP = unique_sleep(4)


@pytest.mark.slow
def test_killed_at_random_instants_and_resumed_nothing_is_missing(womm_home, tmp_path):
    """Repeated until complete. A job runs again only if no earlier journal has its result."""
    jobs, kills = count(400, 5000), count(6, 200)
    chance = random.Random(count(5, 6))
    lines = b"".join(b"%d\n" % n for n in range(1, jobs + 1))
    executions = tmp_path / "executions"
    executions.touch()
    command = f"echo {{}} >>{executions}; sleep 0.01; echo result {{}}"
    words = ["parallel", "--kube-pods", "4", "--orphan-timeout", "2s", "--", "--joblog", "log", "--resume"]
    outputs = []
    again = 0
    for number in range(kills + 1):
        before = Counter(executions.read_text().split())
        journalled = {event.seq for task in TaskStore.default().tasks() for event in _ends(task)}
        with started(tmp_path, *words, command, stdin=lines, name=f"run{number}") as run:
            if number < kills:
                task = run.task
                time.sleep(chance.uniform(0.0, 1.5))  # the random instant
                run.process.kill()
                run.wait()
                orphans = carriers(f"WOMM_TASK={task}")
            else:
                assert run.wait(1800) == 0, run.err
                orphans = []
        wait_for_end(orphans, "orphans")
        outputs.append(run.out)
        after = Counter(executions.read_text().split())
        for seq in after:
            ran_again = after[seq] - before[seq] > 0 and before[seq] > 0
            again += ran_again
            assert not (ran_again and int(seq) in journalled), f"job {seq} had a result already"
        if run.process.returncode == 0:
            break
    results = Counter(line for out in outputs for line in out.splitlines() if line.startswith(b"result "))
    missing = {b"result %d" % n for n in range(1, jobs + 1)} - set(results)
    assert not missing
    log = Counter(int(line[0]) for line in joblog_lines(tmp_path / "log"))
    assert set(log) == set(range(1, jobs + 1))
    assert again <= 4 * kills


def _ends(record):
    return [event for event in record.events() if isinstance(event, JobEnded)]


def test_killed_coordinator_agents_and_jobs_end_within_the_orphan_timeout(womm_home, tmp_path):
    command = "trap '' HUP; (sleep 1000; :) & sleep 1000"
    words = ["parallel", "--kube-pods", "3", "--orphan-timeout", "2s", "--", command, ":::", "1", "2", "3"]
    with started(tmp_path, *words) as run:
        task = run.task
        wait_for(lambda: len(carriers(f"WOMM_TASK={task}", command="sleep\0001000")) == 6, "the jobs")
        left = carriers(f"WOMM_TASK={task}")
        run.process.kill()
        run.wait()
        status = json.loads(womm(tmp_path, "status", "-o", "json").stdout)
        assert [(one["id"], one["status"]) for one in status["tasks"]] == [(task, "ORPHANED")]
        wait_for_end(left, "after the orphan timeout", 30)
        assert carriers(f"WOMM_TASK={task}") == []
        # GNU parallel went with its coordinator: it would log the jobs as failed.
        assert not carriers(f"WOMM_SHIM={womm_home.runtime}")
        status = json.loads(womm(tmp_path, "status", "-o", "json").stdout)
        assert [one["status"] for one in status["tasks"]] == ["ORPHANED"]
        done = womm(tmp_path, "finish", task)
        assert done.returncode == 0, done.stderr
        nothing_left(task, womm_home.runtime)
        assert json.loads(womm(tmp_path, "status", "-o", "json").stdout)["tasks"] == []


@pytest.mark.parametrize(
    "command, jobs",
    [
        ("setsid sleep 1000 & sleep 1000", 2),
        ("(sleep 1000 &) ; trap '' TERM; sleep 1000; sleep 1000", 2),
        (f"(env -i sleep {NAP} &) ; sleep 1000", 1),
    ],
    ids=["own session", "deaf", "no environment"],
)
def test_killed_coordinator_finish_ends_what_is_left_at_once(womm_home, tmp_path, command, jobs):
    words = ["parallel", "--kube-pods", "2", "--", command, ":::", "1", "2"]
    with started(tmp_path, *words) as run:
        task = run.task
        wait_for(lambda: len(carriers(f"WOMM_TASK={task}", command="sleep\0001000")) == 2 * jobs, "the jobs")
        if jobs == 1:
            wait_for(lambda: len(sleepers(NAP)) == 2, "the others")
        run.process.kill()
        run.wait()
        assert len(agents(task)) == 2
        done = womm(tmp_path, "finish", "last")
        assert done.returncode == 0, done.stderr
        nothing_left(task, womm_home.runtime)
        assert womm(tmp_path, "finish", task).returncode == 0
        escaped = sleepers(NAP)
        for pid in escaped:
            os.kill(pid, signal.SIGKILL)
        assert escaped == []


def test_killed_coordinator_leaves_a_joblog_without_false_failures(womm_home, tmp_path):
    command = "if [ {} = 1 ]; then echo one; else sleep 1000; fi"
    words = ["parallel", "--kube-pods", "2", "--orphan-timeout", "1s", "--", "--joblog", "log", command]
    with started(tmp_path, *words, ":::", "1", "2", "3") as run:
        wait_for(
            lambda: (
                len((tmp_path / "log").read_text().splitlines()) == 2 if (tmp_path / "log").exists() else 0
            ),
            "the first job's line",
        )
        left = carriers(f"WOMM_TASK={run.task}")
        run.process.kill()
        run.wait()
        wait_for_end(left, "orphans", 30)
        (line,) = joblog_lines(tmp_path / "log")
        assert (line[0], line[6]) == ("1", "0")


def test_killed_gnu_parallel_is_told_and_cleaned(womm_home, tmp_path):
    with started(tmp_path, "parallel", "--kube-pods", "2", "--", "sleep 1000", ":::", "1", "2") as run:
        task = run.task
        wait_for(lambda: len(carriers(f"WOMM_TASK={task}", command="sleep\0001000")) == 2, "the jobs")
        parallels = [
            pid
            for pid in carriers(f"WOMM_TASK={task}", command="parallel\0-j")
            if os.getpgid(pid) == run.process.pid
        ]
        for pid in parallels:
            os.kill(pid, signal.SIGKILL)
        assert run.wait() == 254
        assert "GNU parallel was ended by SIGKILL" in run.err
        nothing_left(task, womm_home.runtime)


def test_gnu_parallel_and_its_children_can_be_found_when_it_was_killed(tmp_path):
    """It starts processes of its own, to see how many there may be: they sleep for hours."""
    with started(
        tmp_path, "parallel", "--kube-pods", "1", "--", "touch begun; sleep 1000", ":::", "1"
    ) as run:
        wait_for((tmp_path / "begun").exists, "the job")
        assert carriers(f"WOMM_TASK={run.task}", command="parallel\0-j")
