"""Which image stands for a distribution."""

import pytest

from womm.image import distribution


@pytest.mark.parametrize(
    ("image", "lines"),
    [
        ("debian:12", 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm'),
        ("debian:trixie", 'PRETTY_NAME="Debian GNU/Linux trixie/sid"\nID=debian\nVERSION_CODENAME=trixie'),
        ("ubuntu:22.04", 'ID=ubuntu\nVERSION_ID="22.04"\nUBUNTU_CODENAME=jammy'),
        ("ubuntu:jammy", 'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="21.3"\nUBUNTU_CODENAME=jammy'),
        ("debian:bookworm", 'ID=linuxmint\nID_LIKE=debian\nVERSION_ID="6"\nDEBIAN_CODENAME=bookworm'),
        ("fedora:40", "ID=fedora\nVERSION_ID=40"),
        ("alpine:3.20", "ID=alpine\nVERSION_ID=3.20.3"),
        ("archlinux", "ID=arch\nBUILD_ID=rolling"),
        ("archlinux", "ID=manjaro\nID_LIKE=arch"),
        ("opensuse/leap:15.6", 'ID="opensuse-leap"\nVERSION_ID="15.6"'),
        ("opensuse/tumbleweed", 'ID="opensuse-tumbleweed"\nVERSION_ID="20241101"'),
        ("rockylinux:9", "ID='rocky'\nVERSION_ID='9.4'"),
        ("debian:12", "ID=nixos\nVERSION_ID=24.05"),
        ("debian:12", "ID=fedora\nVERSION_ID=40; rm -rf"),
        ("debian:12", ""),
    ],
)
def test_distribution_gives_its_own_image_else_the_usual_one(image, lines):
    assert distribution.image_of(lines) == image


def test_own_distribution_is_the_name_of_an_image():
    assert distribution.own()
