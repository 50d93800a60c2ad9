"""What a joblog says of an input that has moved."""

import pytest

from womm.engine.gnu.joblog import mismatch_check

HEADING = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"

    def write(*entries):
        lines = [
            f"{seq}\t:\t1.000\t 1.000\t0\t0\t{status}\t0\t{command}\n" for seq, status, command in entries
        ]
        path.write_text(HEADING + "".join(lines))
        return mismatch_check(path)

    return write


def test_job_that_had_another_number_is_told(log):
    told = log((1, 0, "echo a"), (2, 0, "echo b"))(3, "echo b")
    assert told is not None
    assert "'echo b' is job 3 now and was job 2" in told


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_equal_lines_that_failed_are_not_told(log, seq):
    """--resume-failed runs them again, each under its own number."""
    check = log((1, 1, "echo a"), (2, 1, "echo a"), (1, 0, "echo a"))
    assert check(seq, "echo a") is None


def test_job_that_was_logged_twice_under_its_number_is_not_told_but_under_another_is(log):
    check = log((1, 1, "echo a"), (1, 1, "echo a"))
    assert check(1, "echo a") is None
    assert check(2, "echo a") is not None


def test_command_with_a_newline_is_the_same_command(log):
    """GNU parallel writes a NUL for it."""
    check = log((1, 0, "echo a\0echo b"))
    assert check(1, "echo a\necho b") is None
    assert check(2, "echo a\necho b") is not None


def test_joblog_that_is_not_there_says_nothing(tmp_path):
    assert mismatch_check(tmp_path / "log")(1, "echo a") is None
