"""The name beside a file for its other version."""

from womm.share.beside import beside_name


def test_name_beside_fits_a_disk_whatever_the_name() -> None:
    assert beside_name(b"a.txt", "k2x9", 1) == b"a.txt.womm-k2x9"
    assert beside_name(b"a.txt", "k2x9", 2) == b"a.txt.womm-k2x9.2"
    assert len(beside_name(b"n" * 255, "k2x9", 12)) == 255
