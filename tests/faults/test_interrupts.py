"""On this machine: Ctrl-C, SIGTERM, SIGHUP and `finish` at any instant leave nothing."""

import os
import random
import re
import signal
import time

import pexpect
import pytest

from tests.faults.tasks import (
    WOMM,
    environment,
    joblog_lines,
    nothing_left,
    started,
    wait_for,
    wait_for_end,
    womm,
)
from tests.soak import count
from womm.journal.store import TaskStore

WORDS = ["parallel", "--kube-pods", "3", "--", "echo {}; sleep 0.3"]


def in_a_terminal(folder, *words):
    """Start womm as the foreground job of a terminal of its own."""
    return pexpect.spawn(
        WOMM[0],
        [*WOMM[1:], *words],
        cwd=str(folder),
        env=environment(TERM="xterm"),
        timeout=60,
        dimensions=(24, 100),
        encoding="utf-8",
        codec_errors="replace",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background
    )


def end_of(child):
    """Return everything it printed and its exit status."""
    try:
        child.expect(pexpect.EOF)
        text = child.before
    finally:
        child.close(force=True)
    if child.signalstatus == signal.SIGINT or "Could not import runpy module" in text:
        # Python itself was on its way to womm, and dies of it as any program does.
        assert "womm/__" not in text and "womm/cli" not in text, text
        return text, 130
    assert child.signalstatus is None, text
    return text, child.exitstatus


def newest():
    tasks = TaskStore.default().tasks()
    return tasks[-1] if tasks else None


@pytest.mark.slow
@pytest.mark.parametrize("number", range(count(8, 100)))
def test_ctrl_c_at_a_random_instant_leaves_nothing(womm_home, tmp_path, number):
    chance = random.Random(number)
    child = in_a_terminal(tmp_path, *WORDS, ":::", *map(str, range(200)))
    time.sleep(chance.uniform(0.0, 2.5))  # the random instant
    early = newest() is None
    child.sendintr()
    text, status = end_of(child)
    assert status == 130, text
    record = newest()
    if record is None:
        assert early
        return
    nothing_left(record.task, womm_home.runtime)
    assert record.cleaned()
    assert not record.locked()
    assert "Traceback" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(count(3, 50)))
def test_ctrl_c_twice_ends_at_once(womm_home, tmp_path, number):
    """Jobs that take their time to end are not waited for."""
    command = "trap 'sleep 1000' TERM INT; echo begun; sleep 1000"
    child = in_a_terminal(tmp_path, "parallel", "--kube-pods", "2", "--", "-u", command, ":::", "1", "2")
    child.expect("begun")
    child.expect("begun")
    child.sendintr()
    child.expect("interrupted: no new jobs")
    child.sendintr()
    text, status = end_of(child)
    assert status == 130, text
    record = newest()
    nothing_left(record.task, womm_home.runtime)
    # Whether or not womm waited for the end of it all, there is nothing that anybody uses.
    assert womm(tmp_path, "status").stdout == ""
    assert record.cleaned()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(count(4, 100)))
def test_finish_at_a_random_instant_leaves_nothing(womm_home, tmp_path, number):
    chance = random.Random(1000 + number)
    with started(tmp_path, *WORDS, ":::", *map(str, range(200))) as run:
        task = run.task
        time.sleep(chance.uniform(0.0, 1.5))  # the random instant
        done = womm(tmp_path, "finish", task)
        assert done.returncode == 0, done.stderr
        assert run.wait() == 143, run.err
        nothing_left(task, womm_home.runtime)
        assert womm(tmp_path, "finish", task).returncode == 0
        assert run.record.cleaned()


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_to_womm_alone_ends_all(womm_home, tmp_path, number, status):
    """Not to the process group: GNU parallel hears of it from womm."""
    command = "echo {}; if [ {} -gt 2 ]; then sleep 1000; fi"
    words = ["parallel", "--kube-pods", "2", "--", "-u", "--joblog", "log", command]
    with started(tmp_path, *words, ":::", *"12345678") as run:
        wait_for(lambda: {b"3", b"4"} <= set(run.out.split()), "jobs that take long")
        run.process.send_signal(number)
        assert run.wait() == status, run.err
        nothing_left(run.task, womm_home.runtime)
        assert set(run.out.split()) == {b"1", b"2", b"3", b"4"}
        assert re.search(r"womm: task \w+ deleted: ", run.err)
        assert "go on with --resume" in run.err
        good = [line[0] for line in joblog_lines(tmp_path / "log") if (line[6], line[7]) == ("0", "0")]
        assert sorted(good) == ["1", "2"]


def test_hangup_lets_running_jobs_finish_and_starts_no_more(womm_home, tmp_path):
    """As GNU parallel does on SIGHUP (parallel(1), "COMPLETE RUNNING JOBS BUT DO NOT START NEW JOBS")."""
    command = "echo begun {}; while [ ! -e go ]; do sleep 0.02; done; echo done {}"
    with started(tmp_path, "parallel", "--kube-pods", "2", "--", "-u", command, ":::", *"12345678") as run:
        wait_for(lambda: run.out.count(b"begun") == 2, "two jobs")
        os.killpg(run.process.pid, signal.SIGHUP)
        wait_for(lambda: "SIGHUP received" in run.err, "GNU parallel's words")
        os.killpg(
            run.process.pid, signal.SIGHUP
        )  # of a terminal that is closed: the shell's and the kernel's
        time.sleep(0.5)  # the signals are on their way
        (tmp_path / "go").touch()
        run.wait()
        assert run.out.count(b"done") == 2
        assert run.out.count(b"begun") == 2
        assert run.err.count("SIGHUP received") == 1, run.err  # it came four times: twice by way of womm
        assert run.err.count("Waiting for these 2 jobs to finish") == 1, run.err
        nothing_left(run.task, womm_home.runtime)


def test_hangup_of_womm_alone_reaches_gnu_parallel(womm_home, tmp_path):
    command = "echo begun {}; while [ ! -e go ]; do sleep 0.02; done; echo done {}"
    with started(tmp_path, "parallel", "--kube-pods", "2", "--", "-u", command, ":::", *"12345678") as run:
        wait_for(lambda: run.out.count(b"begun") == 2, "two jobs")
        run.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "SIGHUP received" in run.err, "GNU parallel's words")
        (tmp_path / "go").touch()
        run.wait()
        assert run.out.count(b"begun") == 2
        assert run.err.count("SIGHUP received") == 1, run.err
        nothing_left(run.task, womm_home.runtime)


def test_terminal_closed_ends_womm_and_all_of_it(womm_home, tmp_path):
    child = in_a_terminal(
        tmp_path, "parallel", "--kube-pods", "2", "--", "-u", "echo begun {}; sleep 2", ":::", *"12345678"
    )
    child.expect("begun")
    task = newest().task
    child.ptyproc.fileobj.close()  # what closing a window does
    wait_for_end([child.pid], "womm")
    os.waitpid(child.pid, 0)
    child.closed = True
    assert TaskStore.default().resolve(task).cleaned()
    nothing_left(task, womm_home.runtime)


def test_stdout_closed_by_its_reader_ends_all(womm_home, tmp_path):
    """As in `womm parallel ... | head -n 1`."""
    import subprocess

    line = f"{' '.join(WOMM)} parallel --kube-pods 2 -- 'echo {{}}; sleep 0.1' ::: $(seq 400) | head -n 1"
    begin = time.monotonic()
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, timeout=60, check=False
    )
    assert done.stdout.count(b"\n") == 1
    assert time.monotonic() - begin < 60
    nothing_left(newest().task, womm_home.runtime)
