"""The packages before and after."""

import pytest

from womm.testbed import packages
from womm.testbed.container import Change
from womm.testbed.packages import Difference, Packages

DPKG = b"""\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Description: GNU C Library
 Package: not this one

Package: gone
Status: deinstall ok config-files
Version: 1

Package: libx
Status: install ok installed
Architecture: amd64
Version: 3

Package: libx
Status: install ok installed
Architecture: i386
Version: 3
"""
APK = b"C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nP:busybox\nV:1.36\n\n"


def test_list_of_dpkg_is_read():
    assert packages.parsed(DPKG) == {"libc6": "2.36-9", "libx:amd64": "3", "libx:i386": "3"}


def test_list_of_apk_is_read():
    assert packages.parsed(APK) == {"musl": "1.2.5-r0", "busybox": "1.36"}


def test_difference_names_what_was_installed_removed_and_updated():
    before = Packages({"a": "1", "b": "1", "c": "1"})
    after = Packages({"b": "1", "c": "2", "jq": "1.6"})
    assert packages.difference(before, after, []) == Difference(("jq 1.6",), ("a",), ("c 1 -> 2",))


def test_python_packages_are_told_by_their_folders():
    site = "/usr/local/lib/python3.12/site-packages"
    listed = [
        Change("A", f"{site}/numpy-2.1.0.dist-info"),
        Change("A", f"{site}/numpy-2.1.0.dist-info/METADATA"),
        Change("D", f"{site}/old_one-1.0.dist-info"),
        Change("D", f"{site}/pip-24.0.dist-info"),
        Change("A", f"{site}/pip-25.0.dist-info"),
        Change("A", f"{site}/legacy-0.1-py3.12.egg-info"),
        Change("A", "/usr/lib/python3/dist-packages/of_debian-1.dist-info"),
    ]
    assert packages.difference(Packages(), Packages(), listed) == Difference(
        ("legacy (Python) 0.1", "numpy (Python) 2.1.0"),
        ("old_one (Python)",),
        ("pip (Python) 24.0 -> 25.0",),
    )


def test_packages_of_pacman_are_told_by_their_folders():
    listed = [
        Change("A", "/var/lib/pacman/local/jq-1.7.1-2"),
        Change("A", "/var/lib/pacman/local/jq-1.7.1-2/desc"),
    ]
    assert packages.difference(Packages(), Packages(), listed).added == ("jq 1.7.1-2",)


def test_lines_are_few():
    added = tuple(f"p{number} 1" for number in range(40))
    lines = Difference(added, ("old",)).lines()
    assert lines[0].startswith("+ 40 packages installed: p0 1, p1 1")
    assert lines[0].endswith("p11 1 and 28 more")
    assert lines[1:] == ["- 1 package removed: old"]
    assert Difference().lines() == []


@pytest.mark.slow
def test_packages_of_a_debian_are_read(beds):
    with beds.open(beds.bases.debian()) as testbed:
        assert {"libc6", "perl-base"} <= packages.read(testbed).installed.keys()


@pytest.mark.slow
def test_image_without_a_package_manager_has_no_packages(testbed):
    assert packages.read(testbed).installed == {}
