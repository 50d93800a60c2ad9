"""The room on the user's disk: `UserDisk`.

Strategy: this asks for it at most once a second, and in the background while there is plenty. Bytes that were
sent since the last answer, and those that are still to be sent, count as taken.
"""

import asyncio
import errno
import os
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.connection import UserLink
from womm.fileserver.contents.backlog import Backlog
from womm.fileserver.tree.questions import ask
from womm.nfs.filesystem import Space
from womm.nfs.status import NFSError, Status
from womm.wire.extensions import DiskSpace, Statvfs

SPACE_S: Final = 1.0
SPACE_OLD_S: Final = 10.0
SPACE_LOW_BYTES: Final = 64 << 20


class UserDisk:
    """The disk of the user's folder, for which `backlog` is waiting."""

    def __init__(self, link: UserLink, backlog: Backlog) -> None:
        self._link = link
        self._backlog = backlog
        self._space: Space | None = None
        self._space_s = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._sent_bytes = 0
        """Since the question for `_space`."""

    def __repr__(self) -> str:
        return f"<UserDisk {self._space}>"

    async def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def sent(self, size_bytes: int) -> None:
        """So many bytes have gone there."""
        self._sent_bytes += size_bytes

    async def check_room(self, size_bytes: int) -> None:
        """Raise OSError(ENOSPC) if so many bytes more do not fit; NFSError(DELAY) if that is not known."""
        if self._left(await self.space()) >= size_bytes:
            return
        if self._left(await self.space(now=True)) < size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def space(self, *, now: bool = False) -> Space:
        """Return its space, at most a few seconds old. Raises NFSError(DELAY)."""
        loop = asyncio.get_running_loop()
        age_s = loop.time() - self._space_s
        if self._space is None or now or age_s > SPACE_S:
            if self._asking is None:
                self._asking = loop.create_task(self._ask())
            low = self._space is None or self._left(self._space) < SPACE_LOW_BYTES
            if (low and self._link.up) or now or age_s > SPACE_OLD_S:
                await asyncio.shield(self._asking)
        if self._space is None:
            raise NFSError(Status.DELAY)
        return self._space

    def _left(self, space: Space) -> int:
        return space.available_bytes - self._sent_bytes - self._backlog.unsent_bytes

    async def _ask(self) -> None:
        try:
            reply = await ask(self._link.session().extended(Statvfs(b"")))
            found = sftp.as_extended(reply, DiskSpace)
            unit = found.fragment_bytes
            self._space = Space(
                found.blocks * unit,
                found.free * unit,
                found.available * unit,
                found.files,
                found.free_files,
                found.available_files,
            )
            self._space_s = asyncio.get_running_loop().time()
            self._sent_bytes = 0
        except (OSError, NFSError):
            pass  # away: what was known is good enough
        finally:
            self._asking = None
