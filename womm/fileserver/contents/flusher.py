"""Flushing: each file with unsent writes has a task that sends its log until nothing is left.

Strategy: a flush that fails leaves the log as it is and is tried again; the error goes to those who write,
commit or flush. A file that the user has renamed or removed meanwhile is looked for before its writes are
given up.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final

from womm.fileserver.contents.backlog import Backlog
from womm.fileserver.contents.handles import NOT_THERE, Handles, stale_error
from womm.fileserver.contents.refusals import FINAL, Refusals, complain
from womm.fileserver.contents.report import Report
from womm.fileserver.contents.sender import Sender
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.nodes import FileNode
from womm.nfs.status import NFSError, Status

log = logging.getLogger(__name__)

FLUSHES: Final = 16
"""Files that are sent at a time."""
FLUSH_DELAY_S: Final = 0.2
"""After a write without a COMMIT: more of it is likely to come."""
RETRY_S: Final = 5.0
AGAIN_S: Final = 0.05


class Flusher:
    """Flushes the files that have something in `backlog`."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        backlog: Backlog,
        handles: Handles,
        sender: Sender,
        refusals: Refusals,
        report: Report,
    ) -> None:
        self._lookup = lookup
        self._link = lookup.link
        self._backlog = backlog
        self._handles = handles
        self._sender = sender
        self._refusals = refusals
        self._report = report
        self._tasks: dict[FileNode, asyncio.Task[None]] = {}
        self._soon: dict[FileNode, asyncio.Event] = {}
        """Set when the task of a file has something to do."""
        self._turns = asyncio.Semaphore(FLUSHES)
        self._progress = asyncio.Event()
        self._watch: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Flusher of {len(self._tasks)} files>"

    async def stop(self) -> None:
        """Stop sending; what is left stays in the logs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def watch(self, call: Callable[[], None]) -> None:
        """Have `call` hear of each file that has its first bytes to be sent."""
        self._watch = call

    @property
    def unsent(self) -> Collection[FileNode]:
        """Files with bytes to be sent, those that wait longest first."""
        return self._tasks.keys()

    # -- progress ---------------------------------------------------------------------------------
    def advance(self) -> None:
        """Wake those who wait for a flush, or for the link."""
        before, self._progress = self._progress, asyncio.Event()
        before.set()

    async def progress(self) -> None:
        """Wait until a flush has ended, or the link has come or gone."""
        await self._progress.wait()

    @property
    def stuck(self) -> bool:
        """Is everything that is to be sent refused?"""
        return all(node.use.error is not None for node in self._tasks)

    # -- when -------------------------------------------------------------------------------------
    def flush_soon(self, node: FileNode, delay_s: float = 0.0) -> None:
        """Have a file's log sent, in `delay_s` at the latest."""
        soon = self._soon.get(node)
        if soon is None:
            soon = self._soon[node] = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._flush(node, soon))
            self._tasks[node] = task
            task.add_done_callback(self._done)
            self._watch()
        if not delay_s:
            soon.set()
        elif not soon.is_set():
            asyncio.get_running_loop().call_later(delay_s, soon.set)

    def flush_all_soon(self) -> None:
        """Have all logs sent now."""
        for soon in self._soon.values():
            soon.set()

    async def settle(self, node: FileNode) -> None:
        """Return when what was written to a file so far is on the user's side.

        Raises OSError for what cannot be written, NFSError(DELAY) without a link.
        """
        found = node.use.log
        if found is None:
            return
        mark = found.appended
        while node.use.log is found and found.flushed < mark:
            complain(node)
            if not self._link.up:
                raise NFSError(Status.DELAY)
            progress = self._progress
            self.flush_soon(node)
            await progress.wait()
        complain(node)

    async def flush(self) -> tuple[int, dict[bytes, OSError]]:
        """Send all that was written before; return its bytes, and what cannot be written.

        Waits for the link as long as it takes.
        """
        written = [(node, node.use.log) for node in self._tasks]
        marks = [(node, found, found.appended) for node, found in written if found is not None]
        before = self._sender.sent_bytes
        for node, _, _ in marks:
            node.use.admitted()
            self.flush_soon(node)
        for node, found, mark in marks:
            while node.use.log is found and found.flushed < mark and node.use.error is None:
                await self._progress.wait()
        failed = {node.report_name(): node.use.error for node, _, _ in marks if node.use.error is not None}
        return self._sender.sent_bytes - before, self._report.failed | failed

    def discard(self, node: FileNode) -> None:
        """Forget what was written to a file and not sent: it is removed, or cut to nothing.

        The caller has its lock, so that nothing of it is on its way.
        """
        self._backlog.drop(node)
        node.use.admitted()
        self._refusals.over(node)
        soon = self._soon.get(node)
        if soon is not None:
            soon.set()

    # -- the task of a file -----------------------------------------------------------------------
    async def _flush(self, node: FileNode, soon: asyncio.Event) -> None:
        """Send a file's log until there is none."""
        loop = asyncio.get_running_loop()
        while node.use.log is not None:
            await soon.wait()
            await self._link.wait()
            soon.clear()
            path = node.path()
            try:
                async with self._turns, node.use.lock():
                    await self._turn(node)
                self._fails(node, None)
                if node.use.log is not None:
                    loop.call_later(FLUSH_DELAY_S, soon.set)
            except NFSError:  # the link was cut, or the file is gone
                loop.call_later(AGAIN_S, soon.set)
            except OSError as exc:
                if exc.errno in NOT_THERE and await self._is_elsewhere(node, path):
                    loop.call_later(AGAIN_S, soon.set)
                    continue
                self._fails(node, exc)
                loop.call_later(RETRY_S, soon.set)
            self.advance()
        # At once: what is written from now on has a task of its own.
        self._tasks.pop(node, None)
        self._soon.pop(node, None)
        self._handles.release(node)

    def _done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("a flusher failed", exc_info=task.exception())
        self.advance()

    async def _turn(self, node: FileNode) -> None:
        """Send what is in the log now. Raises OSError; NFSError(DELAY) when the link is cut."""
        found = node.use.log
        if found is None:
            return
        if node.gone and node.use.held is None and not await self._handles.find_again(node):
            self._abandon(node)
            return
        if node.stat is None:
            await self._lookup.fresh(node)
        await self._sender.send(node, found)

    def _fails(self, node: FileNode, error: OSError | None) -> None:
        """Note the error of a flush, or that it has none; log it, but not again and again."""
        if error is not None:
            if self._refusals.new(node, error):
                log.warning("%r cannot be written: %s", node.reported_path, error)
            node.use.refused(error)
            return
        self._refusals.over(node)
        if node.use.error is not None and node.use.error.errno not in FINAL:
            node.use.admitted()

    async def _is_elsewhere(self, node: FileNode, path: bytes) -> bool:
        """Look whether the user has removed a file, or renamed what it is in."""
        node.doubted()
        try:
            await self._lookup.fresh(node)
        except NFSError:  # it is, or that is not known yet
            return True
        except OSError:
            pass
        return node.gone or node.path() != path

    def _abandon(self, node: FileNode) -> None:
        """Drop what was written to a file that is no more."""
        error = stale_error()
        node.use.refused(error)
        if node.reported_path:
            self._report.lose(node.reported_path, error)
        self._backlog.drop(node)
        self._refusals.over(node)
