"""The errors that a user can mend: what each carries, and where they end."""

import re
from pathlib import Path

import pytest

from womm import errors
from womm.errors import FAILURE_STATUS, USAGE_STATUS, UsageError, WommError

TOP = Path(errors.__file__).parent


def test_error_has_message_hint_and_the_status_of_its_family():
    plain, usage = WommError("the disk is full", "df -h"), UsageError("no such option")
    assert (str(plain), plain.message, plain.hint, plain.status) == (
        "the disk is full",
        "the disk is full",
        "df -h",
        FAILURE_STATUS,
    )
    assert (usage.hint, usage.status) == (None, USAGE_STATUS)


@pytest.mark.parametrize("status", [0, 1, 130])
def test_error_may_have_a_status_of_its_own(status):
    assert UsageError("x", status=status).status == status


def test_statuses_leave_gnu_parallels_to_the_user():
    """parallel(1) EXIT STATUS: 0-101 count failed jobs, 255 is another error; 2 is click's for bad words."""
    assert FAILURE_STATUS not in {*range(102), 255}


def families():
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not WommError]


def test_families_are_side_by_side_below_one_root():
    assert len(families()) >= 9
    assert {kind.__base__ for kind in families()} == {WommError}


def test_each_family_is_raised_somewhere():
    text = "".join(path.read_text() for path in TOP.rglob("*.py"))
    assert [kind for kind in families() if not re.search(rf"(?<!class )\b{kind.__name__}\(", text)] == []
