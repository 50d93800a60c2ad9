"""Which image stands for this machine's distribution."""

import pytest

from womm.setup import distribution


@pytest.mark.parametrize(
    ("lines", "image"),
    [
        ('ID=debian\nVERSION_ID="12"', "debian:12"),
        ("NAME='Ubuntu'\nID=ubuntu\nVERSION_ID='22.04'\nID_LIKE=debian", "ubuntu:22.04"),
        ("ID=fedora\nVERSION_ID=40", "fedora:40"),
        ('ID="alpine"\nVERSION_ID=3.20.3', "alpine:3.20"),
        ("ID=arch\nBUILD_ID=rolling", "archlinux"),
        ("ID=debian\nPRETTY_NAME=sid", "debian:12"),  # testing has no version
        ("ID=alpine\nVERSION_ID=3.21_alpha", "debian:12"),
        ("ID=nixos\nVERSION_ID=24.05", "debian:12"),
        ("", "debian:12"),
        ("\x00\xff no such = format", "debian:12"),
    ],
)
def test_own_image_by_os_release(tmp_path, lines, image):
    path = tmp_path / "os-release"
    path.write_text(lines + "\n")
    assert distribution.own(path) == image


def test_own_image_without_an_os_release(tmp_path):
    assert distribution.own(tmp_path / "none") == "debian:12"
