"""One turn of sending a file's log to the user's side: `Sender`.

Strategy: all writes of a turn go out at once, as far as the window of all files has room, then the time of
the last write, then the look that tells what has become of the file. After an error nothing of the turn is
under way any more, and the log has lost only what is known to be there.
"""

import asyncio
import errno
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.contents.backlog import Backlog
from womm.fileserver.contents.blocks import BLOCK_BYTES, Blocks
from womm.fileserver.contents.handles import Handles
from womm.fileserver.contents.refusals import FINAL, Refusals
from womm.fileserver.contents.report import Report
from womm.fileserver.contents.sending import Sending, Window, chunks
from womm.fileserver.contents.space import UserDisk
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.questions import ask
from womm.fileserver.tree.tree import Tree
from womm.fileserver.tree.use import Handle
from womm.fileserver.writelog import WriteLog
from womm.nfs.status import NFSError
from womm.wire.attributes import NewAttributes, Stat

_EXPECT: Final = b"expect@womm"


class _Turn:
    """What a turn is about: all that is in `log` when it begins."""

    def __init__(self, node: FileNode, log: WriteLog, window: Window) -> None:
        self.node = node
        self.log = log
        self.sending = Sending(window)
        self.mark = 0
        """The position in the log before which everything is of this turn; 0: it has not begun."""
        self.appended = log.appended
        self.time_ns = log.time_ns

    def begin(self) -> None:
        self.mark, self.appended, self.time_ns = self.log.turn(), self.log.appended, self.log.time_ns


def expect(node: FileNode, handle: Handle) -> "asyncio.Future[sftp.Reply] | None":
    """Have the user's side keep the user's version of a file before the next writes change it."""
    if _EXPECT not in handle.session.extensions:
        return None
    waiter = handle.session.expect(handle.raw, node.base, named=not node.removed)
    waiter.add_done_callback(sftp.ignore)
    return waiter


class Sender:
    """Sends the logs of the files of `tree`, of all together as much at a time as the window allows."""

    def __init__(
        self,
        tree: Tree,
        *,
        blocks: Blocks,
        backlog: Backlog,
        handles: Handles,
        disk: UserDisk,
        refusals: Refusals,
        report: Report,
    ) -> None:
        self._tree = tree
        self._blocks = blocks
        self._backlog = backlog
        self._handles = handles
        self._disk = disk
        self._refusals = refusals
        self._report = report
        self._window = Window()
        self.sent_bytes = 0

    def __repr__(self) -> str:
        return f"<Sender {self.sent_bytes} bytes sent, {self._window!r}>"

    async def send(self, node: FileNode, log: WriteLog) -> None:
        """Send what is in a file's log now. Raises OSError; NFSError(DELAY) when the link is cut."""
        with self._tree.freshness.changing(*node.links):
            turn = _Turn(node, log, self._window)
            with node.use.sending():
                try:
                    stat, touched = await self._send(turn)
                except (OSError, NFSError) as exc:
                    # What comes after them must not overtake what they are about.
                    await turn.sending.settle()
                    self._failed(turn, exc)
                    raise
                finally:
                    self._disk.sent(turn.sending.size_bytes)
                    self.sent_bytes += turn.sending.size_bytes
            self._remove(turn)
            if touched:
                # By the user, or by a flush that was cut: no block is of what is there now.
                self._blocks.drop(node.fileid)
            self._backlog.end_if_sent(node)
            if node.flushed(stat):
                self._blocks.drop(node.fileid)

    async def _send(self, turn: _Turn) -> tuple[Stat, bool]:
        """Return how the file is after it, and whether it was not as it was known before."""
        node = turn.node
        handle = await self._handles.open(node, write=True)
        turn.begin()
        before = handle.session.fstat(handle.raw)
        before.add_done_callback(sftp.ignore)
        expected = expect(node, handle)
        await self._writes(turn, handle)
        # At once: the user's side does them after the writes.
        done = handle.session.fsetstat(handle.raw, NewAttributes(mtime_ns=turn.time_ns))
        done.add_done_callback(sftp.ignore)
        seen = handle.session.fstat(handle.raw)
        seen.add_done_callback(sftp.ignore)
        while turn.sending.waiting:
            await turn.sending.arrival()
        if expected is not None:
            sftp.as_done(await ask(expected))
        sftp.as_done(await ask(done))
        stat = sftp.as_stat(await ask(seen))
        return stat, sftp.as_stat(await ask(before)).version != node.version

    async def _writes(self, turn: _Turn, handle: Handle) -> None:
        """Send what is in the log; the last replies are to come."""
        sending = turn.sending
        for offset, data in chunks(turn.log):
            await self._window.take(len(data))
            sending.add(handle.session.write(handle.raw, offset, data), offset, len(data))
            if not turn.node.gone:
                self._patch(turn.node, offset, data)
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

    def _failed(self, turn: _Turn, error: OSError | NFSError) -> None:
        node, log, sending = turn.node, turn.log, turn.sending
        if isinstance(error, NFSError):
            # The link was cut. (A disk that fails takes back more than it has refused.)
            if sending.arrived:
                self._backlog.cut(log, lambda: sending.leave_out_of(log.pieces, turn.mark))
                node.content_unknown()  # it may have grown there
            return
        if error.errno == errno.ESTALE:
            self._handles.drop(node)  # the user has removed or replaced it
        if error.errno in FINAL and turn.mark:
            self._give_up(turn, error)

    def _give_up(self, turn: _Turn, error: OSError) -> None:
        """Drop writes that will never be taken. Its writers and the task get the error."""
        node = turn.node
        self._remove(turn)
        self._report.lose(node.report_name(), error)
        self._blocks.drop(node.fileid)
        node.content_unknown()
        node.user_changed()  # a look tells what it is like now
        if self._backlog.end_if_sent(node):
            self._refusals.over(node)

    def _remove(self, turn: _Turn) -> None:
        """Forget what the turn was about."""
        self._backlog.cut(turn.log, lambda: turn.log.remove_before(turn.mark))
        turn.log.flushed = turn.appended
