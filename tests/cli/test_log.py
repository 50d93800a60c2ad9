"""womm's log: from which level on, and in which form."""

import subprocess
import sys

import pytest

from tests.cli.running import run

PROGRAM = """
import logging, sys
from womm.cli import log
log.configure(int(sys.argv[1]))
logger = logging.getLogger("womm.some.part")
for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
    logger.log(level, "%s of two\\nlines", logging.getLevelName(level))
"""


def logged(level):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(level)], capture_output=True, text=True, check=True
    )
    assert result.stdout == ""
    return result.stderr.splitlines()


@pytest.mark.parametrize(
    ("level", "expected"),
    [(20, ["INFO", "WARNING", "ERROR"]), (30, ["WARNING", "ERROR"]), (40, ["ERROR"])],
)
def test_log_has_one_line_for_each_record_from_its_level_on(level, expected):
    assert logged(level) == [f"womm: {name} of two\\nlines" for name in expected]


def test_log_of_everything_names_the_part_and_the_time():
    lines = logged(10)
    assert len(lines) == 4
    assert all(" womm.some.part: " in line for line in lines)


@pytest.mark.parametrize(("words", "shown"), [(("--debug",), True), (("-v",), False), ((), False)])
def test_error_that_ends_a_command_has_a_traceback_in_the_log_of_everything_only(words, shown):
    result = run(*words, "nosuch")
    assert ("Traceback" in result.err) == shown
    assert "No such command 'nosuch'" in result.err
