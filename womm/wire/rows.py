"""Names, attributes and targets of links in few bytes: what answers `Rows`.

A listing of SFTP has 180 bytes for a name. Here a name has about 40, after zlib, and its link's target.
"""

import os
import zlib
from collections.abc import Iterable
from struct import Struct
from struct import error as StructError
from typing import Final

from womm.wire.attributes import Stat
from womm.wire.fields import BadMessage

_ROW: Final = Struct(">IQqqQQIQHH")
"""Mode, size, times of the last change of content and of the inode, device, inode, links, blocks of 512
bytes, and the lengths of the name and of the target, which follow."""
_LEVEL: Final = 1
MOST_BYTES: Final = 32 << 20
"""Before compression: 200,000 names. More than that is garbage."""

Row = tuple[bytes, Stat, bytes]
"""A name, its attributes (without the time of the last read), and where it leads if it is a symbolic link."""


def pack_row(name: bytes, found: os.stat_result, target: bytes) -> bytes:
    return (
        _ROW.pack(
            found.st_mode,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_dev,
            found.st_ino,
            found.st_nlink,
            found.st_blocks,
            len(name),
            len(target),
        )
        + name
        + target
    )


def compress(rows: Iterable[bytes]) -> bytes:
    return zlib.compress(b"".join(rows), _LEVEL)


def read_rows(packed: bytes) -> list[Row]:
    """Read what `compress` made. Raises BadMessage."""
    decoder = zlib.decompressobj()
    try:
        data = decoder.decompress(packed, MOST_BYTES)
    except zlib.error as exc:
        raise BadMessage(f"no rows: {exc}") from None
    if not decoder.eof:
        raise BadMessage("rows without an end")
    rows: list[Row] = []
    at = 0
    while at < len(data):
        try:
            mode, size, mtime_ns, ctime_ns, dev, ino, nlink, blocks, name, target = _ROW.unpack_from(data, at)
        except StructError:
            raise BadMessage("a row ends too early") from None
        at += _ROW.size
        end = at + name + target
        if end > len(data):
            raise BadMessage("a row ends too early")
        stat = Stat(mode, size, mtime_ns, ctime_ns, mtime_ns, dev, ino, nlink, blocks)
        rows.append((data[at : at + name], stat, data[at + name : end]))
        at = end
    return rows
