"""Has the file server write what jobs have written, and hears what became of it."""

import os
from dataclasses import dataclass

from womm.share.lazy.control import Conversation
from womm.share.lazy.rounds import Rounds
from womm.wire.control import Flush, Flushed


@dataclass(frozen=True, slots=True)
class FlushResult:
    """`changed`: paths that jobs changed since the last flush; `failed`: why a path is not on the disk;
    `lost`: those of them that are not tried again."""

    bytes: int
    changed: list[str]
    failed: dict[str, str]
    lost: list[str]


class Flushes:
    """Calls that come together are one flush. For the event loop's thread."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._rounds = Rounds(self._flush)
        self._seen = 0
        """The last flush whose reply has come."""
        self._untold: set[str] = set()
        """Changes of which no caller of `join` has heard: the one who waited was cancelled."""

    def __repr__(self) -> str:
        return f"<Flushes {self._seen} {self._rounds!r}>"

    async def join(self) -> FlushResult:
        """Wait until everything that jobs believe written is in the folder. Raises ShareError."""
        self._conversation.check()
        found = await self._rounds.join()
        self._untold = set()
        return found

    async def settle(self) -> None:
        """Wait until no flush runs."""
        await self._rounds.settle()

    async def _flush(self) -> FlushResult:
        number, reply = await self._conversation.ask_numbered(Flush(self._seen), Flushed)
        self._seen = number
        self._untold |= {os.fsdecode(path) for path in reply.changed}
        written = reply.written
        return FlushResult(
            written.size_bytes,
            sorted(self._untold),
            {os.fsdecode(path): why for path, why in written.failed.items()},
            [os.fsdecode(path) for path in reply.lost],
        )
