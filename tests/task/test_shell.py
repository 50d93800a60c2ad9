"""`womm shell` with pipes, on this machine. In a terminal: test_terminal; in pods: cluster/kubernetes."""

import os
import subprocess
import sys

import pytest

from tests.cli.running import environment
from womm.journal.events import TaskCleaned, TaskEnded, TaskStarted
from womm.journal.store import TaskStore


def shell(*words, stdin=b""):
    return subprocess.run(
        [sys.executable, "-m", "womm", "shell", *words],
        input=stdin,
        capture_output=True,
        check=False,
        env=environment(),
        timeout=120,
    )


@pytest.mark.slow
def test_shell_command_has_pipes_and_its_exit_status(womm_home):
    done = shell("--", "cat; echo err >&2; exit 3", stdin=bytes(range(256)))
    assert (done.returncode, done.stdout) == (3, bytes(range(256)))
    first, rest = done.stderr.split(b"\n", 1)
    assert b"created: 1 worker process on this machine (no .womm here" in first
    assert rest == b"err\n"
    [record] = TaskStore.default().tasks()
    events = list(record.events())
    assert isinstance(events[0], TaskStarted)
    assert (events[0].kind, events[0].pods, events[0].procs_per_pod) == ("shell", 1, 1)
    assert [type(event) for event in events[-2:]] == [TaskEnded, TaskCleaned]
    assert isinstance(events[-2], TaskEnded) and events[-2].status == 3
    assert os.listdir(womm_home.runtime) == []


@pytest.mark.slow
def test_shell_command_of_several_words_is_no_line_for_a_shell(womm_home):
    done = shell("--", "printf", "%s.", "$HOME", "a b")
    assert (done.returncode, done.stdout) == (0, b"$HOME.a b.")


@pytest.mark.slow
def test_shell_killed_by_a_signal_is_128_and_more(womm_home):
    assert shell("--", "kill -9 $$").returncode == 128 + 9
