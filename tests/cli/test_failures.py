"""Errors of the system in words: each names its file and the next command to type."""

import errno
import os

import pytest

from womm.cli.failures import explain


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
