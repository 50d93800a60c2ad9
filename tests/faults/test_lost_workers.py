"""Workers that are killed, jobs that kill their workers, workers that fail at every job."""

import os
import re
import signal
from collections import Counter

import pytest

from tests.faults.tasks import Killer, agents, joblog_lines, nothing_left, started, wait_for
from tests.link.wires import PERL
from tests.soak import SOAK, count
from womm.journal.events import JobEnded, JobStarted, PodGone

JOBS = count(2000, 20_000)
KILL_EVERY_S = 2.0 if SOAK else 0.8
PODS = 4


def check_executions(path, jobs, kills, slots=1):
    """Each job once, but for those of killed workers, which say that they are not the first."""
    attempts: dict[str, list[int]] = {}
    for line in path.read_text().splitlines():
        seq, attempt = line.split()
        attempts.setdefault(seq, []).append(int(attempt))
    assert set(attempts) == {str(seq) for seq in range(1, jobs + 1)}
    executions = sum(map(len, attempts.values()))
    assert executions - jobs <= kills * slots
    for seq, numbers in attempts.items():
        assert len(set(numbers)) == len(numbers), f"job {seq}: attempts {numbers}"
        assert sum(number == 1 for number in numbers) <= 1
    return executions


@pytest.mark.slow
def test_workers_killed_every_job_has_one_result(womm_home, tmp_path):
    lines = b"".join(b"%d\n" % n for n in range(1, JOBS + 1))
    command = "echo {} $WOMM_ATTEMPT >>executions; echo result {}"
    words = ["parallel", "--kube-pods", str(PODS), "--", "-k", "--joblog", "log", command]
    with started(tmp_path, *words, stdin=lines) as run:
        with Killer(run.task, KILL_EVERY_S) as killer:
            assert run.wait(1800) == 0, run.err
        assert run.out == b"".join(b"result %d\n" % n for n in range(1, JOBS + 1))
        log = joblog_lines(tmp_path / "log")
        assert sorted(int(line[0]) for line in log) == list(range(1, JOBS + 1))
        assert {(line[6], line[7]) for line in log} == {("0", "0")}
        assert killer.kills >= 2
        check_executions(tmp_path / "executions", JOBS, killer.kills)
        ends = Counter(event.seq for event in run.events(JobEnded))
        assert set(ends.values()) == {1}
        assert len(ends) == JOBS
        gone = [event for event in run.events(PodGone) if event.cause == "crashed"]
        # The last kill may come when the task has ended already.
        assert killer.kills - 1 <= len(gone) <= killer.kills
        assert all("killed by SIGKILL" in event.detail for event in gone)


@pytest.mark.slow
def test_workers_with_several_slots_killed_every_job_has_one_result(womm_home, tmp_path):
    jobs = count(300, 5000)
    lines = b"".join(b"%d\n" % n for n in range(1, jobs + 1))
    command = "echo {} $WOMM_ATTEMPT >>executions; sleep 0.05; echo {}"
    words = ["parallel", "--kube-pods", "2", "--procs-per-pod", "2", "--", "--joblog", "log", command]
    with started(tmp_path, *words, stdin=lines) as run:
        with Killer(run.task, 2.5) as killer:
            assert run.wait(1800) == 0, run.err
        assert sorted(map(int, run.out.split())) == list(range(1, jobs + 1))
        check_executions(tmp_path / "executions", jobs, killer.kills, slots=2)


@pytest.mark.slow
def test_workers_killed_with_pipe_every_record_is_read_once_and_whole(womm_home, tmp_path):
    records = count(60_000, 1_000_000)
    lines = b"".join(b"%d\n" % n for n in range(records))
    command = "sleep 0.1; cat"
    words = ["parallel", "--kube-pods", str(PODS), "--"]
    with started(tmp_path, *words, "-k", "--pipe", "--block", "8k", command, stdin=lines) as run:
        with Killer(run.task, KILL_EVERY_S) as killer:
            assert run.wait(1800) == 0, run.err
        assert run.out == lines
        assert killer.kills >= 1


@pytest.mark.slow
@pytest.mark.parametrize("option", ["-u", "--line-buffer"])
def test_workers_killed_with_live_output_the_repeated_part_is_not_shown(womm_home, tmp_path, option):
    jobs = count(40, 400)
    command = "for i in 1 2 3 4 5 6; do echo {}.$i; sleep 0.05; done"
    words = ["parallel", "--kube-pods", str(PODS), "--", option, command]
    lines = b"".join(b"%d\n" % n for n in range(1, jobs + 1))
    with started(tmp_path, *words, stdin=lines) as run:
        with Killer(run.task, KILL_EVERY_S) as killer:
            assert run.wait(1800) == 0, run.err
        assert sorted(run.out.split()) == sorted(
            b"%d.%d" % (n, i) for n in range(1, jobs + 1) for i in range(1, 7)
        )
        assert killer.kills >= 1


@pytest.mark.parametrize("second", ["something else", "less"])
def test_live_output_that_a_second_run_does_not_repeat_is_a_failure(womm_home, tmp_path, second):
    again = "echo another line; echo and more" if second == "something else" else ":"
    command = f"if [ $WOMM_ATTEMPT = 1 ]; then echo first {{}}; sleep 1000; else {again}; fi"
    with started(tmp_path, "parallel", "--kube-pods", "1", "--", "-u", command, ":::", "x") as run:
        wait_for(lambda: run.out == b"first x\n", "the first run's output")
        (agent,) = agents(run.task)
        os.kill(agent, signal.SIGKILL)
        assert run.wait() == 1
        assert run.out == b"first x\n"
        words = "something else than before" if second == "something else" else "less than before"
        assert re.search(
            rf"womm: job 1 \(.*\) failed: run again after a lost worker, it printed {words}", run.err
        )


@pytest.mark.slow
def test_poison_job_is_named_after_5_crashes_and_the_others_finish(womm_home, tmp_path):
    command = "echo {} >>executions; if [ {} = 7 ]; then kill -9 $PPID; sleep 1000; fi; echo {}"
    lines = b"".join(b"%d\n" % n for n in range(1, 41))
    words = ["parallel", "--kube-pods", "3", "--", "--joblog", "log", command]
    with started(tmp_path, *words, stdin=lines) as run:
        assert run.wait() == 1, run.err
        assert sorted(map(int, run.out.split())) == [n for n in range(1, 41) if n != 7]
        runs = Counter((tmp_path / "executions").read_text().split())
        assert runs.pop("7") == 5
        assert set(runs.values()) == {1}
        assert re.search(r"womm: job 7 \(.*\) failed: its worker crashed 5 times under it", run.err)
        (failed,) = [line for line in joblog_lines(tmp_path / "log") if line[6] != "0"]
        assert (failed[0], failed[6]) == ("7", "255")
        assert "leaves the pool" not in run.err


@pytest.mark.slow
def test_poison_job_with_a_single_worker(womm_home, tmp_path):
    command = "if [ {} = 2 ]; then kill -9 $PPID; sleep 1000; fi; echo {}"
    words = ["parallel", "--kube-pods", "1", "--", "-k", command, ":::", "1", "2", "3"]
    with started(tmp_path, *words) as run:
        assert run.wait() == 1, run.err
        assert run.out == b"1\n3\n"


def black_hole(tmp_path):
    """A `perl` first on PATH that is one: the agent of pod 0 starts, and ends with its first job."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shim = folder / "perl"
    # exec(2) keeps $0 and arguments as they are: only the shell of that one agent is another.
    shim.write_text(
        "#!/bin/sh\n"
        f'case "$WOMM_WORKER,$1" in *-0,*agent.pl) exec {PERL} "$@" --shell {folder}/hole ;; esac\n'
        f'exec {PERL} "$@"\n'
    )
    hole = folder / "hole"
    hole.write_text(f"#!/bin/sh\necho taken >>{tmp_path}/taken\nkill -9 $PPID\nsleep 1000\n")
    shim.chmod(0o755)
    hole.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_black_hole_takes_3_jobs_at_the_most(womm_home, tmp_path):
    jobs = count(200, 1000)
    lines = b"".join(b"%d\n" % n for n in range(1, jobs + 1))
    env = black_hole(tmp_path)
    words = ["parallel", "--kube-pods", "3", "--", "--joblog", "log", "sleep 0.03; echo {}"]
    with started(tmp_path, *words, stdin=lines, **env) as run:
        assert run.wait() == 0, run.err
        assert sorted(map(int, run.out.split())) == list(range(1, jobs + 1))
        assert (tmp_path / "taken").exists()
        taken = {e.seq for e in run.events(JobStarted) if e.pod.endswith("-0")}
        assert 1 <= len(taken) <= 3
        if len(taken) == 3:
            assert re.search(r"worker \w+-0 leaves the pool: it ended under 3 different jobs", run.err)


def breakable_perl(tmp_path):
    """A `perl` first on PATH with which no agent starts while the file `broken` is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shim = folder / "perl"
    shim.write_text(
        f'#!/bin/sh\ncase "$1" in *agent.pl) [ ! -e {tmp_path}/broken ] || '
        f'{{ echo no more workers today >&2; exit 9; }} ;; esac\nexec {PERL} "$@"\n'
    )
    shim.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [False, True])
def test_all_workers_gone_jobs_wait_and_the_reason_is_told(womm_home, tmp_path, for_good):
    command = "while [ ! -e go ]; do sleep 0.02; done; echo {}"
    words = ["parallel", "--kube-pods", "1", "--", command, ":::", "1", "2"]
    with started(tmp_path, *words, **breakable_perl(tmp_path)) as run:
        wait_for(lambda: run.events(JobStarted), "the first job")
        (tmp_path / "broken").touch()
        os.kill(agents(run.task)[0], signal.SIGKILL)
        wait_for(lambda: re.search(r"womm: 1 job waits: no worker is there \(1 .*\)", run.err), "the reason")
        assert run.process.poll() is None
        if not for_good:
            (tmp_path / "broken").unlink()
            (tmp_path / "go").touch()
            assert run.wait() == 0, run.err
            assert sorted(run.out.split()) == [b"1", b"2"]
        else:
            assert run.wait() == 254, run.err
            assert "leaves the pool: its agent did not start 5 times: no more workers today" in run.err
            assert "no worker is there any more" in run.err
            assert run.out == b""
            nothing_left(run.task, womm_home.runtime)
