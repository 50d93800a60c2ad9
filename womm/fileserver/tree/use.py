"""How a file is used now: who has it open, and what clients have written that is not sent yet."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from womm.fileserver import sftp
from womm.fileserver.writelog import WriteLog


class Handle:
    """An open file of the user's side; good as long as its session."""

    __slots__ = ("raw", "session", "writable")

    def __init__(self, session: sftp.Session, raw: bytes, writable: bool) -> None:
        self.session = session
        self.raw = raw
        self.writable = writable


class FileUse:
    """The use of one file. Only its own methods change it."""

    __slots__ = (
        "_lock",
        "error",
        "flushing",
        "handle",
        "leaving",
        "log",
        "opens",
        "verifier",
        "write_admitted",
    )

    def __init__(self) -> None:
        self.opens = 0
        """How many opens clients have."""
        self.leaving = 0
        """How many of its names clients are removing now. An open that comes meanwhile needs a handle."""
        self.handle: Handle | None = None
        self.write_admitted = False
        """The user's side has once opened it for writing, so it allows that."""
        self.log: WriteLog | None = None
        """What clients have written and the user's side does not have; None: nothing."""
        self.flushing = False
        """The log is being sent now."""
        self.error: OSError | None = None
        """Why the last flush failed."""
        self.verifier: bytes | None = None
        """The verifier of the exclusive create that has made it, until the file is changed."""
        self._lock: asyncio.Lock | None = None

    def __repr__(self) -> str:
        return f"<FileUse {self.opens} opens{', unsent' if self.log is not None else ''}>"

    @property
    def held(self) -> Handle | None:
        """The handle, if its session still lives: the user's side keeps the inode as long as that."""
        return None if self.handle is None or self.handle.session.dead else self.handle

    @property
    def written(self) -> bool:
        """Clients have written what the user's side has not confirmed: its size and times are theirs."""
        return self.log is not None or self.flushing

    def lock(self) -> asyncio.Lock:
        """Return the lock of what sends, discards or cuts its content."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        return self._lock

    # -- opens ------------------------------------------------------------------------------------
    def opened(self) -> None:
        """A client has opened it."""
        self.opens += 1

    def closed(self) -> None:
        """A client has closed it."""
        self.opens -= 1

    @contextmanager
    def leaving_name(self) -> Iterator[None]:
        """Around the removal of one of its names by a client."""
        self.leaving += 1
        try:
            yield
        finally:
            self.leaving -= 1

    def take_handle(self, handle: Handle | None) -> Handle | None:
        """Replace the handle. Return the one before, which the caller closes, if it is good."""
        before, self.handle = self.held, handle
        if handle is not None and handle.writable:
            self.write_admitted = True
        return before

    def created(self, verifier: bytes | None) -> None:
        """A client has just made it by a create with this verifier."""
        self.verifier = verifier

    def verifier_over(self) -> None:
        """The file is not any more as its create has left it."""
        self.verifier = None

    # -- writes -----------------------------------------------------------------------------------
    def log_begins(self, log: WriteLog) -> None:
        """There is something to be sent, in this log."""
        self.log = log

    def log_ends(self) -> WriteLog | None:
        """Nothing is left to be sent. Return the log, which the caller closes."""
        log, self.log = self.log, None
        return log

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Around a turn of sending the log."""
        self.flushing = True
        try:
            yield
        finally:
            self.flushing = False

    def refused(self, error: OSError) -> None:
        """The user's side does not take what was written."""
        self.error = error

    def admitted(self) -> None:
        """Nothing stands in the way of its writes now, or its writers know the error."""
        self.error = None
