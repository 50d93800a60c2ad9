"""The user's side of the control channel: the messages are in womm.wire.control.

A request waits through cuts: one without an answer goes out again on the next connection,
in the same order. All requests are idempotent. AskUse goes out once: its answer may be what broke the
channel, and would break the next one, too.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from womm.errors import ShareError
from womm.share.lazy.names import NamesLog
from womm.share.lazy.unsent import UnsentFiles
from womm.wire import control as wire
from womm.wire.ahead import AskUse
from womm.wire.fields import BadMessage
from womm.wire.lines import LineDecoder

log = logging.getLogger(__name__)

R = TypeVar("R", bound=wire.Reply)
_SHOWN_BYTES: Final = 200
"""Of a line that makes no sense, in the log."""


class Writer(Protocol):
    """What is needed of an asyncssh channel."""

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...


@dataclass(slots=True)
class _Asked:
    line: bytes
    reply: type[wire.Reply]
    future: asyncio.Future[Any]
    once: bool
    """It goes out on one connection alone."""
    is_sent: bool = False


class Conversation:
    """What this side and the file server say to each other, over all connections.

    `replaced` is called when another file server has come, with an empty disk; it returns why there is no
    going on, or "". `give_up` is called with the reason when there is no going on, `cut` when the control
    channel of the connection is gone. After `fail` every request raises ShareError.
    """

    def __init__(
        self,
        names: NamesLog,
        *,
        replaced: Callable[[], str],
        give_up: Callable[[str], None],
        cut: Callable[[], None],
    ) -> None:
        self._names = names
        self._replaced = replaced
        self._give_up = give_up
        self._cut = cut
        self._channel: ControlChannel | None = None
        self._epoch: str | None = None
        self._owner: wire.SetOwner | None = None
        """Whose files they are in pods, once that is known."""
        self._next_id = 0
        self._asked: dict[int, _Asked] = {}
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.up = asyncio.Event()
        self.lost = ""
        """Why nothing is answered any more."""
        self.unsent = UnsentFiles()
        self.heard_s = 0.0
        """When the file server was heard of last, in seconds since 1970; 0: never."""

    def __repr__(self) -> str:
        state = self.lost or ("up" if self.up.is_set() else "cut")
        return f"<Conversation {state} {len(self._asked)} asked>"

    async def ready(self) -> None:
        """Wait until the file server is there for the first time. Raises ShareError."""
        await asyncio.shield(self._first)

    def check(self) -> None:
        """Raise ShareError when nothing is answered any more."""
        if self.lost:
            raise ShareError(self.lost)

    async def ask(self, request: wire.Request, reply: type[R]) -> R:
        """Send a request; return what answers it, of the class `reply`. Raises ShareError."""
        return (await self.ask_numbered(request, reply))[1]

    async def ask_numbered(self, request: wire.Request, reply: type[R]) -> tuple[int, R]:
        """As `ask`; return the number of the request, too."""
        self.check()
        if isinstance(request, wire.SetOwner):
            self._owner = request
        self._next_id += 1
        number = self._next_id
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        asked = self._asked[number] = _Asked(
            wire.encode_request(number, request), reply, future, isinstance(request, AskUse)
        )
        if self._channel is not None and self.up.is_set():
            self._channel.send(asked.line)
            asked.is_sent = True
        try:
            return number, await future
        finally:
            self._asked.pop(number, None)

    def fail(self, reason: str) -> None:
        """Nothing is answered any more."""
        self.lost = self.lost or reason
        error = ShareError(self.lost)
        for asked in self._asked.values():
            if not asked.future.done():
                asked.future.set_exception(error)
        if not self._first.done():
            self._first.set_exception(error)
            self._first.exception()  # perhaps nobody waits
        self.up.clear()

    # -- channels ----------------------------------------------------------------------------------
    def open(self, writer: Writer) -> "ControlChannel":
        """Go on over a new channel."""
        if self._channel is not None:
            self._channel.drop()
        self._channel = ControlChannel(self, writer)
        return self._channel

    def disconnected(self) -> None:
        """There is no connection any more."""
        self.up.clear()
        self._channel = None

    def closed(self, channel: "ControlChannel") -> None:
        if channel is self._channel:
            self.disconnected()
            self._cut()

    def hello(self, channel: "ControlChannel", hello: wire.Hello) -> None:
        """The file server is there: ask again what it has not answered."""
        if channel is not self._channel:
            return
        reason = self._why_not(hello)
        if reason:
            self._give_up(reason)
            return
        self._epoch = hello.epoch
        self._names.greeted(hello.generation, hello.change)
        if not hello.whole:
            self._hand_over(channel)
        if self._owner is not None:
            channel.send(wire.encode(self._owner))
        self.up.set()
        if not self._first.done():
            self._first.set_result(None)
        for asked in list(self._asked.values()):
            if not (asked.once and asked.is_sent):
                channel.send(asked.line)
                asked.is_sent = True
            elif not asked.future.done():
                asked.future.set_exception(ShareError("the connection was cut before the answer came"))

    def _why_not(self, hello: wire.Hello) -> str:
        if hello.version != wire.VERSION:
            return (
                f"the file server speaks version {hello.version} of the share's protocol, not {wire.VERSION}"
            )
        return "" if self._epoch in {None, hello.epoch} else self._replaced()

    def _hand_over(self, channel: "ControlChannel") -> None:
        """Give a server with an empty disk the names of those before it."""
        for lines in self._names.lines():
            channel.send(lines)
        channel.send(wire.encode(self._names.hand_over()))

    # -- what the file server says -----------------------------------------------------------------
    def take(self, channel: "ControlChannel", message: object, line: bytes) -> None:
        """Take a message, and the line that it was. Raises BadMessage."""
        match message:
            case wire.NamesHead(number, reset):
                self._names.add(line, reset=reset)
                channel.send(wire.encode(wire.Seen(number)))
            case wire.Unsent() if channel is self._channel:
                self.unsent.take(message)
            case wire.Answer(number):
                asked = self._asked.get(number)
                if asked is not None and not asked.future.done():
                    asked.future.set_result(wire.decode_reply(message, asked.reply))


class ControlChannel:
    """The control channel of one connection: a Subsystem."""

    def __init__(self, conversation: Conversation, writer: Writer) -> None:
        self._conversation = conversation
        self._writer = writer
        self._decoder = LineDecoder()
        self._greeted = False

    def __repr__(self) -> str:
        return f"<ControlChannel {'greeted' if self._greeted else 'new'}>"

    def send(self, lines: bytes) -> None:
        with suppress(OSError):
            self._writer.write(lines)

    def drop(self) -> None:
        self._writer.abort()

    def received(self, data: bytes) -> None:
        self._conversation.heard_s = time.time()
        try:
            for line in self._decoder.feed(data):
                try:
                    self._take(line)
                except BadMessage as exc:
                    raise BadMessage(f"{exc}: {line[:_SHOWN_BYTES]!r}") from None
        except BadMessage as exc:
            log.warning("the file server's control channel makes no sense: %s", exc)
            self._writer.abort()

    def _take(self, line: bytes) -> None:
        message = wire.decode_from_server(line)
        if self._greeted:
            self._conversation.take(self, message, line)
        elif isinstance(message, wire.Hello):
            self._greeted = True
            self._conversation.hello(self, message)
        else:
            raise BadMessage("no hello")

    def pause(self) -> None:
        """What is written waits: it is little."""

    def resume(self) -> None:
        """See `pause`."""

    def closed(self) -> None:
        self._conversation.closed(self)
