"""What `womm parallel` says on stderr, as a user's terminal gets it."""

import os
import subprocess
import sys

import pytest

from tests.cli.running import environment
from womm import words

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
