"""Packets of SFTP: what the user's side packs the file server reads; garbage is BadMessage."""

import errno
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.wire.attributes import pack_stat
from womm.wire.fields import BadMessage
from womm.wire.replies import (
    BODY_AT,
    DATA_HEAD_BYTES,
    data_head,
    failure,
    init,
    message,
    names,
    pack_name,
    read_names,
    read_number,
    read_status,
    read_version,
    status,
    version,
)
from womm.wire.sftp import Code, Kind

READS = (read_number, read_version, read_status, read_names)


def packet(data):
    """Without its length, which must be right."""
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    return bytes(data[4:])


def test_first_words():
    assert init() == b"\0\0\0\5\1\0\0\0\6"
    assert read_version(packet(version([(b"a", b"1"), (b"b", b"")]))) == (6, {b"a": b"1", b"b": b""})


@given(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=50))
def test_a_packet_has_its_kind_its_number_and_its_body(kind, number, body):
    found = packet(message(kind, number, body))
    assert (found[0], read_number(found), found[BODY_AT:]) == (kind, number, body)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, 14),
        (errno.EDQUOT, 15),
        (errno.EROFS, 12),
        (errno.EACCES, 3),
        (errno.EPERM, 3),
        (errno.EMLINK, 4),
        (errno.EIO, 4),
    ],
)
def test_an_error_has_its_code_and_its_number(number, code):
    found = failure(7, OSError(number, os.strerror(number)))
    size, kind, request, told, length = struct.unpack_from(">IBIII", found)
    assert (size, kind, request, told) == (len(found) - 4, 101, 7, code)
    assert found[17 : 17 + length].decode() == f"errno={number} {os.strerror(number)}"
    assert read_status(packet(found)) == (code, number)


def test_an_error_without_a_number_is_eio():
    assert read_status(packet(failure(7, OSError("words \udcff")))).errno == errno.EIO


def test_a_status_may_have_no_words():
    assert read_status(packet(status(7))).code == Code.OK
    assert read_status(packet(status(7))[: BODY_AT + 4]).code == Code.OK


@pytest.mark.parametrize("at_end", [False, True])
def test_names_are_read_as_they_were_packed(tmp_path, at_end):
    (tmp_path / "a").write_bytes(b"12345")
    found = os.lstat(tmp_path / "a")
    packed = [pack_name(b"a", pack_stat(found)), pack_name(b"target")]
    told, last = read_names(packet(names(7, packed, at_end)))
    assert [name for name, _ in told] == [b"a", b"target"]
    assert (told[0][1].ino, told[0][1].size, told[1][1].ino) == (found.st_ino, 5, 0)
    assert last is at_end


def test_names_that_are_cut_anywhere_are_a_bad_message(tmp_path):
    whole = packet(names(7, [pack_name(b"a", pack_stat(os.lstat(tmp_path)))], False))
    for end in range(len(whole)):
        with pytest.raises(BadMessage):
            read_names(whole[:end])


@pytest.mark.parametrize(("size", "at_end"), [(3, False), (3, True), (0, True)])
def test_the_head_of_data_is_written_before_it(size, at_end):
    buffer = bytearray(DATA_HEAD_BYTES + 5)
    buffer[DATA_HEAD_BYTES:] = b"abcde"
    data_head(buffer, 7, size, at_end)
    body = b"abcde"[:size]
    expected = message(Kind.DATA, 7, len(body).to_bytes(4, "big") + body + (b"\1" if at_end else b""))
    assert bytes(buffer) == expected


@given(st.binary(max_size=80))
def test_garbage_is_read_or_is_a_bad_message(garbage):
    for read in READS:
        try:
            read(garbage)
        except BadMessage:
            pass
