"""The table of SFTP's requests: which function makes the answer to each.

A function takes what it reads of the request from a Reader; that of an extended request gets it whole. It
returns the answer, or None when that comes later. It raises OSError, which becomes a STATUS, and BadMessage.
"""

import errno
from collections.abc import Callable
from typing import Any, Final

from womm.share.lazy.sftp_server import directories, files, paths
from womm.share.lazy.sftp_server.context import Answer, RequestContext, max_handles
from womm.wire import extensions
from womm.wire.extensions import ExtendedRequest, Limits, SizeLimits
from womm.wire.fields import BadMessage, BadOffset, Reader
from womm.wire.replies import failure, message, status
from womm.wire.sftp import MAX_DATA_BYTES, MAX_MESSAGE_BYTES, Code, Kind, error_words


def answer(context: RequestContext, kind: int, number: int, reader: Reader) -> Answer:
    """Begin the request that the reader is at, and answer it now or later. Raises nothing."""
    try:
        if kind == Kind.EXTENDED:
            return _extended(context, number, reader)
        call = _CALLS.get(kind)
        if call is None:
            raise _unknown()
        return call(context, number, reader)
    except OSError as exc:
        return failure(number, exc)
    except BadMessage as exc:
        code = Code.INVALID_PARAMETER if isinstance(exc, BadOffset) else Code.BAD_MESSAGE
        return status(number, code, error_words(errno.EINVAL, str(exc)))


def _extended(context: RequestContext, number: int, reader: Reader) -> Answer:
    known = _EXTENDED.get(reader.string())
    if known is None:
        raise _unknown()
    request, call = known
    return call(context, number, request.read(reader))


def _unknown() -> OSError:
    return OSError(errno.EOPNOTSUPP, "no such request")


def op_limits(context: RequestContext, number: int, request: Limits) -> bytes:
    found = SizeLimits(MAX_MESSAGE_BYTES, MAX_DATA_BYTES, MAX_DATA_BYTES, max_handles())
    return message(Kind.EXTENDED_REPLY, number, found.pack())


_CALLS: Final[dict[int, Callable[[RequestContext, int, Reader], Answer]]] = {
    Kind.OPEN: files.op_open,
    Kind.CLOSE: files.op_close,
    Kind.READ: files.op_read,
    Kind.WRITE: files.op_write,
    Kind.FSTAT: files.op_fstat,
    Kind.FSETSTAT: files.op_fsetstat,
    Kind.OPENDIR: directories.op_opendir,
    Kind.READDIR: directories.op_readdir,
    Kind.MKDIR: directories.op_mkdir,
    Kind.RMDIR: directories.op_rmdir,
    Kind.LSTAT: paths.op_lstat,
    Kind.STAT: paths.op_lstat,
    Kind.SETSTAT: paths.op_setstat,
    Kind.REMOVE: paths.op_remove,
    Kind.RENAME: paths.op_rename,
    Kind.READLINK: paths.op_readlink,
    Kind.LINK: paths.op_link,
    Kind.REALPATH: paths.op_realpath,
}
_EXTENDED: Final[dict[bytes, tuple[type[ExtendedRequest], Callable[[RequestContext, int, Any], Answer]]]] = {
    request.NAME: (request, call)
    for request, call in (
        (extensions.PosixRename, paths.op_posix_rename),
        (extensions.Statvfs, directories.op_statvfs),
        (extensions.Hardlink, paths.op_hardlink),
        (extensions.Fsync, files.op_fsync),
        (extensions.Lsetstat, paths.op_lsetstat),
        (extensions.Limits, op_limits),
        (extensions.Tree, directories.op_tree),
        (extensions.Rows, directories.op_rows),
        (extensions.Get, paths.op_get),
        (extensions.Put, paths.op_put),
        (extensions.Access, paths.op_access),
        (extensions.Stats, paths.op_stats),
        (extensions.Mknod, paths.op_mknod),
        (extensions.Seek, paths.op_seek),
        (extensions.Find, directories.op_find),
        (extensions.Largest, files.op_largest),
        (extensions.Expect, files.op_expect),
    )
}
