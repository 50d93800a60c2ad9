"""What a first copy would be, in numbers and names."""

from pathlib import Path

import pytest

from tests.share.eager.eagers import Rig, in_store
from tests.share.eager.test_push import NoNumbers


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
