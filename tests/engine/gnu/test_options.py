"""GNU parallel's options as Getopt::Long reads them for womm."""

import pytest

from tests.link.wires import PERL
from womm.engine.gnu.options import read_options


@pytest.mark.parametrize(
    ("words", "given", "command", "ended"),
    [
        (["-k", "--", "-x"], ("-k",), ("-x",), True),
        (["--tagstring", "--", "-k", "x"], ("--tagstring", "--", "-k"), ("x",), False),
        (["--tagstring", "--", "--", "x"], ("--tagstring", "--"), ("x",), True),
        (["--tagstring", "--", "x"], ("--tagstring", "--"), ("x",), False),
        (["--", "--", "x"], (), ("--", "x"), True),
        (["--eof", "--", "x"], ("--eof",), ("x",), True),
        (["x", "--", "y"], (), ("x", "--", "y"), False),
        ([], (), (), False),
    ],
)
def test_end_of_options_is_told_from_an_options_value(words, given, command, ended):
    options = read_options(words, PERL)
    assert (options.given, options.command, options.ended) == (given, command, ended)
