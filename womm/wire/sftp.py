"""SFTP version 6: its numbers, and how errors of the operating system travel.

Source: draft-ietf-secsh-filexfer-13, as asyncssh's client speaks it. Only version 6 has times in nanoseconds,
and error codes that tell a full disk from a failure. The draft has no code for most errors: so the words of
every error begin with "errno=N " (N as Linux numbers it), which a client of ours reads.
"""

import errno
import re
import stat
from enum import IntEnum
from typing import Final

VERSION: Final = 6
MAX_MESSAGE_BYTES: Final = (4 << 20) + 1024
"""What asyncssh's client takes and sends."""
MAX_DATA_BYTES: Final = 4 << 20


class Kind(IntEnum):
    """The first byte of a packet: what it is."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    LINK = 21
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


READ_DATA: Final = 0x1
WRITE_DATA: Final = 0x2
APPEND_DATA: Final = 0x4
READ_ATTRIBUTES: Final = 0x80
WRITE_ATTRIBUTES: Final = 0x100
"""Bits of `desired-access` in OPEN."""


class Disposition(IntEnum):
    """The lowest three bits of `flags` in OPEN: what becomes of a file that is there, or is not."""

    CREATE_NEW = 0
    CREATE_TRUNCATE = 1
    OPEN_EXISTING = 2
    OPEN_OR_CREATE = 3
    TRUNCATE_EXISTING = 4


DISPOSITION_BITS: Final = 0x7
APPEND_BITS: Final = 0x8 | 0x10
"""Of `flags` in OPEN: append, and append atomically."""
RENAME_REPLACES_BITS: Final = 0x1 | 0x2
"""Of `flags` in RENAME: overwrite, and overwrite atomically."""


class Code(IntEnum):
    """How a STATUS says what has become of a request."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8
    INVALID_HANDLE = 9
    NO_SUCH_PATH = 10
    FILE_ALREADY_EXISTS = 11
    WRITE_PROTECT = 12
    NO_SPACE_ON_FILESYSTEM = 14
    QUOTA_EXCEEDED = 15
    DIR_NOT_EMPTY = 18
    NOT_A_DIRECTORY = 19
    INVALID_FILENAME = 20
    LINK_LOOP = 21
    CANNOT_DELETE = 22
    INVALID_PARAMETER = 23
    FILE_IS_A_DIRECTORY = 24


_CODES: Final = {
    errno.ENOENT: Code.NO_SUCH_FILE,
    errno.EACCES: Code.PERMISSION_DENIED,
    errno.EPERM: Code.PERMISSION_DENIED,
    errno.EOPNOTSUPP: Code.OP_UNSUPPORTED,
    errno.EBADF: Code.INVALID_HANDLE,
    errno.EEXIST: Code.FILE_ALREADY_EXISTS,
    errno.EROFS: Code.WRITE_PROTECT,
    errno.ENOSPC: Code.NO_SPACE_ON_FILESYSTEM,
    errno.EDQUOT: Code.QUOTA_EXCEEDED,
    errno.ENOTEMPTY: Code.DIR_NOT_EMPTY,
    errno.ENOTDIR: Code.NOT_A_DIRECTORY,
    errno.ENAMETOOLONG: Code.INVALID_FILENAME,
    errno.EILSEQ: Code.INVALID_FILENAME,
    errno.ELOOP: Code.LINK_LOOP,
    errno.EINVAL: Code.INVALID_PARAMETER,
    errno.EISDIR: Code.FILE_IS_A_DIRECTORY,
}
_ERRNOS: Final[dict[int, int]] = {
    Code.NO_SUCH_FILE: errno.ENOENT,
    Code.PERMISSION_DENIED: errno.EACCES,
    Code.OP_UNSUPPORTED: errno.EOPNOTSUPP,
    # The other side has closed it, with its connection.
    Code.INVALID_HANDLE: errno.ESTALE,
    Code.NO_SUCH_PATH: errno.ENOENT,
    Code.FILE_ALREADY_EXISTS: errno.EEXIST,
    Code.WRITE_PROTECT: errno.EROFS,
    Code.NO_SPACE_ON_FILESYSTEM: errno.ENOSPC,
    Code.QUOTA_EXCEEDED: errno.EDQUOT,
    Code.DIR_NOT_EMPTY: errno.ENOTEMPTY,
    Code.NOT_A_DIRECTORY: errno.ENOTDIR,
    Code.INVALID_FILENAME: errno.ENAMETOOLONG,
    Code.LINK_LOOP: errno.ELOOP,
    Code.CANNOT_DELETE: errno.EPERM,
    Code.INVALID_PARAMETER: errno.EINVAL,
    Code.FILE_IS_A_DIRECTORY: errno.EISDIR,
}
# What other systems number otherwise.
_LINUX: Final = {
    errno.EAGAIN: 11,
    errno.EDEADLK: 35,
    errno.ENAMETOOLONG: 36,
    errno.ENOTEMPTY: 39,
    errno.ELOOP: 40,
    errno.EILSEQ: 84,
    errno.EOPNOTSUPP: 95,
    errno.ENOTSUP: 95,
    errno.ESTALE: 116,
    errno.EDQUOT: 122,
}
_TELLS_ERRNO: Final = re.compile(rb"errno=([0-9]{1,9}) ")


def code_of(number: int) -> Code:
    """Return the code for an error of the operating system."""
    return _CODES.get(number, Code.FAILURE)


def error_words(number: int, words: str) -> str:
    """Return the words of a STATUS that tells an error of the operating system."""
    return f"errno={_LINUX.get(number, number)} {words}"


def errno_of(code: int, words: bytes) -> int:
    """Return the error of the operating system, as Linux numbers it, that a STATUS tells."""
    told = _TELLS_ERRNO.match(words)
    return int(told[1]) if told else _ERRNOS.get(code, errno.EIO)


FILE_TYPES: Final = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFLNK: 3,
    stat.S_IFSOCK: 6,
    stat.S_IFCHR: 7,
    stat.S_IFBLK: 8,
    stat.S_IFIFO: 9,
}
"""The byte `type` of ATTRS, by the type in a mode."""
SPECIAL_TYPE: Final = 4
UNKNOWN_TYPE: Final = 5
