"""`womm logs`: kept bytes as they were, chosen, tagged, followed."""

import base64
import json
import os
import signal
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.running import WOMM, environment, run
from tests.cli.tasks import started_here, write_task
from tests.journal.samples import JOB_ENDED, JOB_STARTED, TASK
from womm.cli.logs import parse_numbers
from womm.errors import UsageError
from womm.journal.events import OutputRef, TaskCleaned, TaskEnded
from womm.journal.store import TaskStore


def ended(journal, job, out=b"", err=b"", **changes):
    """Append a job; `changes`: of its JobEnded."""
    refs = {"out": journal.output.put(out), "err": journal.output.put(err)}
    values = {"job": job, "seq": job, "out_bytes": len(out), "err_bytes": len(err), **refs}
    journal.append(replace(JOB_STARTED, job=job, seq=job, command=f"job {job}"))
    journal.append(replace(JOB_ENDED, **{**values, **changes}))


def lost(journal, job, out, written_bytes):
    """Append a job of whose output only `out` was kept."""
    journal.append(replace(JOB_STARTED, job=job, seq=job))
    journal.append(replace(JOB_ENDED, job=job, seq=job, out=out, out_bytes=written_bytes))


@pytest.fixture
def journal(womm_home):
    with TaskStore.default().create(TASK, on_failure=print) as journal:
        journal.append(started_here(TASK, "/"))
        yield journal


@pytest.fixture
def three_jobs(journal):
    ended(journal, 2, b"two\n", b"careful\n")
    ended(journal, 1, b"one\n" * 5000)
    ended(journal, 3, b"no newline", exit=7)
    journal.append(TaskEnded(9.0, 1, 3, 1))
    journal.append(TaskCleaned(9.0))
    journal.close()


def test_logs_are_in_the_order_of_end_and_on_their_streams(three_jobs):
    result = run("logs", TASK)
    assert result.status == 0
    assert result.out == "two\n" + "one\n" * 5000 + "no newline"
    assert result.err == "careful\nwomm: task blhqwudx, CLEANED: 3 jobs ended, 1 failed\n"


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("1",), "one\n" * 5000),
        (("2-3",), "two\nno newline"),
        (("3,2",), "two\nno newline"),
        (("--failed",), "no newline"),
        (("2", "--stderr"), ""),
        (("--failed", "--tag"), "3\tno newline\n"),
        (("2", "--tag", "--stdout"), "2\ttwo\n"),
    ],
)
def test_logs_choice(three_jobs, words, out):
    result = run("logs", "last", *words)
    assert (result.status, result.out) == (0, out)
    assert ("careful" in result.err) == ("--stderr" in words or words in {("2-3",), ("3,2",)})


def test_logs_of_jobs_that_are_not_there_say_so(three_jobs):
    result = run("logs", TASK, "2-5")
    assert (result.status, result.out) == (1, "two\nno newline")
    assert "womm: job 4, 5 of task blhqwudx have not ended\n" in result.err


def test_logs_bytes_are_unchanged(journal):
    data = bytes(range(256)) * 40
    ended(journal, 1, data, data[::-1])
    result = subprocess.run([*WOMM, "-q", "logs", TASK], env=environment(), capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (data, data[::-1])


def test_logs_json_is_a_line_per_job(journal):
    ended(journal, 1, "käse\n".encode(), b"\xff")
    ended(journal, 2, reason="OOM", exit=137)
    result = run("logs", TASK, "-o", "json")
    first, second = map(json.loads, result.out.splitlines())
    assert (first["version"], first["seq"], first["command"]) == (1, 1, "job 1")
    assert first["stdout"] == "käse\n"
    assert base64.b64decode(first["stderr_base64"]) == b"\xff"
    assert (second["exit"], second["reason"], second["stdout"]) == (137, "OOM", "")
    assert first["started"] == "1970-01-01T00:00:01.000Z"


def test_logs_cut_and_lost_outputs_are_told(journal):
    lost(journal, 1, OutputRef(inline="eA==", size=1, cut=True), 9)
    lost(journal, 2, OutputRef(cut=True), 8)
    lost(journal, 3, None, 7)
    for job in range(4, 30):
        lost(journal, job, None, 7)
    result = run("logs", TASK)
    assert (result.status, result.out) == (0, "x")
    told = result.err.splitlines()
    assert told[0] == "womm: job 1: stdout is cut: the first 1 of 9 bytes were kept"
    assert told[1] == "womm: job 2: stdout, 8 bytes, was not kept"
    assert told[2] == "womm: job 3: stdout, 7 bytes, was not kept"
    assert len(told) == 11
    assert told[-1].endswith("29 jobs ended, 0 failed, 1 output cut, 28 outputs not kept")


def test_logs_a_damaged_output_is_told_and_the_others_come(journal):
    ended(journal, 1, os.urandom(5000))
    ended(journal, 2, b"fine\n")
    (journal.path.parent / "output.zst").write_bytes(b"junk")
    result = run("logs", TASK)
    assert (result.status, result.out) == (1, "fine\n")
    assert "womm: job 1: the kept output in " in result.err


def test_logs_of_a_running_task_show_what_has_ended(journal):
    ended(journal, 1, b"one\n")
    journal.append(replace(JOB_STARTED, job=2, seq=2))
    result = run("logs", TASK)
    assert (result.status, result.out) == (0, "one\n")
    assert result.err.endswith("1 job ended, 0 failed, 1 running\n")


def test_logs_follow_until_the_task_ends(journal):
    ended(journal, 1, b"one\n")
    with subprocess.Popen(
        [*WOMM, "logs", TASK, "-f"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        ended(journal, 2, b"two\n")
        assert process.stdout.readline() == "two\n"
        assert process.poll() is None
        ended(journal, 3, b"three\n")
        journal.append(TaskEnded(9.0, 0, 3, 0))
        out, err = process.communicate()
    assert (process.returncode, out) == (0, "three\n")
    assert err.endswith("3 jobs ended, 0 failed\n")


def test_logs_follow_interrupted_is_quiet(journal):
    ended(journal, 1, b"one\n")
    with subprocess.Popen(
        [*WOMM, "logs", TASK, "-f"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
    assert process.returncode == 130


def test_logs_follow_ends_when_the_coordinator_is_gone(journal):
    ended(journal, 1, b"one\n")
    journal.close()
    result = run("logs", TASK, "-f")
    assert (result.status, result.out) == (0, "one\n")


@pytest.mark.parametrize("unbuffered", ["1", None])
def test_logs_more_than_a_pipe_holds_comes_whole_or_ends_quietly(journal, unbuffered):
    ended(journal, 1, b"one\n" * 500_000)
    env = environment(PYTHONUNBUFFERED=unbuffered)
    result = subprocess.run([*WOMM, "logs", TASK], env=env, capture_output=True, check=True)
    assert result.stdout == b"one\n" * 500_000
    result = subprocess.run(
        ["sh", "-c", '"$@" | head -n 1', "sh", *WOMM, "logs", TASK],
        env=env,
        capture_output=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == (b"one\n", b"")


def test_logs_to_a_pipe_that_does_not_block_come_whole(journal):
    ended(journal, 1, b"one\n" * 100_000)
    read, write = os.pipe()
    os.set_blocking(write, False)
    with subprocess.Popen([*WOMM, "-q", "logs", TASK], env=environment(), stdout=write) as process:
        os.close(write)
        with open(read, "rb") as file:
            assert file.read() == b"one\n" * 100_000
    assert process.returncode == 0


def test_logs_without_events_are_empty(womm_home):
    write_task(TASK)
    result = run("logs", TASK)
    assert (result.status, result.out) == (0, "")
    assert "0 jobs ended, 0 failed" in result.err


@given(st.lists(st.text(alphabet="0123456789,-x \u0664", max_size=12)))
def test_parse_numbers_gives_numbers_or_a_usage_error(words):
    try:
        numbers = parse_numbers(words)
    except UsageError as exc:
        assert exc.hint == "womm logs --help"
    else:
        assert all(number >= 0 for number in numbers)


@pytest.mark.parametrize("word", ["", "x", "3-1", "1-", "-3", "1--2", "0-99999999999", "1 2"])
def test_parse_numbers_refuses_nonsense(word):
    with pytest.raises(UsageError):
        parse_numbers([word])
