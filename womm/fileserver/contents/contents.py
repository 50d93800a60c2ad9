"""The contents of files: `Contents` makes the reader, the writer, the flusher, and what they share."""

from pathlib import Path
from typing import Final

from womm.fileserver.contents.backlog import Backlog
from womm.fileserver.contents.blocks import Blocks
from womm.fileserver.contents.clock import UserClock
from womm.fileserver.contents.fetch import Fetcher, OpenFile
from womm.fileserver.contents.flusher import Flusher
from womm.fileserver.contents.handles import Handles, stale_error
from womm.fileserver.contents.reader import Reader
from womm.fileserver.contents.refusals import Refusals
from womm.fileserver.contents.report import Report
from womm.fileserver.contents.sender import Sender
from womm.fileserver.contents.space import UserDisk
from womm.fileserver.contents.uses import Uses
from womm.fileserver.contents.writer import Writer
from womm.fileserver.tree.lookup import Lookup

LOG_BYTES: Final = 1 << 30
"""What logs may take of the pod's own disk; then writers wait."""


class Contents:
    """What is in the files of `lookup`'s tree. `folder` takes the logs, up to about `log_bytes`."""

    def __init__(self, lookup: Lookup, blocks: Blocks, folder: Path, *, log_bytes: int = LOG_BYTES) -> None:
        tree, link = lookup.tree, lookup.link
        self._tree = tree
        self.lookup = lookup
        self.blocks = blocks
        self.uses = Uses()
        self.report = Report()
        self.clock = UserClock()
        self.backlog = Backlog(folder, log_bytes)
        self.disk = UserDisk(link, self.backlog)
        self.handles = Handles(tree, link)
        self.fetcher = Fetcher(tree, link, blocks)
        self.reader = Reader(lookup, self.fetcher, self.uses)
        self.refusals = Refusals()
        self.sender = Sender(
            tree,
            blocks=blocks,
            backlog=self.backlog,
            handles=self.handles,
            disk=self.disk,
            refusals=self.refusals,
            report=self.report,
        )
        self.flusher = Flusher(
            lookup,
            backlog=self.backlog,
            handles=self.handles,
            sender=self.sender,
            refusals=self.refusals,
            report=self.report,
        )
        self.writer = Writer(
            lookup,
            backlog=self.backlog,
            flusher=self.flusher,
            disk=self.disk,
            refusals=self.refusals,
            report=self.report,
            clock=self.clock,
        )

    def __repr__(self) -> str:
        return f"<Contents {self.backlog!r} {self.flusher!r}>"

    def start(self) -> None:
        """Take over the logs that an earlier process has left."""
        for fileid, log in self.backlog.left().items():
            node = self._tree.resolve(fileid)
            if node is None:  # removed by a client, or lost with the table
                self.report.lose(b"file %d" % fileid, stale_error())
                log.close(remove=False)
                continue
            self.backlog.recover(node, log)
            self.report.touch_path(node.report_by_path())
            self.flusher.flush_soon(node)

    async def stop(self) -> None:
        """Stop sending; what is left stays in the logs."""
        await self.flusher.stop()
        await self.handles.stop()
        await self.disk.stop()
        await self.fetcher.stop()
        logs = [node.use.log for node in self._tree.nodes.values()]
        self.backlog.close([log for log in logs if log is not None])

    def close(self, file: OpenFile) -> None:
        """A client has closed a file."""
        if file.closed:
            return
        file.closed = True
        node = file.node
        node.use.closed()
        if node.use.opens:
            return
        if node.use.log is not None:
            self.flusher.flush_soon(node)
            if node.gone:
                self._tree.forget(node)
            return
        if not node.gone:
            node.use.admitted()  # the next one to open it has not written it
        self.handles.release(node)
