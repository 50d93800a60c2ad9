"""Errors of the system in words: each names its file and the next command to type."""

import errno
import os

import pytest

from womm.cli.failures import explain

FULL = "No space left on device"


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "ls -ld '/tmp/a b'"),
        (errno.EROFS, "findmnt -T /tmp"),
        (errno.EDQUOT, "quota -s"),
        (errno.ENOSPC, "df -h /tmp"),
        (errno.EMFILE, "ulimit -n $(ulimit -Hn)"),
        (errno.ENOENT, "ls -ld '/tmp/a b'"),
    ],
)
def test_error_of_the_system_names_its_file_and_a_command(number, hint):
    assert explain(OSError(number, os.strerror(number), "/tmp/a b")) == (
        f"/tmp/a b: {os.strerror(number)}",
        hint,
    )
    assert explain(OSError(number, os.strerror(number), b"/tmp/a b"))[1] == hint
    assert os.strerror(number) in explain(OSError(number, os.strerror(number)))[0]


def test_error_without_a_file_that_no_user_can_mend_stays_a_bug():
    with pytest.raises(OSError, match="Bad file descriptor"):
        explain(OSError(errno.EBADF, "Bad file descriptor"))


def test_error_of_a_file_that_never_was_leads_to_the_nearest_folder(tmp_path):
    path = tmp_path / "gone" / "below" / "file"
    assert explain(OSError(errno.ENOSPC, FULL, str(path))) == (f"{path}: {FULL}", f"df -h {tmp_path}")
    assert explain(OSError(errno.ENOSPC, FULL, "file"))[1] == "df -h ."


@pytest.mark.parametrize(
    ("name", "shown", "quoted"),
    [
        (b"a'b", "a'b", """'a'"'"'b'"""),
        (b"$(reboot)", "$(reboot)", "'$(reboot)'"),
        (b"a\nwomm: hint: rm -r /", r"a\nwomm: hint: rm -r /", r"'a\nwomm: hint: rm -r /'"),
        (b"\x1b[31m", r"\x1b[31m", r"'\x1b[31m'"),
        (b"gr\xfc", r"gr\xfc", r"'gr\xfc'"),
    ],
)
def test_error_of_a_hostile_name_is_one_line_that_is_safe_to_type(name, shown, quoted):
    for filename in (name, os.fsdecode(name)):
        message, hint = explain(OSError(errno.EACCES, "Permission denied", filename))
        assert (message, hint) == (f"{shown}: Permission denied", f"ls -ld {quoted}")


def test_error_of_a_library_without_a_number_stays_a_bug():
    with pytest.raises(OSError, match="odd"):
        explain(OSError("odd"))
