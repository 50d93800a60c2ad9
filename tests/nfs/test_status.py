"""Statuses, and what an errno becomes."""

import errno
import os

import pytest

from womm.nfs.status import NFSError, Status, status_of


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.ENOENT, Status.NOENT),
        (errno.EACCES, Status.ACCESS),
        (errno.EPERM, Status.PERM),
        (errno.ELOOP, Status.SYMLINK),
        (errno.EDQUOT, Status.DQUOT),
        (errno.EWOULDBLOCK, Status.DELAY),
        (errno.EMFILE, Status.DELAY),
        (errno.ENOTSUP, Status.NOTSUPP),
    ],
)
def test_errno_becomes_the_status_of_its_meaning(number, status):
    # Python has subclasses of OSError for some of them.
    assert status_of(OSError(number, os.strerror(number))) is status


@pytest.mark.parametrize("error", [OSError(), OSError("words"), OSError(0, ""), OSError(99999, "new")])
def test_errno_that_is_missing_or_unknown_is_an_io_error(error):
    assert status_of(error) is Status.IO


def test_every_errno_becomes_a_status_that_is_no_success():
    for number in errno.errorcode:
        assert status_of(OSError(number, "")) is not Status.OK


def test_numbers_that_errnos_share_with_nfs_are_the_same():
    # RFC 7530 13: the first ones are those of Unix.
    for name in ("PERM", "NOENT", "IO", "NXIO", "EXIST", "XDEV", "NOTDIR", "ISDIR", "INVAL", "FBIG", "NOSPC"):
        assert Status[name] == getattr(errno, f"E{name}")


def test_error_carries_its_body_and_is_named_as_in_the_rfc():
    error = NFSError(Status.DENIED, b"who")
    assert (error.status, error.body, str(error)) == (Status.DENIED, b"who", "NFS4ERR_DENIED")
    assert NFSError(Status.NOENT).body == b""
