"""Takes what `womm.store.send` sends in pieces; both sides do, each into its own folder."""

import os

from womm.store.pack import BadPack, Source, write_all
from womm.store.protocol import PIECE, WHOLE


def receive_pieces(source: Source, fd: int, size: int) -> bool:
    """Write a BIG file's pieces into an open file; return whether they are of one moment."""
    os.truncate(fd, size)
    while True:
        offset, length = PIECE.unpack(source.exactly(PIECE.size))
        if length == 0:
            return source.exactly(1) == WHOLE
        if offset + length > size:
            raise BadPack("data behind the end of its file")
        os.lseek(fd, offset, os.SEEK_SET)
        for piece in source.pieces(length):
            write_all(fd, piece)
