"""Rows: names, attributes and targets, as they were packed, or a bad message."""

import os
import random

import pytest

from womm.wire.fields import BadMessage
from womm.wire.rows import compress, pack_row, read_rows


def test_rows_are_read_as_they_were_packed(tmp_path):
    (tmp_path / "f").write_bytes(b"12345")
    os.utime(tmp_path / "f", ns=(-5, -7))
    (tmp_path / "l").symlink_to("f")
    names = [(b"f", b""), (b"l", b"f"), (b"\xff" * 255, b"x" * 4095)]
    found = [os.lstat(tmp_path / name) for name in ("f", "l", "l")]
    pairs = zip(names, found, strict=True)
    packed = compress(pack_row(name, stat, target) for (name, target), stat in pairs)
    rows = read_rows(packed)
    assert [(name, target) for name, _, target in rows] == names
    for (_, stat, _), real in zip(rows, found, strict=True):
        assert (stat.mode, stat.size, stat.mtime_ns, stat.ctime_ns, stat.ino, stat.dev, stat.nlink) == (
            real.st_mode,
            real.st_size,
            real.st_mtime_ns,
            real.st_ctime_ns,
            real.st_ino,
            real.st_dev,
            real.st_nlink,
        )


def test_garbage_is_a_bad_message(tmp_path):
    chance = random.Random(1)
    good = compress([pack_row(b"name", os.lstat(tmp_path), b"")] * 3)
    for end in range(len(good)):
        with pytest.raises(BadMessage):
            read_rows(good[:end])
    row = pack_row(b"name", os.lstat(tmp_path), b"")
    for end in range(1, len(row)):
        with pytest.raises(BadMessage):
            read_rows(compress([row[:end]]))
    for _ in range(500):
        bad = bytearray(good)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        try:
            read_rows(bytes(bad))
        except BadMessage:
            pass


def test_rows_that_would_fill_the_memory_are_a_bad_message():
    with pytest.raises(BadMessage):
        read_rows(compress([bytes(40 << 20)]))
