"""The pieces of a large file, as they come from the other side."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.test_pack import reader
from womm.store.pack import BadPack
from womm.store.protocol import PIECE, TORN, WHOLE
from womm.store.receive import receive_pieces

END = PIECE.pack(0, 0)


def piece(offset: int, data: bytes) -> bytes:
    return PIECE.pack(offset, len(data)) + data


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, 1 << 20, 0)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_pieces_are_written_at_their_offsets_and_the_rest_is_zero(fd: int, size: int) -> None:
    said = piece(6, b"end") + piece(0, b"be") + END + WHOLE + b"rest"
    source = reader(said, size)
    assert receive_pieces(source, fd, 10)
    assert content(fd) == b"be\0\0\0\0end\0"
    assert source.exactly(4) == b"rest"


def test_no_pieces_are_a_file_of_zeros_or_of_nothing(fd: int) -> None:
    for size in (1000, 0):
        assert receive_pieces(reader(END + WHOLE, 100), fd, size)
        assert content(fd) == bytes(size)


def test_pieces_over_an_older_version_leave_what_they_do_not_name(fd: int) -> None:
    os.write(fd, b"0123456789")
    assert receive_pieces(reader(piece(2, b"ab") + END + WHOLE, 100), fd, 6)
    assert content(fd) == b"01ab45"


@pytest.mark.parametrize("last", [TORN, b"?", b"\0"])
def test_file_that_is_not_whole_says_so(fd: int, last: bytes) -> None:
    assert not receive_pieces(reader(piece(0, b"x") + END + last, 100), fd, 1)


@pytest.mark.parametrize(
    "said",
    [piece(0, b"12345"), piece(4, b"x"), piece(1 << 63, b"x"), PIECE.pack((1 << 64) - 1, (1 << 64) - 1)],
    ids=range(4),
)
def test_piece_behind_the_end_is_refused_before_it_is_written(fd: int, said: bytes) -> None:
    with pytest.raises(BadPack, match="behind the end"):
        receive_pieces(reader(said + END + WHOLE, 100), fd, 4)
    assert content(fd) == bytes(4)


def test_pieces_that_are_cut_anywhere_are_the_end_of_the_stream(fd: int) -> None:
    said = piece(0, b"abc") + END + WHOLE
    for at in range(len(said)):
        with pytest.raises(EOFError):
            receive_pieces(reader(said[:at], 100), fd, 3)
