"""The contents of files: blocks that come from the user's side, and writes that go there behind.

Strategy: a write goes into the file's log on the pod's own disk and is acknowledged; reads see it over the
blocks (fetch.py). A task per written file sends the log, in its order, through one handle, sets the time of
the last write, and removes what it has sent. What fails stays in the log, is tried again, and is told to
whoever writes, commits or flushes.
"""

import asyncio
import errno
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.connection import UserLink
from womm.fileserver.contents.blocks import BLOCK_BYTES, Blocks
from womm.fileserver.contents.fetch import Changed, Fetcher, OpenFile
from womm.fileserver.contents.refusals import FINAL, Refusals
from womm.fileserver.contents.sending import Sending, Window, chunks
from womm.fileserver.tree.nodes import FileNode, Handle
from womm.fileserver.tree.tree import TRIES, Tree, ask
from womm.fileserver.writelog import WriteLog, WriteLogs
from womm.nfs.constants import FileType
from womm.nfs.filesystem import Space
from womm.nfs.status import NFSError, Status
from womm.wire.attributes import NewAttributes, Stat
from womm.wire.extensions import DiskSpace, Find, FoundPath, Statvfs
from womm.wire.sftp import Disposition

log = logging.getLogger(__name__)

FLUSHES: Final = 16
"""Files that are sent at a time."""
FLUSH_DELAY_S: Final = 0.2
"""After a write without a COMMIT: more of it is likely to come."""
FLUSH_AT_BYTES: Final = 4 << 20
RETRY_S: Final = 5.0
AGAIN_S: Final = 0.05
LOG_BYTES: Final = 1 << 30
"""What logs may take of the pod's own disk; then writers wait."""
SPACE_S: Final = 1.0
SPACE_OLD_S: Final = 10.0
SPACE_LOW_BYTES: Final = 64 << 20
_NOT_THERE: Final = frozenset([errno.ENOENT, errno.ESTALE, errno.ENOTDIR])


class Contents:
    """What is in the files of `tree`. `folder` takes the logs, up to about `log_bytes`."""

    def __init__(
        self, tree: Tree, link: UserLink, blocks: Blocks, folder: Path, *, log_bytes: int = LOG_BYTES
    ) -> None:
        self._log_bytes = log_bytes
        self._tree = tree
        self._link = link
        self._blocks = blocks
        self._logs = WriteLogs(folder)
        self._fetcher = Fetcher(tree, link, blocks)
        self._flushers: dict[FileNode, asyncio.Task[None]] = {}
        self._soon: dict[FileNode, asyncio.Event] = {}
        self._opening: dict[FileNode, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(FLUSHES)
        self._window = Window()
        self._refusals = Refusals()
        self._progress = asyncio.Event()
        self._space: Space | None = None
        self._space_s = 0.0
        self._space_task: asyncio.Task[None] | None = None
        self._since_space = 0
        self.skew_ns = 0
        """The clock of the user's side less ours."""
        self.unwritten = 0
        self.written = 0
        self.reads = 0
        self.touched: dict[bytes, None] = {}
        """Paths that clients have changed since `flush` told them last."""
        self.failed: dict[bytes, OSError] = {}
        """What could not be written and will not be tried again, until it was told."""
        self.on_unsent: Callable[[], None] = lambda: None
        """Hears of each file that has its first bytes to be sent."""

    def __repr__(self) -> str:
        return f"<Contents {self.unwritten} bytes unwritten in {len(self._flushers)} files>"

    def start(self) -> None:
        """Take over the logs that an earlier process has left."""
        for fileid, found in self._logs.left().items():
            node = self._tree.resolve(fileid)
            if node is None:  # removed by a client, or lost with the table
                self.failed[b"file %d" % fileid] = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
                found.close(remove=False)
                continue
            node.log = found
            node.written = node.path()
            self.touched[node.written] = None
            self.unwritten += found.pieces.size_bytes
            if node.stat is not None:
                node.stat = found.over(node.stat)
            self._flush_soon(node, 0)

    async def stop(self) -> None:
        """Stop sending; what is left stays in the logs."""
        tasks = [*self._flushers.values(), *self._opening.values()]
        if self._space_task is not None:
            tasks.append(self._space_task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetcher.stop()
        for node in list(self._tree.nodes.values()):
            if node.log is not None:
                node.log.close(remove=False)
        self._logs.close()

    @property
    def from_cache(self) -> int:
        """Bytes that were read and did not come over the link for that."""
        return self._fetcher.from_cache

    @property
    def unsent(self) -> Collection[FileNode]:
        """Files with bytes to be sent, those that wait longest first."""
        return self._flushers.keys()

    def now_ns(self) -> int:
        """The time of the user's side."""
        return time.time_ns() + self.skew_ns

    def advance(self) -> None:
        """Wake who waits for the flushers or for the link."""
        old, self._progress = self._progress, asyncio.Event()
        old.set()

    # -- reading ----------------------------------------------------------------------------------
    async def read(self, file: OpenFile, offset: int, count: int) -> tuple[bytes, bool]:
        node = file.node
        self.reads += 1
        for _ in range(TRIES):
            if node.valid != self._tree.epoch or node.stat is None:
                await self._tree.fresh(node)
            assert node.stat is not None
            size = node.stat.size
            end = min(offset + count, size)
            if end <= offset:
                return b"", offset >= size
            try:
                return await self._range(file, offset, end), end >= size
            except Changed:
                continue
        if node.gone or node.log is not None:
            raise NFSError(Status.DELAY)
        return await self._fetcher.as_it_is(node, offset, count)

    async def _range(self, file: OpenFile, offset: int, end: int) -> bytes:
        node = file.node
        over: list[tuple[int, bytes]] = []
        if node.log is not None:
            pieces = node.log.pieces.within(offset, end)
            # Read now: what is sent while the blocks come is no longer in the log.
            over = [(piece.offset, node.log.read(piece)) for piece in pieces]
            if sum(len(data) for _, data in over) == end - offset:
                return over[0][1] if len(over) == 1 else b"".join(data for _, data in over)
        if node.gone:
            base = await self._from_handle(node, offset, end)
        else:
            base = await self._fetcher.read(file, offset, end)
        if not over and len(base) == end - offset:
            return base
        data = bytearray(base)
        data += bytes(end - offset - len(data))
        for start, piece_data in over:
            data[start - offset : start - offset + len(piece_data)] = piece_data
        return bytes(data)

    async def _from_handle(self, node: FileNode, offset: int, end: int) -> bytes:
        """Read a removed file, as long as the user's side holds it open."""
        handle = node.held
        if handle is None:
            raise NFSError(Status.STALE)
        data = b""
        while len(data) < end - offset:
            at = offset + len(data)
            more = sftp.as_data(await ask(handle.session.read(handle.raw, at, min(BLOCK_BYTES, end - at))))
            if not more:
                break
            data += more
        return data

    # -- writing ----------------------------------------------------------------------------------
    async def write(self, file: OpenFile, offset: int, data: memoryview, sync: bool) -> int:
        node = file.node
        if node.stat is None:
            await self._tree.fresh(node)
        self._complain(node)
        await self._room(node, offset, len(data))
        data = data[
            : max(0, self._refusals.largest_bytes - offset)
        ]  # the rest is asked for again, and refused
        if node.gone and node.held is None:
            raise NFSError(Status.STALE)
        if node.log is None:
            # Its name first: without it nobody would know whose a log is that this process has left.
            self._tree.table.sync()
            node.log = WriteLog(self._logs, node.fileid)
            if file.edits != node.edits:
                node.base = ()  # the client does not know what the user has made of it
        file.edits = node.edits
        pieces, now = node.log.pieces, self.now_ns()
        before = pieces.size_bytes
        try:
            node.log.append(offset, data, now)
        except OSError as exc:
            self._flush_soon(node, 0)
            if exc.errno == errno.ENOSPC and self.unwritten:
                # The pod's own disk: there is room once what is on it is sent.
                for soon in self._soon.values():
                    soon.set()
                raise NFSError(Status.DELAY) from exc
            raise
        self.unwritten += pieces.size_bytes - before
        assert node.stat is not None
        node.stat = node.stat._replace(
            size=max(node.stat.size, offset + len(data)), mtime_ns=now, ctime_ns=now
        )
        node.change = self._tree.table.change()
        node.verifier = None
        file.wrote = True
        self.touch(node)
        self._flush_soon(node, 0 if sync or pieces.size_bytes > FLUSH_AT_BYTES else FLUSH_DELAY_S)
        if sync:
            await self._sync(node)
            await self._sure(node)
        return len(data)

    def touch(self, node: FileNode) -> None:
        if node.gone:
            return
        node.written = node.path()
        self.touched[node.written] = None

    @staticmethod
    def _complain(node: FileNode) -> None:
        """Raise what the last flush of a file failed with; once, if it is not tried again."""
        error = node.error
        if error is not None:
            if error.errno in FINAL:
                node.error = None
            raise OSError(error.errno, error.strerror)

    async def _sure(self, node: FileNode) -> None:
        """Wait for the user's side while it is not certain that it will take what was written."""
        found = node.log
        if found is not None and self._link.up and self._refusals.doubtful(found.pieces.end):
            await self.settle(node)

    async def _sync(self, node: FileNode) -> None:
        if node.log is not None and not node.log.synced:
            await asyncio.get_running_loop().run_in_executor(None, node.log.sync)

    async def commit(self, node: FileNode) -> None:
        """Return when what was written is on the pod's own disk, or on the user's side."""
        self._complain(node)
        await self._sync(node)
        await self._sure(node)
        if node.log is not None:
            self._flush_soon(node, 0)

    async def _room(self, node: FileNode, offset: int, count: int) -> None:
        """Wait until more may be written. Raises NFSError, OSError."""
        while self._flushers and self._logs.size_bytes + count > self._log_bytes:
            if not self._link.up:
                raise NFSError(Status.DELAY)
            if all(other.error is not None for other in self._flushers):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # nothing of it will go
            for other in list(self._soon.values()):
                other.set()
            await self._progress.wait()
        if not self._link.up or (node.version and offset + count <= node.version[0]):
            return
        space = await self.space()
        left = space.available_bytes - self._since_space - self.unwritten - count
        if left < 0:
            space = await self.space(now=True)
            left = space.available_bytes - self._since_space - self.unwritten - count
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await self._refusals.learn(node)
        if offset >= self._refusals.largest_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    async def space(self, *, now: bool = False) -> Space:
        """Return the user's disk's space, at most a few seconds old."""
        loop = asyncio.get_running_loop()
        age_s = loop.time() - self._space_s
        if self._space is None or now or age_s > SPACE_S:
            if self._space_task is None:
                self._space_task = loop.create_task(self._look_at_space())
            low = (
                self._space is None
                or self._space.available_bytes - self._since_space - self.unwritten < SPACE_LOW_BYTES
            )
            if (low and self._link.up) or now or age_s > SPACE_OLD_S:
                await asyncio.shield(self._space_task)
        if self._space is None:
            raise NFSError(Status.DELAY)
        return self._space

    async def _look_at_space(self) -> None:
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
            self._since_space = 0
        except (OSError, NFSError):
            pass  # away: what was known is good enough
        finally:
            self._space_task = None

    # -- flushing ---------------------------------------------------------------------------------
    def _flush_soon(self, node: FileNode, delay_s: float) -> None:
        soon = self._soon.get(node)
        if soon is None:
            soon = self._soon[node] = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._flusher(node, soon))
            self._flushers[node] = task
            task.add_done_callback(self._flusher_done)
            self.on_unsent()
        if not delay_s:
            soon.set()
        elif not soon.is_set():
            asyncio.get_running_loop().call_later(delay_s, soon.set)

    def _flusher_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("a flusher failed", exc_info=task.exception())
        self.advance()

    async def _flusher(self, node: FileNode, soon: asyncio.Event) -> None:
        """Send a file's log until there is none."""
        while node.log is not None:
            await soon.wait()
            await self._link.wait()
            soon.clear()
            path = node.path()
            try:
                async with self._turns, node.locked():
                    await self._flush(node)
                self._fails(node, None)
                if node.log is not None:
                    asyncio.get_running_loop().call_later(FLUSH_DELAY_S, soon.set)
            except NFSError:  # the link was cut, or the file is gone
                asyncio.get_running_loop().call_later(AGAIN_S, soon.set)
            except OSError as exc:
                if exc.errno in _NOT_THERE and await self._is_elsewhere(node, path):
                    asyncio.get_running_loop().call_later(AGAIN_S, soon.set)
                    continue
                self._fails(node, exc)
                asyncio.get_running_loop().call_later(RETRY_S, soon.set)
            self.advance()
        # At once: what is written from now on has a flusher of its own.
        self._flushers.pop(node, None)
        self._soon.pop(node, None)
        self._release(node)

    def _fails(self, node: FileNode, error: OSError | None) -> None:
        """Note what a flush has failed with, or that it has not; say it, but not again and again."""
        if error is not None and self._refusals.new(node, error):
            log.warning("%r cannot be written: %s", node.written, error)
        elif error is None:
            self._refusals.over(node)
        if error is not None or node.error is None or node.error.errno not in FINAL:
            node.error = error

    async def _is_elsewhere(self, node: FileNode, path: bytes) -> bool:
        """Look whether the user has removed a file, or renamed what it is in."""
        node.valid = 0
        try:
            await self._tree.fresh(node)
        except NFSError:  # it is, or that is not known yet
            return True
        except OSError:
            pass
        return node.gone or node.path() != path

    async def _found_again(self, node: FileNode) -> bool:
        """Look for a file that the user has renamed while nobody held it open there; open it."""
        if not node.version:
            return False
        session = self._link.session()
        try:
            reply = await ask(session.extended(Find(node.dev, node.ino)))
            path = sftp.as_extended(reply, FoundPath).path
            stat = await self._open_at(node, session, path, write=True)
        except OSError:
            return False
        if stat is None:
            return False
        if stat.version[:2] == node.version[:2]:
            return True
        self.keep(node, None)  # the number is another file's by now
        return False

    async def _flush(self, node: FileNode) -> None:
        """Send what is in the log now. Raises OSError; NFSError(DELAY) when the link is cut."""
        found = node.log
        if found is None:
            return
        if node.gone and node.held is None and not await self._found_again(node):
            self._abandon(node)
            return
        if node.stat is None:
            await self._tree.fresh(node)
        with self._tree.changing(*node.places):
            node.flushing = True
            sending, mark = Sending(self._window), 0
            try:
                handle = await self.handle(node, write=True)
                mark, appended, time_ns = found.turn(), found.appended, found.time_ns
                before = handle.session.fstat(handle.raw)
                before.add_done_callback(sftp.ignore)
                expected = self.expect(node, handle)
                await self._send(node, handle, found, sending)
                # At once: the user's side does them after the writes.
                times = NewAttributes(mtime_ns=time_ns)
                done = handle.session.fsetstat(handle.raw, times)
                done.add_done_callback(sftp.ignore)
                seen = handle.session.fstat(handle.raw)
                seen.add_done_callback(sftp.ignore)
                while sending.waiting:
                    await sending.arrival()
                if expected is not None:
                    sftp.as_done(await ask(expected))
                sftp.as_done(await ask(done))
                stat = sftp.as_stat(await ask(seen))
                touched = sftp.as_stat(await ask(before)).version != node.version
            except (OSError, NFSError) as exc:
                # What comes after them must not overtake what they are about.
                await sending.settle()
                if isinstance(exc, OSError) and exc.errno == errno.ESTALE:
                    self.keep(node, None)  # the user has removed or replaced it
                if isinstance(exc, NFSError) and sending.arrived:  # cut; a disk that fails takes back more
                    self._went(found, lambda: sending.leave_out_of(found.pieces, mark))
                    node.version = ()  # it may have grown there
                if isinstance(exc, OSError) and exc.errno in FINAL and mark:
                    self._give_up(node, found, mark, appended, exc)
                raise
            finally:
                node.flushing = False
                self._since_space += sending.size_bytes
                self.written += sending.size_bytes
            self._went(found, lambda: found.remove_before(mark))
            found.flushed = appended
            if touched:
                # By the user, or by a flush that was cut: no block is of what is there now.
                self._blocks.drop(node.fileid)
            if not len(found.pieces):
                found.close(remove=True)
                node.log = None
            self._flushed(node, stat)

    def _give_up(self, node: FileNode, found: WriteLog, mark: int, appended: int, error: OSError) -> None:
        """Let go of what was to be sent and will never be taken. Its writers are told, and so is the task."""
        self._went(found, lambda: found.remove_before(mark))
        found.flushed = appended
        self.failed[node.name()] = error
        self._blocks.drop(node.fileid)
        node.version, node.valid = (), 0  # what it is like now is to be seen there
        node.change = self._tree.table.change()
        if not len(found.pieces):
            found.close(remove=True)
            node.log = None
            self._refusals.over(node)

    def expect(self, node: FileNode, handle: Handle) -> "asyncio.Future[sftp.Reply] | None":
        """Have the user's side keep what the user has made of a file before the next writes change it."""
        if b"expect@womm" not in handle.session.extensions:
            return None
        waiter = handle.session.expect(handle.raw, node.base, named=not node.removed)
        waiter.add_done_callback(sftp.ignore)
        return waiter

    def _went(self, found: WriteLog, remove: Callable[[], None]) -> None:
        before = found.pieces.size_bytes
        remove()
        self.unwritten -= before - found.pieces.size_bytes

    def _flushed(self, node: FileNode, stat: Stat) -> None:
        """Take over what the user's side has made of it; clients keep the times that they were told."""
        assert node.stat is not None
        node.version, node.base = stat.version, ()
        if node.log is not None:
            return
        if stat.size != node.stat.size and not node.gone:
            # The user has written to it, too.
            node.stat = stat
            node.change = self._tree.table.change()
            self._blocks.drop(node.fileid)
            return
        node.stat = node.stat._replace(blocks=stat.blocks, mode=stat.mode, nlink=stat.nlink)

    async def _send(self, node: FileNode, handle: Handle, found: WriteLog, sending: Sending) -> None:
        """Send what is in a log; the last replies are to come. Raises as `_flush`."""
        for offset, data in chunks(found):
            await self._window.take(len(data))
            sending.add(handle.session.write(handle.raw, offset, data), offset, len(data))
            if not node.gone:
                self._patch(node, offset, data)
            while sending.waiting and sending.waiting[0].reply.done():
                await sending.arrival()

    def _patch(self, node: FileNode, offset: int, data: bytes) -> None:
        """Put what is sent into its block: it need not be fetched again. `data` is within one block."""
        number, start = divmod(offset, BLOCK_BYTES)
        assert node.stat is not None
        if start == 0 and (len(data) == BLOCK_BYTES or offset + len(data) >= node.stat.size):
            self._blocks.put(node.fileid, number, data)
            return
        old = self._blocks.get(node.fileid, number)
        if old is None:
            return
        block = bytearray(old)
        if len(block) < start:
            block += bytes(start - len(block))
        block[start : start + len(data)] = data
        self._blocks.put(node.fileid, number, bytes(block))

    def _abandon(self, node: FileNode) -> None:
        """Let go of what was written to a file that is no more."""
        found = node.log
        if found is None:
            return
        node.error = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        if node.written:
            self.failed[node.written] = node.error
        self.unwritten -= found.pieces.size_bytes
        found.close(remove=True)
        node.log = None
        self._refusals.over(node)

    def discard(self, node: FileNode) -> None:
        """Forget what was written to a file and not sent: it is removed, or cut to nothing.

        Under its lock, so that nothing of it is on its way.
        """
        found, node.log = node.log, None
        if found is not None:
            self.unwritten -= found.pieces.size_bytes
            found.close(remove=True)
        node.error = None
        self._refusals.over(node)
        soon = self._soon.get(node)
        if soon is not None:
            soon.set()

    async def settle(self, node: FileNode) -> None:
        """Return when what was written to a file so far is on the user's side.

        Raises OSError for what cannot be written, NFSError(DELAY) without a link.
        """
        found = node.log
        if found is None:
            return
        mark = found.appended
        while node.log is found and found.flushed < mark:
            self._complain(node)
            if not self._link.up:
                raise NFSError(Status.DELAY)
            progress = self._progress
            self._flush_soon(node, 0)
            await progress.wait()
        self._complain(node)

    async def flush(self) -> tuple[int, dict[bytes, OSError]]:
        """Send all that was written before; return its bytes, and what cannot be written.

        Waits for the link as long as it takes.
        """
        marks = [(node, node.log, node.log.appended) for node in self._flushers if node.log is not None]
        before = self.written
        for node, _, _ in marks:
            node.error = None
            self._flush_soon(node, 0)
        for node, found, mark in marks:
            while node.log is found and found.flushed < mark and node.error is None:
                await self._progress.wait()
        failed = {node.name(): node.error for node, _, _ in marks if node.error is not None}
        return self.written - before, self.failed | failed

    # -- handles ----------------------------------------------------------------------------------
    async def handle(self, node: FileNode, *, write: bool) -> Handle:
        """Return an open file of the user's side. Raises OSError, NFSError."""
        while True:
            session = self._link.session()
            old = node.held
            if old is not None and (old.writable or not write):
                return old
            task = self._opening.get(node)
            if task is None:
                task = asyncio.get_running_loop().create_task(self._open(node, session, write))
                self._opening[node] = task
                task.add_done_callback(lambda done: self._opened(node, done))
            await asyncio.shield(task)

    def _opened(self, node: FileNode, task: "asyncio.Task[None]") -> None:
        self._opening.pop(node, None)
        if not task.cancelled():
            task.exception()  # who wanted it may be gone

    async def _open(self, node: FileNode, session: sftp.Session, write: bool) -> None:
        if node.gone:
            raise NFSError(Status.STALE)
        place = node.places[0]
        try:
            if await self._open_at(node, session, node.path(), write=write) is None:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        except OSError as exc:
            if exc.errno in _NOT_THERE:
                self._tree.doubt(node, place)
            raise

    async def _open_at(
        self, node: FileNode, session: sftp.Session, path: bytes, *, write: bool
    ) -> Stat | None:
        """Open a file there, and keep the handle; None: it is another file. Raises as `handle`."""
        stamp = self._tree.stamp()
        raw = sftp.as_handle(
            await ask(session.open(path, Disposition.OPEN_EXISTING, write=write, force=True))
        )
        stat = sftp.as_stat(await ask(session.fstat(raw)))
        if (stat.ino, stat.dev) != (node.ino, node.dev):
            session.close(raw).add_done_callback(sftp.ignore)
            return None
        self.keep(node, Handle(session, raw, write))
        if node.log is None and not node.flushing and not node.gone:
            self._tree.apply(node, stat, stamp)
        return stat

    @staticmethod
    def keep(node: FileNode, handle: Handle | None) -> None:
        """Give a node a handle, in place of the one it has."""
        old, node.handle = node.held, handle
        node.writable = node.writable or (handle is not None and handle.writable)
        if old is not None:
            old.session.close(old.raw).add_done_callback(sftp.ignore)

    async def hold(self, node: FileNode) -> None:
        """Have a file open on the user's side that is about to lose its last name. Raises as `handle`."""
        if len(node.places) > node.leaving:
            return
        try:
            await self.handle(node, write=True)
        except OSError:  # its mode forbids it, or the user runs it
            await self.handle(node, write=False)

    @asynccontextmanager
    async def keeping(self, node: FileNode | None) -> AsyncIterator[None]:
        """Around the removal of a name: the file's opens, also those that come meanwhile, outlive it."""
        if node is None or node.kind is not FileType.REGULAR:
            yield
            return
        node.leaving += 1
        try:
            if node.opens or (node.log is not None and node.links > 1):
                await self.hold(node)
            yield
        finally:
            node.leaving -= 1
            self._release(node)

    def _release(self, node: FileNode) -> None:
        if not node.opens and node.log is None:
            self.keep(node, None)
            if node.gone:
                self._tree.forget(node)

    def close(self, file: OpenFile) -> None:
        node = file.node
        if file.closed:
            return
        file.closed = True
        node.opens -= 1
        if node.opens:
            return
        if node.log is not None:
            self._flush_soon(node, 0)
            if node.gone:
                self._tree.forget(node)
        else:
            if not node.gone:
                node.error = None  # whoever opens it next has not written it
            self._release(node)
