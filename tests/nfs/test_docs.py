"""docs/nfs.md says what is there: every option, and for every operation whether it is answered NOTSUPP."""

import contextlib
import re
from pathlib import Path

import pytest

from womm.nfs import Limits, ServerOptions, StateLimits
from womm.nfs.__main__ import parse
from womm.nfs.constants import LAST_OP, Op
from womm.nfs.operations import TABLE

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "nfs.md").read_text()


def test_every_option_is_documented(capsys):
    with contextlib.suppress(SystemExit):
        parse(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help", "--verbose"}
    assert options
    assert not [option for option in options if f"`{option}" not in TEXT]


@pytest.mark.parametrize("options", [ServerOptions, Limits, StateLimits])
def test_every_field_of_the_options_is_documented(options):
    line = re.search(rf"`{options.__name__}\(([^)]*)\)`", TEXT)
    assert line is not None
    assert line[1].split(", ") == list(options.__slots__)


def test_every_operation_is_in_the_table_as_it_is_answered():
    rows = {}
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"[A-Z_ ]+", cells[0]):
            for name in cells[0].split():
                assert name not in rows
                rows[name] = cells[1:]
    assert set(rows) == {op.name for op in Op if op is not Op.ILLEGAL}
    for name, cells in rows.items():
        op = Op[name]
        for minor, cell in enumerate(cells):
            row = TABLE.get(op)
            if op > LAST_OP[minor]:
                said = ""
            elif op is Op.SEQUENCE or (row and row.first_minor <= minor <= row.last_minor):
                said = "yes"
            else:
                said = "NOTSUPP"
            assert cell == said, (name, minor)
