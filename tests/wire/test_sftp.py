"""Errors of the operating system come over as they were, and by the draft's codes where it has them."""

import errno
import os

import pytest

from womm.wire.sftp import FILE_TYPES, SPECIAL_TYPE, UNKNOWN_TYPE, Code, code_of, errno_of, error_words


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_an_error_is_the_same_at_the_other_end(number):
    words = error_words(number, os.strerror(number)).encode()
    assert errno_of(code_of(number), words) == number


@pytest.mark.parametrize("code", list(Code))
def test_a_code_without_a_number_in_its_words_is_an_error(code):
    if code in (Code.OK, Code.EOF):
        return
    found = errno_of(code, b"words of another server")
    assert found in errno.errorcode
    if code not in (Code.FAILURE, Code.BAD_MESSAGE, Code.INVALID_HANDLE, Code.NO_SUCH_PATH):
        assert code_of(found) in (code, Code.PERMISSION_DENIED)


def test_a_handle_that_the_other_side_does_not_know_is_stale():
    assert errno_of(Code.INVALID_HANDLE, b"") == errno.ESTALE


def test_words_that_only_look_like_a_number_are_words():
    for words in (b"errno=", b"errno=x ", b"errno=5", b" errno=5 ", b"errno=99999999999999999999 "):
        assert errno_of(Code.NO_SUCH_FILE, words) == errno.ENOENT


def test_each_type_of_file_has_a_number_of_its_own():
    numbers = [*FILE_TYPES.values(), SPECIAL_TYPE, UNKNOWN_TYPE]
    assert len(set(numbers)) == len(numbers)
