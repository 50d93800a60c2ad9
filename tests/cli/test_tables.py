"""What is printed fits a terminal and does nothing else to it."""

import pytest

from womm.cli import tables
from womm.cli.tables import Column


def test_quoted_words_are_the_shells():
    assert tables.quoted(("parallel", "--", "sleep 1; echo {}")) == ("'parallel' '--' 'sleep 1; echo {}'")
    assert tables.quoted(("it's",)) == r"'it'\''s'"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (3000, "50m"), (7200, "2h"), (1e6, "11d")],
)
def test_age_is_one_unit(seconds, text):
    assert tables.age(seconds) == text


def test_size_is_for_people():
    assert [tables.size(size) for size in (0, 1, 1023, 1536, 5 << 30)] == [
        "0 bytes",
        "1 byte",
        "1,023 bytes",
        "1.5 KiB",
        "5.0 GiB",
    ]


def test_render_columns_widen_and_lines_end_without_blanks():
    columns = (Column("A", 3), Column("NUMBER", right=True), Column("LAST"))
    assert tables.render(columns, [["long cell", "1", "x"], ["", "2", ""]]) == (
        "A          NUMBER  LAST\n---------  ------  ----\nlong cell       1  x\n                2\n"
    )


def test_rfc3339_is_utc_and_survives_nonsense():
    assert tables.rfc3339(1763726645.25) == "2025-11-21T12:04:05.250Z"
    assert tables.rfc3339(1e300) == "1970-01-01T00:00:00.000Z"
    assert tables.rfc3339(float("nan")) == "1970-01-01T00:00:00.000Z"
