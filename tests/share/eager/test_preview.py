"""What a first copy would be, in numbers and names."""

from pathlib import Path

import pytest

from tests.share.eager.eagers import Rig, in_store
from tests.share.eager.test_push import NoNumbers
from womm.share.eager.preview import Limits, Preview, some_names


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_preview_counts_and_names_the_ten_largest(rig: Rig) -> None:
    for number in range(15):
        (rig.folder / f"f{number:02}").write_bytes(b"x" * number * 1000)
    (rig.folder / "7").write_bytes(b"ignored")
    share = rig.share(ignore=NoNumbers())
    found = in_store(lambda dial: share.preview())
    assert (found.files, found.size_bytes, found.ignored) == (15, 105_000, 1)
    assert [path for _, path in found.largest] == [b"f%02d" % number for number in range(14, 4, -1)]
    assert found.lines()[0] == "15 files in 0 directories, 105 kB; 1 left out by .wommignore"
    assert found.lines()[1].split() == ["14", "kB", "f14"]


@pytest.mark.parametrize(
    "files, size_bytes, exceeds",
    [(2, 100, False), (3, 100, True), (2, 101, True), (0, 0, False)],
)
def test_preview_exceeds_a_limit_only_above_it(files: int, size_bytes: int, exceeds: bool) -> None:
    found = Preview(files, 0, size_bytes, (), 0, (), ())
    assert found.exceeds(Limits(files=2, size_bytes=100)) == exceeds


def test_preview_escapes_names_and_is_one_line_of_an_empty_folder() -> None:
    assert Preview(0, 0, 0, (), 0, (), ()).lines() == ["0 files in 0 directories, 0 B"]
    lines = Preview(1, 1, 5, ((5, b"a\n\x1b[31m\xff"),), 1234, (), ()).lines()
    assert lines[0] == "1 file in 1 directory, 5 B; 1,234 left out by .wommignore"
    assert lines[1].endswith(" a\\n\\x1b[31m\\xff")


def test_some_names_are_five_and_a_count() -> None:
    names = [b"f%d" % number for number in range(1006)]
    assert some_names([]) == ""
    assert some_names(names[:5]) == "f0, f1, f2, f3, f4"
    assert some_names(names[:6]) == "f0, f1, f2, f3, f4 and 1 more"
    assert some_names([b"\x1b"] * 1006) == "\\x1b, \\x1b, \\x1b, \\x1b, \\x1b and 1,001 more"
