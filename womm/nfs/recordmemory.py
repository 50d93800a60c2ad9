"""The memory of large records that are not complete yet, shared out among the connections. No I/O."""

from collections import deque
from collections.abc import Callable


class Claim:
    """The memory of one connection's unfinished large record.

    `starved`: it waits for that memory, and its connection is not read meanwhile. `changed` is called
    whenever that begins or ends.
    """

    __slots__ = ("_changed", "size_bytes", "starved")

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.size_bytes = 0
        self.starved = False

    def hold(self, size_bytes: int, starved: bool) -> None:
        self.size_bytes = size_bytes
        if starved != self.starved:
            self.starved = starved
            self._changed()


class RecordMemory:
    """At most `limit_bytes` for the claims together, or one claim of any size."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.held_bytes = 0
        self.starved: deque[Claim] = deque()

    def __repr__(self) -> str:
        return f"<RecordMemory {self.held_bytes} of {self._limit_bytes} bytes, {len(self.starved)} starved>"

    def reserve(self, claim: Claim, size_bytes: int) -> None:
        """Set how much a claim is to have; 0 gives it back.

        A claim that begins when nothing is left waits until others are done. Claims that have begun always
        go on, so there is no deadlock.
        """
        if claim in self.starved:
            if size_bytes:
                claim.hold(size_bytes, True)
                return
            self.starved.remove(claim)
        else:
            self.held_bytes -= claim.size_bytes
            begins = claim.size_bytes == 0 and size_bytes > 0
            if begins and not self._fits(size_bytes):
                self.starved.append(claim)
                claim.hold(size_bytes, True)
                return
            self.held_bytes += size_bytes
        claim.hold(size_bytes, False)
        while self.starved and self._fits(self.starved[0].size_bytes):
            fed = self.starved.popleft()
            self.held_bytes += fed.size_bytes
            fed.hold(fed.size_bytes, False)

    def _fits(self, size_bytes: int) -> bool:
        return not self.held_bytes or self.held_bytes + size_bytes <= self._limit_bytes
