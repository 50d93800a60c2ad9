"""The line that tells which files are not in the folder."""

import pytest

from womm.share.lazy.unsent import NAMED, MissingFiles, not_in_the_folder


@pytest.mark.parametrize(
    ("names", "count", "words"),
    [
        (["a"], 1, "a"),
        (["d/a b", "c"], 2, "d/a b, c"),
        (["x\n\x1b[31m", "caf\u00e9\udcff\ud800"], 2, r"x\n\x1b[31m, café\xff\ud800"),
        ([str(number) for number in range(NAMED)], NAMED, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ([str(number) for number in range(NAMED + 1)], NAMED + 1, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"),
        (["a"], 1001, "a and 1,000 more"),
        ([], 3, "3 files"),
    ],
)
def test_ten_files_are_named_and_what_no_terminal_should_get_is_escaped(names, count, words):
    assert not_in_the_folder(names, count, "why") == f"what jobs wrote is not in the folder (why): {words}"


def test_files_that_are_told_twice_are_one():
    assert MissingFiles(("a", "b"), 5) | MissingFiles(("b", "c"), 2) == MissingFiles(("a", "b", "c"), 6)
    assert not MissingFiles() | MissingFiles()
