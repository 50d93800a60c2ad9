"""Writes of clients: `Writer`.

Strategy: a write goes into the file's log on the pod's disk, which is enough to acknowledge it; the flusher
takes it to the user's side. A write waits while the logs are full. It is refused when the user's disk is full
or the last flush of the file has failed.
"""

import asyncio
import errno
import os
from typing import Final

from womm.fileserver.contents.backlog import Backlog
from womm.fileserver.contents.clock import UserClock
from womm.fileserver.contents.fetch import OpenFile
from womm.fileserver.contents.flusher import FLUSH_DELAY_S, Flusher
from womm.fileserver.contents.refusals import Refusals, complain
from womm.fileserver.contents.report import Report
from womm.fileserver.contents.space import UserDisk
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.writelog import WriteLog
from womm.nfs.status import NFSError, Status

FLUSH_AT_BYTES: Final = 4 << 20
"""A log of this size is sent without delay."""


class Writer:
    """Takes the writes of clients."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        backlog: Backlog,
        flusher: Flusher,
        disk: UserDisk,
        refusals: Refusals,
        report: Report,
        clock: UserClock,
    ) -> None:
        self._lookup = lookup
        self._link = lookup.link
        self._backlog = backlog
        self._flusher = flusher
        self._disk = disk
        self._refusals = refusals
        self._report = report
        self._clock = clock

    async def write(self, file: OpenFile, offset: int, data: memoryview, sync: bool) -> int:
        """Write; with `sync` return when it is on the pod's disk. Return how many bytes were taken."""
        node = file.node
        if node.stat is None:
            await self._lookup.fresh(node)
        complain(node)
        await self._room(node, offset, len(data))
        # The client asks again for what is cut off here, and is refused.
        data = data[: max(0, self._refusals.largest_bytes - offset)]
        if node.gone and node.use.held is None:
            raise NFSError(Status.STALE)
        log = self._log(file)
        now_ns = self._clock.now_ns()
        try:
            self._backlog.append(log, offset, data, now_ns)
        except OSError as exc:
            self._flusher.flush_soon(node)
            if exc.errno == errno.ENOSPC and self._backlog.unsent_bytes:
                # The pod's disk: there is room once what is on it is sent.
                self._flusher.flush_all_soon()
                raise NFSError(Status.DELAY) from exc
            raise
        node.wrote(offset + len(data), now_ns)
        file.wrote = True
        self._report.touch(node)
        urgent = sync or log.pieces.size_bytes > FLUSH_AT_BYTES
        self._flusher.flush_soon(node, 0 if urgent else FLUSH_DELAY_S)
        if sync:
            await self._sync(node)
            await self._sure(node)
        return len(data)

    async def commit(self, node: FileNode) -> None:
        """Return when what was written is on the pod's disk, or on the user's side."""
        complain(node)
        await self._sync(node)
        await self._sure(node)
        if node.use.log is not None:
            self._flusher.flush_soon(node)

    def _log(self, file: OpenFile) -> WriteLog:
        """Return the log of a file, a new one if it has none."""
        node = file.node
        log = node.use.log
        if log is None:
            # Its name first: by that the next process knows which file the log is of.
            self._lookup.tree.table.sync()
            log = self._backlog.begin(node, file.known_edits)
        file.known_edits = node.user_edits
        return log

    async def _sync(self, node: FileNode) -> None:
        log = node.use.log
        if log is not None and not log.synced:
            await asyncio.get_running_loop().run_in_executor(None, log.sync)

    async def _sure(self, node: FileNode) -> None:
        """Wait for the user's side while it is not certain that it will take what was written."""
        log = node.use.log
        if log is not None and self._link.up and self._refusals.doubtful(log.pieces.end):
            await self._flusher.settle(node)

    async def _room(self, node: FileNode, offset: int, count: int) -> None:
        """Wait until more may be written. Raises NFSError, OSError."""
        while self._flusher.unsent and not self._backlog.has_room(count):
            if not self._link.up:
                raise NFSError(Status.DELAY)
            if self._flusher.stuck:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the logs will not become shorter
            self._flusher.flush_all_soon()
            await self._flusher.progress()
        if not self._link.up or (node.version and offset + count <= node.version[0]):
            return
        await self._disk.check_room(count)
        await self._refusals.learn(node)
        if offset >= self._refusals.largest_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
