"""What is fetched ahead, on the wire: a row is read as it was made, or is a bad message."""

import pytest

from womm.wire.ahead import ABSENT, LISTED, Learned
from womm.wire.fields import BadMessage


@pytest.mark.parametrize(
    "item", [Learned(b"\xff", 5, -6, (1, 0)), Learned(b"a", LISTED, 0), Learned(b"a", ABSENT, 0)]
)
def test_a_row_is_read_as_it_was_made(item):
    assert Learned.read(list(item.row())) == item


@pytest.mark.parametrize(
    "row", [None, ["a", 1, 2], ["a", 1, 2, 3], ["a", 1.0, 2, []], ["a", 1, 2, [True]], [1, 1, 2, []]]
)
def test_garbage_is_a_bad_message(row):
    with pytest.raises(BadMessage):
        Learned.read(row)
