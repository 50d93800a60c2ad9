"""The name beside a file for its other version."""

import os

import pytest

from womm.share.beside import beside_name


def test_name_beside_fits_a_disk_whatever_the_name() -> None:
    assert beside_name(b"a.txt", "k2x9", 1) == b"a.txt.womm-k2x9"
    assert beside_name(b"a.txt", "k2x9", 2) == b"a.txt.womm-k2x9.2"
    assert len(beside_name(b"n" * 255, "k2x9", 12)) == 255


@pytest.mark.parametrize("name", [b"n", b"n" * 240, b"n" * 255, b"\xff\n", b".hidden", b"a.womm-t1"])
def test_names_beside_a_file_are_all_different_and_say_which_file_it_was(name: bytes) -> None:
    found = [beside_name(name, "t1", number) for number in range(1, 1000)]
    assert len({name, *found}) == 1000
    for beside in found:
        start, _, number = beside.rpartition(b".womm-t1")
        assert name.startswith(start) and start
        assert number == b"" or number.startswith(b".")
        assert len(beside) <= 255


def test_name_beside_has_the_bytes_of_a_task_that_is_no_utf_8() -> None:
    assert beside_name(b"f", os.fsdecode(b"\xff"), 1) == b"f.womm-\xff"
