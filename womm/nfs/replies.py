"""The reply cache of 4.0, which has no slots: a retry after a broken connection has no second effect.

A request is known by who sent it, its transaction and its bytes. While the first of two equal requests runs,
the second one waits for the same reply.
"""

import zlib
from collections.abc import Callable
from typing import Final

from womm.nfs.rpc import Call, Reply
from womm.nfs.xdr import BadXDR

REPLIES_KEPT: Final = 2048
REPLY_KEPT_BYTES: Final = 4096
DIGEST_BYTES: Final = 1024
"""So much of a request goes into its key."""

Key = tuple[str, int, int, int]
"""Peer, transaction, size and checksum of a request."""


class Kept:
    """A request of 4.0 and its reply, once there is one; `waiters` get it too: they repeated the request."""

    __slots__ = ("reply", "waiters")

    def __init__(self) -> None:
        self.reply: bytes | None = None
        self.waiters: list[Callable[[Reply], None]] = []


class Replies:
    """The latest requests of all peers that change something, with their replies."""

    def __init__(self) -> None:
        self._kept: dict[Key, Kept] = {}

    def enter(self, key: Key) -> tuple[Kept, bool]:
        """Return the entry of a request, and whether it was there before."""
        found = self._kept.get(key)
        if found is not None:
            return found, True
        if len(self._kept) >= REPLIES_KEPT:
            del self._kept[next(iter(self._kept))]
        entry = self._kept[key] = Kept()
        return entry, False

    def leave(self, key: Key, entry: Kept, reply: Reply, modifies: bool) -> None:
        """Keep the reply of a request that changes something; the others are better done again."""
        if modifies and isinstance(reply, bytes) and len(reply) <= REPLY_KEPT_BYTES:
            entry.reply = reply
        else:
            self._kept.pop(key, None)


def retry_key(peer: str, call: Call, record: bytes | bytearray) -> Key | None:
    """Return the key of a request of 4.0; None for 4.1 and later, which have slots."""
    reader = call.args
    pos = reader.pos
    try:
        reader.text(1024)
        minor = reader.u32()
    except BadXDR:
        return None
    finally:
        reader.pos = pos
    if minor != 0:
        return None
    return peer, call.xid, len(record), zlib.crc32(memoryview(record)[:DIGEST_BYTES])
