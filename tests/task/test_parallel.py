"""What `womm parallel` says on stderr, as a user's terminal gets it; and a task with another engine."""

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.running import environment
from tests.link.wires import PERL
from tests.task.engines import Opener
from womm import words
from womm.engine.base import EngineTraits
from womm.journal.events import EngineStarted, JobEnded, TaskCleaned, TaskEnded, TaskEnding, TaskStarted
from womm.journal.store import TaskStore
from womm.settings import Settings
from womm.task import parallel as task

EVIL = b"\x1b]0;owned\x07\x1b[2J\xe2\x80\xae\xc2\x9b31m\xff"


def parallel(*given: str | bytes, stdin: bytes = b"", cwd=None) -> tuple[bytes, list[bytes]]:
    """Run `womm parallel` with one local worker; return its stdout, and womm's own lines of stderr."""
    ran = subprocess.run(
        [sys.executable, "-m", "womm", "parallel", "--kube-pods", "1", *given],
        input=stdin,
        capture_output=True,
        check=False,
        cwd=cwd,
        env=environment(),
        timeout=120,
    )
    return ran.stdout, [line for line in ran.stderr.split(b"\n") if line.startswith(b"womm: ")]


@pytest.mark.slow
def test_first_job_escape_sequences_in_its_name_are_shown_and_run_unchanged(womm_home, tmp_path):
    out, said = parallel("--", "printf", "%s", stdin=EVIL + b"\n", cwd=tmp_path)
    assert out == EVIL
    [line] = [line for line in said if b"first job" in line]
    assert line.decode().isprintable()
    assert b"\\x1b" in line


@pytest.mark.slow
def test_first_job_long_line_is_cut_and_keeps_its_end(womm_home, tmp_path):
    out, said = parallel("--", "echo", "first", stdin=b"x" * 20000 + b"last\n", cwd=tmp_path)
    assert len(out) == len("first ") + 20005
    [line] = [line for line in said if b"first job" in line]
    assert len(line) < words.NAME_WIDTH + 60
    assert line.endswith(b"xlast")


@pytest.mark.slow
def test_failed_job_of_a_hostile_name_is_named_escaped(womm_home, tmp_path):
    (tmp_path / os.fsdecode(EVIL)).touch()
    _, said = parallel("--retries", "1", "--", "kill -9 $PPID; : {}", stdin=EVIL + b"\n", cwd=tmp_path)
    assert any(b" failed: " in line for line in said), said
    assert all(line.decode().isprintable() for line in said)


@pytest.mark.slow
def test_folder_of_a_hostile_name_is_named_escaped_by_errors_and_status(womm_home, tmp_path):
    folder = tmp_path / "\x1b[31mred\nsecond"
    folder.mkdir()
    (folder / ".womm").write_text("version = 1\nnonsense = 1\n")
    _, said = parallel("--", "true", cwd=folder)
    assert said
    assert all(line.decode().isprintable() for line in said)
    assert b"\\x1b[31mred" in b"".join(said)


@pytest.fixture
def run_with(womm_home, tmp_path):
    """Run a task whose jobs an engine of the tests brings; return its exit status."""

    def run(opener, *, needs_workers=False):
        return task.run(
            task.ParallelTask(
                settings=Settings(),
                perl=PERL,
                shell="/bin/sh",
                folder=tmp_path,
                argv=("parallel",),
                pods=2,
                traits=EngineTraits(needs_workers=needs_workers),
                open_engine=opener,
            )
        )

    return run


@pytest.mark.parametrize("needs_workers", [False, True])
def test_engine_without_a_process_runs_a_task(run_with, capfd, womm_home, needs_workers):
    opener = Opener(b"echo one", b"exit 3")
    assert run_with(opener, needs_workers=needs_workers) == 1
    assert opener.engine.calls == ["start", "follow", "close"]
    assert bytes(opener.engine.sinks[0].text[1]) == b"one\n"
    [record] = TaskStore.default().tasks()
    events = list(record.events())
    assert isinstance(events[0], TaskStarted)
    ends = [event for event in events if isinstance(event, TaskEnding | TaskEnded | TaskCleaned)]
    assert [type(event) for event in ends] == [TaskEnding, TaskEnded, TaskCleaned]
    assert [event.status for event in ends if isinstance(event, TaskEnded)] == [1]
    assert sum(isinstance(event, JobEnded) for event in events) == 2
    assert not any(isinstance(event, EngineStarted) for event in events)
    assert os.listdir(womm_home.runtime) == []
    first, last = capfd.readouterr().err.splitlines()
    assert first.startswith(f"womm: task {record.task} created: 2 worker processes on this machine")
    assert last.startswith(f"womm: task {record.task} deleted: 2 jobs, 1 failed, ")


def test_engine_is_signalled_when_the_task_is_interrupted(run_with, capfd):
    """The first Ctrl-C leaves it a moment; then it is ended."""
    opener = Opener(b"kill -INT %d; sleep 1000" % os.getpid())
    assert run_with(opener) == 128 + signal.SIGINT
    assert opener.engine.calls == ["start", "follow", f"signal {int(signal.SIGTERM)}", "close"]
    assert "womm: interrupted: no new jobs, the running ones are ended (again: at once)" in (
        capfd.readouterr().err
    )
