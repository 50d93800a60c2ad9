"""The writes that the user's side does not have yet, of all files together: `Backlog`."""

from collections.abc import Callable
from pathlib import Path

from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.writelog import WriteLog, WriteLogs


class Backlog:
    """The logs in `folder`. Beyond `limit_bytes` on the pod's disk, writers wait."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._logs = WriteLogs(folder)
        self._limit_bytes = limit_bytes
        self.unsent_bytes = 0

    def __repr__(self) -> str:
        return f"<Backlog {self.unsent_bytes} bytes>"

    def left(self) -> dict[int, WriteLog]:
        """Return the logs that an earlier process has left, by the number of their file."""
        return self._logs.left()

    def recover(self, node: FileNode, log: WriteLog) -> None:
        """Go on with a log that was left."""
        node.recovered(log)
        self.unsent_bytes += log.pieces.size_bytes

    def has_room(self, size_bytes: int) -> bool:
        """May so many bytes more be written now?"""
        return self._logs.size_bytes + size_bytes <= self._limit_bytes

    def begin(self, node: FileNode, known_edits: int) -> WriteLog:
        """Give a file a log; see `FileNode.write_begins`."""
        log = WriteLog(self._logs, node.fileid)
        node.write_begins(log, known_edits)
        return log

    def append(self, log: WriteLog, offset: int, data: memoryview, now_ns: int) -> None:
        """Add a write to a log. Raises OSError; then nothing has changed."""
        before = log.pieces.size_bytes
        log.append(offset, data, now_ns)
        self.unsent_bytes += log.pieces.size_bytes - before

    def cut(self, log: WriteLog, remove: Callable[[], None]) -> None:
        """Forget what of a log need not be sent any more: `remove` does it."""
        before = log.pieces.size_bytes
        remove()
        self.unsent_bytes -= before - log.pieces.size_bytes

    def end_if_sent(self, node: FileNode) -> bool:
        """Remove a file's log if nothing is in it. Is there none now?"""
        log = node.use.log
        if log is not None and not len(log.pieces):
            node.use.log_ends()
            log.close(remove=True)
        return node.use.log is None

    def drop(self, node: FileNode) -> None:
        """Forget what was written to a file and is not sent."""
        log = node.use.log_ends()
        if log is not None:
            self.unsent_bytes -= log.pieces.size_bytes
            log.close(remove=True)

    def close(self, logs: list[WriteLog]) -> None:
        """Leave these logs to the next process."""
        for log in logs:
            log.close(remove=False)
        self._logs.close()
