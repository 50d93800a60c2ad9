"""What an eager share and its store say to each other: the kinds of records, and what follows each.

The user's side asks; the store handles one record after another. Numbers are those of the record's header,
see `womm.store.pack`.

    kind  numbers              followed by, and the answer
    q     version              hello: w, with the store's id as its path, the version and the clock
    L                          list: one d, f or l for each path, with mode, size, mtime, ctime; then .
    d     mode, mtime          make a directory
    f     mode, mtime, size    a file of up to SMALL bytes: its content
    F     mode, mtime, size    a larger file: pieces, see PIECE
    l     mtime, size          a symbolic link: its target
    h     size                 one more name for a file: that file's path
    B                          B, with the digests of a large file's blocks
    D     mode, mtime, size    those blocks of it that are others now: pieces
    x     kind, size, mtime    delete if it is still what the user's side thinks
    z                          remove, whatever it is
    G     size                 paths, each ended by NUL: each comes as f, F or l, or n: it is gone; then .
    e                          set directories' times; e, with the number of files and the store's time; end
    !                          from the store: it cannot go on, the path says why
"""

from struct import Struct
from typing import Final

VERSION: Final = 2

HELLO: Final = b"q"
WELCOME: Final = b"w"
LIST: Final = b"L"
END_OF_LIST: Final = b"."
DIRECTORY: Final = b"d"
FILE: Final = b"f"
BIG: Final = b"F"
LINK: Final = b"l"
HARD_LINK: Final = b"h"
BLOCKS: Final = b"B"
DELTA: Final = b"D"
DELETE: Final = b"x"
REMOVE: Final = b"z"
GET: Final = b"G"
GONE: Final = b"n"
END: Final = b"e"
FAILED: Final = b"!"

SMALL: Final = 262144
"""Files up to this size are read before their header is sent, so nothing of them need be taken back."""
PIECE: Final = Struct(">QQ")
"""Offset and length of the data that follows. (0, 0) ends a file; WHOLE or TORN follows."""
WHOLE: Final = b"c"
"""It was the same file from the first piece to the last."""
TORN: Final = b"~"
BLOCK_BYTES: Final = 65536
"""The unit of DELTA: compared, and sent or not."""
DIGEST_BYTES: Final = 16
