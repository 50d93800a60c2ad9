"""stdin, stdout or stderr closed by the caller: no traceback, the status it would have, no file hit."""

import shlex
import subprocess
import sys

import pytest

from tests.cli.running import Result, environment
from tests.interop.plain import PLAIN
from womm.journal.store import TaskStore

WOMM = (sys.executable, "-m", "womm")
COMMANDS = {
    "--version": 0,
    "--help": 0,
    "status --ended": 0,
    "status -o json": 0,
    "parallel --help": 0,
    "completion bash": 0,
    "doctor": None,
    "nosuch": 2,
    "logs nosuch": None,
    "setup --nosuch": 2,
}
"""Commands that start no task, and their exit statuses; None: that of another run with all three open."""


def shell(line: str, cwd, **env: str | None) -> Result:
    """Run a line of bash, whose stdin is empty."""
    done = subprocess.run(
        ["bash", "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(**env),
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def womm(line: str) -> str:
    return f"{shlex.join(WOMM)} {line}"


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_command_with_closed_streams_ends_as_ever(womm_home, tmp_path, words):
    expected = COMMANDS[words]
    if expected is None:
        expected = shell(womm(words), tmp_path).status
    open_ones = shell(womm(f"{words} 0<&-"), tmp_path)
    assert open_ones.status == expected, open_ones.err
    no_stderr = shell(womm(f"{words} 2>&-"), tmp_path)
    assert no_stderr.status == expected
    assert no_stderr.out == open_ones.out or words == "doctor"  # which tells how much is free
    no_stdout = shell(womm(f"{words} >&-"), tmp_path)
    assert "Traceback" not in no_stdout.err
    assert "Exception ignored" not in no_stdout.err
    if open_ones.out:
        assert no_stdout.status == 254
        assert "womm: cannot write to stdout: Bad file descriptor" in no_stdout.err
    else:
        assert no_stdout.status == expected
    assert shell(womm(f"{words} 0<&- >&- 2>&-"), tmp_path).status == no_stdout.status


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["'echo o {}; echo e {} >&2' ::: a", "echo", "--version"])
def test_parallel_with_closed_streams_is_as_plain(womm_home, tmp_path, closed, words):
    expected = shell(f"{shlex.join(PLAIN)} {words} {closed}", tmp_path)
    got = shell(womm(f"-q parallel --kube-pods 1 -- {words} {closed}"), tmp_path)
    assert got == expected
    for task in TaskStore.default().tasks():
        assert task.cleaned()
        # What was written to a closed descriptor would be in one of these.
        for path in task.path.rglob("*"):
            assert not path.is_file() or b"womm:" not in path.read_bytes()


@pytest.mark.slow
def test_live_output_to_a_closed_stdout_fails_the_job_with_a_word(womm_home, tmp_path):
    got = shell(womm("-q parallel --kube-pods 1 -- -u echo ::: a >&-"), tmp_path)
    why = "its output cannot be written: Bad file descriptor"
    assert (got.status, got.err) == (1, f"womm: job 1 (echo a) failed: {why}\n")


@pytest.mark.slow
def test_shell_with_closed_stdin_gives_its_command_none(womm_home, tmp_path):
    got = shell(womm("shell 'cat; echo {done}' <&-"), tmp_path)
    assert (got.status, got.out) == (0, "{done}\n")
    assert "Traceback" not in got.err


@pytest.mark.slow
def test_console_script_with_closed_streams_opens_them_first(womm_home, tmp_path):
    """Its interpreter opens the script: the first file that could get the number 0."""
    script = tmp_path / "womm"
    script.write_text(f"#!{sys.executable}\nfrom womm.__main__ import entry\nentry()\n")
    script.chmod(0o755)
    result = shell(f"{script} -q parallel --kube-pods 1 -- echo o ::: 1 0<&- 2>&-", tmp_path)
    assert (result.status, result.out) == (0, "o 1\n")
    assert shell(f"{script} -q parallel --kube-pods 1 -- true ::: 1 0<&- >&- 2>&-", tmp_path).status == 0
