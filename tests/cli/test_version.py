"""The line of versions."""

import re
import sys

from tests.cli.running import run
from womm import __version__
from womm.cli.version import version_line


def test_line_has_the_versions_of_all_three():
    line = version_line()
    python = ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(
        rf"womm {re.escape(__version__)}, Python {re.escape(python)}, GNU parallel 20\d+", line
    )


def test_both_commands_print_the_same_line(womm_home):
    for words in (("--version",), ("parallel", "--version")):
        result = run(*words)
        assert (result.status, result.err) == (0, "")
        assert version_line() in result.out.splitlines()
