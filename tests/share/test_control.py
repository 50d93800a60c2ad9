"""Which paths pods may change, by their names alone."""

import os

import pytest

from womm.project import FILE_NAME
from womm.share.control import NAMES, Change, Refusal, Writable, is_control
from womm.share.ignore import RULES

ALL = list(Change)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("above", [b"", b"a/", b"a/.b/c/"])
@pytest.mark.parametrize("below", [b"", b"/x", b"/x/y"])
def test_names_of_womms_are_its_own_at_any_depth_with_all_below_them(name, above, below):
    assert is_control(above + name + below)
    for paths in ((), (b"",), (above + name,), (b"a",)):
        for change in ALL:
            assert Writable.only(paths).why_not(above + name + below, change) is Refusal.CONTROL


@pytest.mark.parametrize(
    "twin",
    [
        b".WOMM",
        b".Womm",
        b".wommIgnore",
        b".womm.",
        b".womm . ",
        ".wo\u200bmm".encode(),
        "\ufeff.womm".encode(),
        ".womm\u00adignore".encode(),
        ".WOMM\u2060".encode(),
    ],
)
def test_what_some_file_system_takes_for_such_a_name_is_one(twin):
    assert is_control(twin) and is_control(b"a/" + twin + b"/b")


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"womm",
        b".womm-doctor-abc",
        b".womm2",
        b"x.womm",
        b".wommignore~",
        b".gitignore",
        b".w\xc3\xb6mm",
        b".womm\xff",
        b"\xff\xfe.womm",
    ],
)
def test_other_names_are_not(name):
    assert not is_control(name)


def test_share_write_admits_what_is_below_and_the_way_to_it():
    writable = Writable.only([b"out", b"a/b", b"file"])
    free = Writable.only([])
    table = {
        b"out/x": ALL,
        b"out/x/y": ALL,
        b"a/b/c": ALL,
        b"out": [Change.MAKE_DIRECTORY, Change.MAKE_FILE, Change.WRITE],
        b"file": [Change.MAKE_DIRECTORY, Change.MAKE_FILE, Change.WRITE],
        b"a": [Change.MAKE_DIRECTORY],
        b"": [Change.MAKE_DIRECTORY],
        b"a/x": [],
        b"outer": [],
        b"out2/x": [],
        b"Out/x": [],
        b"x": [],
    }
    for path, admitted in table.items():
        for change in ALL:
            expected = None if change in admitted else Refusal.OUTSIDE
            assert writable.why_not(path, change) is expected, (path, change)
            assert free.why_not(path, change) is None
    assert writable.holds(b"out/x") and not writable.holds(b"a/x") and not writable.holds(b"out/.womm")


def test_files_that_womm_reads_in_a_folder_are_its_own():
    assert {os.fsencode(FILE_NAME), os.fsencode(RULES)} <= set(NAMES)


def test_a_dot_is_the_whole_folder():
    assert Writable.only([b"."]).why_not(b"x", Change.PLACE) is None
