"""Writes that the user's disk does not take: known before, or learned from those that it has refused.

Strategy: a write is acknowledged before it is on the user's side, so its program must not hear too late that
there is no room for it. The user's side says how large a file may become. COMMIT, a close and a stable WRITE
wait for the user's side while any file is refused (a quota shows itself only so), and beyond the size that is
known to be good. A write that no second try can mend is given up, and its writers get the error once.
"""

import errno
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import ask
from womm.nfs.status import NFSError
from womm.wire.extensions import Largest, Position

FINAL: Final = frozenset([errno.EFBIG, errno.EINVAL, errno.EOVERFLOW])
"""Errors that a second try gets, too. Space, quotas and permissions may be better next time."""
ANY_DISK_BYTES: Final = (1 << 31) - 1
"""Every disk takes files of this size."""
_LARGEST_BYTES: Final = (1 << 63) - 1


def complain(node: FileNode) -> None:
    """Raise the error of a file's last flush; once, if it is not tried again."""
    error = node.use.error
    if error is not None:
        if error.errno in FINAL:
            node.use.admitted()
        raise OSError(error.errno, error.strerror)


class Refusals:
    """Which files of a share are refused now, and the size from which on that is to be expected."""

    def __init__(self) -> None:
        self._files: dict[FileNode, int] = {}
        """By their errors."""
        self._good_bytes = ANY_DISK_BYTES
        self.largest_bytes = _LARGEST_BYTES
        """How large a file may become."""
        self._told_by: sftp.Session | None = None

    def __repr__(self) -> str:
        return f"<Refusals of {len(self._files)} files>"

    async def learn(self, node: FileNode) -> None:
        """Ask how large a file may become, by one that is open there; once for each connection."""
        handle = node.use.held
        if handle is None or handle.session is self._told_by:
            return
        self._told_by = handle.session
        try:
            reply = await ask(handle.session.extended(Largest(handle.raw)))
            largest_bytes = sftp.as_extended(reply, Position).offset
        except (OSError, NFSError):
            largest_bytes = 0  # it cannot say
        self.largest_bytes = largest_bytes or _LARGEST_BYTES
        self._good_bytes = largest_bytes or max(self._good_bytes, ANY_DISK_BYTES)

    def new(self, node: FileNode, error: OSError) -> bool:
        """Note that a file was refused. Return whether it was not, for this reason, before."""
        before, self._files[node] = self._files.get(node), error.errno or errno.EIO
        return before != error.errno

    def over(self, node: FileNode) -> None:
        """A file is not refused any more, or there is nothing to be sent of it."""
        self._files.pop(node, None)
        if node.version:
            self._good_bytes = max(self._good_bytes, node.version[0])

    def doubtful(self, end: int) -> bool:
        """May what reaches up to `end` be refused?"""
        return bool(self._files) or end > self._good_bytes
