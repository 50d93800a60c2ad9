"""Changes of names that may or may not have happened: the link was cut, or the server ended, under them.

Strategy: a change is written down before it is sent and crossed out when it is answered. A change that is
left is in doubt, and its client gets DELAY, so it asks again. A request that repeats it and finds it done
succeeds.
"""

import asyncio
from typing import Final

from womm.fileserver import sftp
from womm.fileserver.connection import UserLink
from womm.fileserver.tree.questions import ask
from womm.fileserver.tree.table import Table
from womm.nfs.status import NFSError
from womm.wire.sftp import Kind

KEPT_S: Final = 120.0
"""A client asks again within 15 s of a link that works. A later request is a new one."""

Doubt = tuple[object, ...]
"""A change in doubt: its kind, the numbers of the directories, the names."""


class Doubts:
    """The changes in doubt, kept in `table`."""

    def __init__(self, table: Table, link: UserLink) -> None:
        self._table = table
        self._link = link
        self._found = {key: (value, 0.0) for key, value in table.doubts()}

    def __repr__(self) -> str:
        return f"<Doubts {len(self._found)}>"

    def note(self, doubt: Doubt, value: str = "") -> None:
        """Note that something is in doubt."""
        self._found[repr(doubt)] = value, asyncio.get_running_loop().time()

    def has(self, doubt: Doubt) -> bool:
        return repr(doubt) in self._found

    def take(self, doubt: Doubt) -> str | None:
        """Return the value of a change in doubt, and forget the change; None: it is not in doubt."""
        key = repr(doubt)
        found = self._found.get(key)
        if found is None:
            return None
        self._table.settle(key)
        del self._found[key]
        since = max(found[1], self._link.up_since)
        return found[0] if asyncio.get_running_loop().time() - since < KEPT_S else None

    async def sure(self, waiter: "asyncio.Future[sftp.Reply]", doubt: Doubt, value: str = "") -> bytes:
        """Await the reply to a change, just sent; return a handle's name if it has one.

        Raises NFSError as `ask` and `Table.sync` do, and OSError; after an OSError what was in doubt before
        still is.
        """
        key, session = repr(doubt), self._link.session()
        try:
            self._table.doubt(key, value)
            reply = await ask(waiter)
        except NFSError:
            self._leave(waiter, session, doubt, value)
            raise
        try:
            raw = b""
            if reply[0] == Kind.HANDLE:
                raw = sftp.as_handle(reply)
            else:
                sftp.as_done(reply)
        except OSError:
            if key not in self._found:
                self._table.settle(key)
            raise
        try:
            self._table.settle(key)
        except NFSError:
            self._leave(waiter, session, doubt, value)
            raise
        self._found.pop(key, None)
        return raw

    def _leave(
        self, waiter: "asyncio.Future[sftp.Reply]", session: sftp.Session, doubt: Doubt, value: str
    ) -> None:
        """Leave it in doubt whether a change is done; if that opened a file, nobody takes the handle."""

        def answered(waiter: "asyncio.Future[sftp.Reply]") -> None:
            if not waiter.cancelled() and not waiter.exception() and waiter.result()[0] == Kind.HANDLE:
                session.close(sftp.as_handle(waiter.result())).add_done_callback(sftp.ignore)

        waiter.add_done_callback(answered)
        self.note(doubt, value)
