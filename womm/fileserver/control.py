"""The control channel's server: it greets the user's side, and answers what that says and asks.

The messages are in womm.wire.control. Two tellers speak on the channel by themselves: `names_teller` and
`unsent_teller`.
"""

import logging
from collections.abc import Awaitable, Callable

from womm.background import Background
from womm.fileserver.ahead.ahead import Ahead
from womm.fileserver.connection import Lines, UserLink
from womm.fileserver.contents.contents import Contents
from womm.fileserver.names_teller import NamesTeller
from womm.fileserver.owner import Owner
from womm.fileserver.tree.table import Table
from womm.fileserver.tree.tree import Tree
from womm.fileserver.unsent_teller import UnsentTeller
from womm.wire import ahead
from womm.wire import control as wire
from womm.wire.fields import BadMessage

log = logging.getLogger(__name__)


class Control:
    """Answers the lines of the user's side. `gone(seconds)` waits for the NFS clients to go.
    `changed()`: anything may have changed that clients believe.

    A `table` that is not whole has the link held until the user's side has given all names back.
    """

    def __init__(
        self,
        table: Table,
        tree: Tree,
        contents: Contents,
        link: UserLink,
        owner: Owner,
        *,
        gone: Callable[[float], Awaitable[bool]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._table, self._tree, self._contents, self._link = table, tree, contents, link
        self._owner = owner
        self._ahead = Ahead(contents)
        self._gone, self._changed = gone, changed
        self._names = NamesTeller(table)
        self._unsent = UnsentTeller(contents)
        self._background = Background()
        self._told: dict[int, tuple[list[bytes], dict[bytes, OSError]]] = {}
        """What clients have changed, by the flush that told it: a cut may have eaten the reply."""
        self.finishing = False
        """The user's side has said that the task is at its end."""
        if not table.whole:
            link.hold()

    async def stop(self) -> None:
        self._names.stop()
        self._unsent.stop()
        await self._ahead.stop()
        await self._background.close()

    def connected(self, lines: Lines) -> None:
        """Greet a new connection: what was seen over the last one is looked at again."""
        self._tree.freshness.connected()
        self._contents.flusher.advance()
        table = self._table
        hello = wire.Hello(table.database_id, wire.VERSION, table.whole, table.generation, table.changed)
        lines.send(wire.encode(hello))
        self._names.connected(lines)
        self._unsent.connected(lines)

    def received(self, lines: Lines, line: bytes) -> None:
        """Take a line of the user's side, without its end."""
        try:
            self._take(lines, wire.decode_from_user(line))
        except BadMessage as exc:
            log.warning("no request of the control channel: %s", exc)

    def _take(self, lines: Lines, message: wire.FromUser) -> None:
        match message.what:
            case wire.Seen(number):
                self._names.seen(number)
            case wire.Names() as names:
                self._names.take(names.rows)
            case wire.Adopted() as adopted:
                self._adopted(adopted)
            case request if message.id is None:
                self._answer(request)
            case request:
                self._take_request(lines, message.id, request)

    def _take_request(self, lines: Lines, number: int, request: wire.Request | wire.Unknown) -> None:
        """Answer a request, now or when it is done."""
        match request:
            case wire.Flush(seen):
                self._background.spawn(self._flush(lines, number, seen), "a flush")
            case wire.Finish(timeout_s):
                self.finishing = True
                self._background.spawn(self._finish(lines, number, timeout_s), "the finish")
            case ahead.Pin():
                self._background.spawn(self._pin(lines, number, request), "a pin")
            case _:
                lines.send(wire.encode_reply(number, self._answer(request)))

    async def _pin(self, lines: Lines, number: int, request: ahead.Pin) -> None:
        lines.send(wire.encode_reply(number, await self._ahead.pin(request)))

    def _answer(self, request: wire.ToServer) -> wire.Reply:
        match request:
            case wire.SetOwner(uid, gid):
                return wire.Owned(self._owner.set(uid, gid))
            case wire.Changed(paths, anything):
                if anything:
                    self._changed()
                    self._tree.freshness.renew()
                self._tree.changed(list(paths))
                return wire.Done()
            case wire.AskStats():
                return self._stats()
            case ahead.Prefetch():
                self._ahead.prefetch(request)
                return wire.Done()
            case ahead.AskUse():
                return self._ahead.use()
        return wire.Refused()

    def _adopted(self, adopted: wire.Adopted) -> None:
        """All names of the servers before are here: begin."""
        if not self._table.whole:
            self._table.know_dev(adopted.dev)
            self._table.complete(adopted.generation, adopted.change)
            self._tree.took_over()
            self._link.release()
            self._contents.flusher.advance()

    def _stats(self) -> wire.ShareStats:
        contents = self._contents
        return wire.ShareStats(
            self._link.received_bytes,
            contents.fetcher.from_cache,
            contents.sender.sent_bytes,
            contents.backlog.unsent_bytes,
            contents.reader.reads,
            contents.fetcher.guesses.guessed,
            contents.fetcher.guesses.used,
            contents.fetcher.guesses.wasted,
        )

    async def _written(self) -> wire.Written:
        """Send all that clients have written."""
        size, failed = await self._contents.flusher.flush()
        self._unsent.tell()
        words = {path: error.strerror or str(error) for path, error in failed.items()}
        return wire.Written(0 if failed else size, words)

    async def _flush(self, lines: Lines, number: int, seen: int) -> None:
        """Report changes and losses, again and again, until the user's side has read a reply with them."""
        for told in [told for told in self._told if told <= seen]:
            del self._told[told]
        touched, lost = self._contents.report.touched, self._contents.report.failed
        for paths, failed in self._told.values():
            touched.update(dict.fromkeys(paths))
            lost |= failed
        written = await self._written()
        reply = wire.Flushed(written, tuple(touched), tuple(lost))
        self._told[number] = list(touched), dict(lost)
        touched.clear()
        lost.clear()
        self._names.tell()
        lines.send(wire.encode_reply(number, reply))

    async def _finish(self, lines: Lines, number: int, timeout_s: float) -> None:
        await self._contents.flusher.flush()
        await self._gone(timeout_s)
        lines.send(wire.encode_reply(number, await self._written()))
