"""Sends the file server what earlier tasks have read, and keeps what this one reads: `Learning`."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from womm.errors import ShareError
from womm.share.lazy.control import Conversation
from womm.share.learned import LearnedFile
from womm.wire.ahead import AskUse, Learned, Prefetch, Use
from womm.wire.control import Done
from womm.wire.lines import encode_line

LEARN_AFTER_S = (20.0, 120.0)
"""What the first jobs have read is kept so soon: a coordinator that is killed keeps nothing more."""
MOST_BYTES: Final = 1 << 19
"""Of one message: what jobs wait for is asked behind it."""
LAST_S: Final = 5.0
"""How long the end of a task waits for what was learned: the next task can do without."""


class Learning:
    """Of one export. For the event loop's thread. None: nothing is learned."""

    def __init__(self, conversation: Conversation, file: LearnedFile | None) -> None:
        self._conversation = conversation
        self._file = file

    def __repr__(self) -> str:
        return f"<Learning {self._file!r}>"

    async def tell(self) -> None:
        """Have the file server fetch ahead. Returns when it has taken that in. Raises ShareError."""
        if self._file is not None:
            items = await asyncio.to_thread(self._file.load)
            for part in in_parts(items):
                await self._conversation.ask(Prefetch(part), Done)

    async def learn(self) -> None:
        """Keep what was read so far. Raises ShareError."""
        if self._file is not None:
            used = await self._conversation.ask(AskUse(), Use)
            await asyncio.to_thread(self._file.save, used.items)

    async def learn_last(self, within_s: float = LAST_S) -> None:
        """Keep what was read, if that is quickly known: a task does not fail by it."""
        with suppress(TimeoutError, ShareError):
            async with asyncio.timeout(within_s):
                await self.learn()

    async def run(self) -> None:
        """Tell, and learn of the first jobs. Raises ShareError."""
        await self.tell()
        before_s = 0.0
        for after_s in LEARN_AFTER_S:
            await asyncio.sleep(after_s - before_s)
            before_s = after_s
            await self.learn()


def in_parts(items: Iterable[Learned], most_bytes: int = MOST_BYTES) -> Iterator[tuple[Learned, ...]]:
    """Yield the items in order, so many at a time as a message of about `most_bytes` holds."""
    part: list[Learned] = []
    size = 0
    for item in items:
        more = len(encode_line({"": item.row()}))  # a little more than what it takes in a list
        if part and size + more > most_bytes:
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield tuple(part)
