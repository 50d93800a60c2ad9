"""Signals to womm: each is passed on, or ends the task in order; what the caller ignores stays so."""

import os
import signal
import subprocess
import time
from functools import partial

import pytest

from tests.cli.running import run
from tests.faults.tasks import WOMM, environment, nothing_left, started, wait_for
from tests.interop.plain import PLAIN
from tests.soak import count
from womm import signals

pytestmark = pytest.mark.slow

HELD = "echo begun {}; while [ ! -e go ]; do sleep 0.05; done; echo done {}"
JOBS = ["parallel", "--kube-pods", "2", "--", "-u", HELD, ":::", "1", "2"]
ENDING = [number for number in signals.ending() if number not in (signal.SIGINT, signal.SIGTERM)]
PASSED = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGQUIT]
OTHERS = [number for number in ENDING if number not in PASSED]
"""Of these CI takes the first ones."""


def test_usr1_and_usr2_reach_gnu_parallel_and_the_task_goes_on(womm_home, tmp_path):
    with started(tmp_path, *JOBS) as run:
        wait_for(lambda: run.out.count(b"begun") == 2, "two jobs")
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGUSR2):
            run.process.send_signal(number)
        wait_for(
            lambda: "parallel: while [" in run.err or "parallel: echo begun" in run.err, "the list of jobs"
        )
        (tmp_path / "go").touch()
        assert run.wait() == 0, run.err
        assert run.out.count(b"done") == 2
        nothing_left(run.task, womm_home.runtime)


def test_usr1_before_the_first_job_ends_nothing(womm_home, tmp_path):
    with started(tmp_path, "parallel", "--kube-pods", "1", "--", "-u", "echo {}", stdin=b"1\n2\n") as run:
        while run.process.poll() is None and b"1" not in run.out:
            if "created" in run.err:
                run.process.send_signal(signal.SIGUSR1)
            time.sleep(0.01)
        assert run.wait() == 0, run.err
        assert run.out == b"1\n2\n"


def test_quit_ends_at_once_what_ctrl_c_would_wait_for(womm_home, tmp_path):
    command = "trap 'sleep 1000' TERM INT QUIT; echo begun; sleep 1000"
    with started(tmp_path, "parallel", "--kube-pods", "2", "--", "-u", command, ":::", "1", "2") as run:
        wait_for(lambda: run.out.count(b"begun") == 2, "two jobs")
        run.process.send_signal(signal.SIGQUIT)
        assert run.wait() == 128 + signal.SIGQUIT, run.err
        assert "running ones are ended at once" in run.err
        nothing_left(run.task, womm_home.runtime)
        assert run.record.cleaned()


@pytest.mark.parametrize("number", OTHERS[: count(2, len(OTHERS))])
def test_any_other_signal_ends_the_task_in_order(womm_home, tmp_path, number):
    with started(tmp_path, *JOBS) as run:
        wait_for(lambda: run.out.count(b"begun") == 2, "two jobs")
        run.process.send_signal(number)
        assert run.wait() == 128 + number, run.err
        nothing_left(run.task, womm_home.runtime)
        assert run.record.cleaned()
        assert "Traceback" not in run.err


def test_signals_ignored_at_the_start_stay_so(womm_home, tmp_path):
    """As in `nohup womm ... &` in a script, whose background has INT and QUIT ignored."""
    ignored = [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1]
    names = " ".join(number.name[3:] for number in ignored)
    words = ["sh", "-c", f"trap '' {names}; exec \"$@\"", "sh", *WOMM, *JOBS]
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(
            words, cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    try:
        wait_for(lambda: (tmp_path / "out").read_bytes().count(b"begun") == 2, "two jobs")
        for number in ignored:
            process.send_signal(number)
        time.sleep(0.5)  # the signals are on their way
        (tmp_path / "go").touch()
        assert process.wait(60) == 0, (tmp_path / "err").read_text()
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "out").read_bytes().count(b"done") == 2


@pytest.mark.parametrize("ignored", ["", "INT HUP", "INT QUIT HUP TERM USR1 USR2"])
def test_jobs_begin_with_the_signals_that_plain_gnu_parallel_gives_them(womm_home, tmp_path, ignored):
    """But for ALRM, which GNU parallel has all its jobs ignore."""

    def mask(*words):
        line = f"trap '' {ignored or '0'}; exec \"$@\""
        command = ["sh", "-c", line, "sh", *words, "grep SigIgn /proc/self/status; : {}", ":::", "1"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True, timeout=60
        )
        return int(done.stdout.split()[1], 16) & ~(1 << signal.SIGALRM - 1)

    assert mask(*WOMM, "-q", "parallel", "--kube-pods", "1", "--") == mask(*PLAIN)


def _has(run, *words):
    return {*words} <= {*run.out.split()}


def test_shell_passes_on_what_is_the_jobs_and_ends_by_the_others(womm_home, tmp_path):
    command = "trap 'echo usr1' USR1; trap 'echo alrm' ALRM; echo begun; while :; do sleep 0.05; done"
    for number, end in ((signal.SIGQUIT, 3), (signal.SIGXCPU, signal.SIGXCPU), (signal.SIGTERM, 15)):
        with started(tmp_path, "shell", command, name=f"shell{number}") as run:
            wait_for(partial(_has, run, b"begun"), "the job")
            run.process.send_signal(signal.SIGUSR1)
            run.process.send_signal(signal.SIGALRM)
            wait_for(partial(_has, run, b"usr1", b"alrm"), "the job's signals")
            run.process.send_signal(number)
            assert run.wait() == 128 + end, run.err
            assert "Traceback" not in run.err
    assert [path for path in womm_home.runtime.iterdir() if path.name.startswith("womm-")] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGVTALRM, signal.SIGALRM])
def test_other_commands_end_by_a_signal_without_a_traceback(womm_home, tmp_path, number):
    command = "while [ {} = 2 ] && [ ! -e go ]; do sleep 0.05; done; echo done {}"
    with started(tmp_path, "parallel", "--kube-pods", "2", "--", "-u", command, ":::", "1", "2") as task:
        wait_for(lambda: b"done 1" in task.out, "the first job")
        with started(tmp_path, "logs", task.task, "-f", name="logs") as logs:
            wait_for(lambda: b"done 1" in logs.out, "its first lines")
            logs.process.send_signal(number)
            assert logs.wait() == 128 + number
            assert logs.err == ""
        (tmp_path / "go").touch()
        assert task.wait() == 0


def test_programs_that_take_womms_place_get_the_signals_as_they_were(womm_home, tmp_path):
    """GNU parallel prints its version itself; Python ignores SIGPIPE, and it would inherit that."""
    perl = tmp_path / "perl"
    perl.write_text(
        '#!/bin/sh\ncase $* in *--version*options.pl*|*options.pl*) exec /usr/bin/perl "$@";; esac\n'
        "grep SigIgn /proc/self/status\n"
    )
    perl.chmod(0o755)
    result = run("parallel", "--", "--version", PATH=f"{tmp_path}:{os.environ['PATH']}")
    usual = subprocess.run(
        ["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True, check=True
    )
    assert result.out == usual.stdout, result
