"""A conversation with a store, see `womm.store.protocol`: questions, and answers that are checked.

The store may be hostile: its answers are bounded, and must be about the question.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from womm import words
from womm.errors import ShareError
from womm.share.eager.stream import PodStream
from womm.store.pack import BadPack, Record, Source, Stamp, check_path, header
from womm.store.protocol import (
    BLOCKS,
    DIRECTORY,
    END,
    END_OF_LIST,
    FAILED,
    FILE,
    HELLO,
    LINK,
    LIST,
    VERSION,
    WELCOME,
)
from womm.store.send import Out

MAX_SKEW_S: Final = 2.0
ENTRIES: Final = 2_000_000
"""Of a list; a hostile store must not fill this machine's memory."""
BLOCKS_BYTES: Final = 1 << 30


class Conversation(Source):
    """The user's side of one conversation; for the thread of `stream.converse`."""

    def __init__(self, stream: PodStream) -> None:
        super().__init__(stream.receive)
        self._stream = stream
        self.check = stream.check
        self.out = Out(stream.send)
        self.answered = False
        self.identity = b""
        """Which store it is, once it has welcomed; empty: it does not tell."""
        self._awaits_welcome = False

    @property
    def heard(self) -> bool:
        """Has the store said something that nobody has read?"""
        return self._stream.heard

    def record(self) -> Record:
        """The next one. Raises ShareError when the store says why it cannot go on."""
        record = super().record()
        if record.kind == FAILED:
            raise ShareError(f"the store: {words.name(record.path[:1000])}")
        return record

    def expect(self, kind: bytes, numbers: int) -> Record:
        record = self.record()
        if record.kind != kind or len(record.numbers) != numbers:
            raise BadPack(f"{record.kind!r} instead of {kind!r}")
        return record

    def last_words(self) -> None:
        """The store is gone: raise what it has said last, if it has."""
        with suppress(EOFError, BadPack):
            while True:
                self.record()

    def hello(self) -> None:
        """Say it; the answer is the next thing to read."""
        self.out.add(header(HELLO, b"", VERSION))
        self.out.flush()
        self._awaits_welcome = True

    def welcome(self) -> int:
        """Return the store's clock."""
        self._awaits_welcome = False
        record = self.expect(WELCOME, 2)
        version, now_ns = record.numbers
        self.answered, self.identity = True, record.path
        if version != VERSION:
            raise ShareError(f"the file server speaks version {version} of the store, this womm {VERSION}")
        return now_ns

    def check_clock(self, clock_ns: Callable[[], int]) -> None:
        before_ns = clock_ns()
        self.hello()
        check_clock(self.welcome(), before_ns, clock_ns())

    def end(self) -> int:
        """Return the store's time of the end, in nanoseconds of its files' clock."""
        self.out.add(header(END, b""))
        self.out.flush()
        return self.expect(END, 2).numbers[1]

    def blocks(self, path: bytes) -> bytes:
        """The digests of the blocks of what the store has; none: it has nothing to compare with."""
        self.out.add(header(BLOCKS, path))
        self.out.flush()
        size = self.expect(BLOCKS, 1).numbers[0]
        if not 0 <= size <= BLOCKS_BYTES:
            raise BadPack("a file of too many blocks")
        return self.exactly(size)

    def ask_list(self) -> None:
        self.out.add(header(LIST, b""))
        self.out.flush()

    def list(self) -> dict[bytes, Stamp]:
        """What the store has: paths within the folder, every directory before what is in it."""
        if self._awaits_welcome:
            self.welcome()
        found: dict[bytes, Stamp] = {}
        while True:
            record = self.record()
            if record.kind == END_OF_LIST:
                return found
            if record.kind not in (FILE, DIRECTORY, LINK) or len(record.numbers) != 4:
                raise BadPack(f"no entry of a list: {record.kind!r}")
            path = check_path(record.path)
            above = path.rpartition(b"/")[0]
            if (above and (above not in found or found[above].kind != DIRECTORY)) or path in found:
                raise BadPack(f"a path in nothing: {path[:200]!r}")
            if record.numbers[1] < 0 or len(found) >= ENTRIES:
                raise BadPack("an impossible list")
            found[path] = Stamp(record.kind, *record.numbers)


def check_clock(theirs_ns: int, before_ns: int, after_ns: int) -> None:
    """Refuse a store whose clock, read between two readings of ours, is more than 2 s from ours.

    Nothing here is decided by clocks, but programs in the folder do it: make, for one. Raises ShareError.
    """
    skew_s = max(before_ns - theirs_ns, theirs_ns - after_ns, 0) / 1e9
    if skew_s > MAX_SKEW_S:
        way = "behind" if theirs_ns < before_ns else "ahead of"
        raise ShareError(
            f"the cluster's clock is {skew_s:.1f} s {way} this machine's, more than the {MAX_SKEW_S:g} s that"
            " syncback allows",
            "set the clocks (NTP), or use --share eager or --share lazy",
        )
