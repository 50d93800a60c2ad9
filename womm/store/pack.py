"""The stream between an eager share and its store: files and what is said about them, one after another.

Strategy: a record is a line of ASCII words, one of them the kind, then a path, then NUL, then as many bytes
as the words say. Paths are bytes, relative, never NUL, so every name passes. It is like tar without its
512-byte blocks and whole seconds: 50,000 small files take a quarter fewer bytes, and keep their nanoseconds.
Either side may be hostile: words are numbers within bounds, paths are checked where they come in.
"""

import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from womm.store.protocol import DIRECTORY, FILE, LINK

CHUNK: Final = 262144
HEADER_BYTES: Final = 65536
"""A path of Linux has 4,096 at most as one argument of a call, but a tree may be deeper."""
NUMBERS_BYTES: Final = 100
MAX_SIZE: Final = 1 << 62
NAME_BYTES: Final = 255
LINK_BYTES: Final = 4096


class BadPack(Exception):
    """The stream breaks the protocol: the other side is broken or hostile."""


class Stamp(NamedTuple):
    """The state of one path, as both sides say and compare it. `ctime_ns` 0: not known."""

    kind: bytes
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int = 0

    def same(self, other: "Stamp | None") -> bool:
        """Have both the same content, as far as one can tell without reading it?"""
        if other is None or self.kind != other.kind:
            return False
        if self.kind == DIRECTORY:
            return True
        return self.size == other.size and self.mtime_ns == other.mtime_ns


class Record(NamedTuple):
    """A parsed header. `numbers` are its words; their meaning depends on the kind, see protocol.py."""

    kind: bytes
    numbers: tuple[int, ...]
    path: bytes


def header(kind: bytes, path: bytes, *numbers: int) -> bytes:
    return b"%b %b %b\0" % (kind, b",".join(b"%d" % number for number in numbers), path)


def parse(line: bytes) -> Record:
    """Parse a header without its NUL. Raises BadPack."""
    try:
        kind, words, path = line.split(b" ", 2)
        numbers = tuple(map(int, words.split(b","))) if 0 < len(words) <= NUMBERS_BYTES else ()
    except ValueError:
        raise BadPack(f"not a header: {line[:60]!r}") from None
    if numbers and not (min(numbers) >= -MAX_SIZE and max(numbers) <= MAX_SIZE):
        raise BadPack(f"impossible numbers: {line[:60]!r}")
    return Record(kind, numbers, path)


_NO_NAMES: Final = (b"", b".", b"..")


def check_path(path: bytes) -> bytes:
    """Return a path that is relative, has no `.`, `..` or empty name, and no name that no disk takes."""
    if not path or b"\0" in path:
        raise BadPack(f"not a path: {path[:60]!r}")
    for name in path.split(b"/"):
        if name in _NO_NAMES or len(name) > NAME_BYTES:
            raise BadPack(f"not a path within the folder: {path[:60]!r}")
    return path


class Source:
    """Reads a stream by headers and by counted bytes. `read` gives b"" at the end, and may raise OSError."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._buffer = b""
        self._at = 0

    def line(self) -> bytes:
        """The bytes up to the next NUL. Raises BadPack when there is none, EOFError at the end."""
        at = self._buffer.find(b"\0", self._at)
        while at < 0:
            rest = self._buffer[self._at :]
            if len(rest) > HEADER_BYTES:
                raise BadPack("a header without an end")
            self._at = 0
            more = self._read(CHUNK)
            if not more:
                self._buffer = rest
                raise EOFError("the stream ended")
            self._buffer = rest + more
            at = self._buffer.find(b"\0")
        line = self._buffer[self._at : at]
        self._at = at + 1
        return line

    def record(self) -> Record:
        return parse(self.line())

    def exactly(self, count: int) -> bytes:
        """`count` bytes, all at once: for small ones."""
        end = self._at + count
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
            return data
        return b"".join(map(bytes, self.pieces(count)))

    def pieces(self, count: int) -> Iterator[memoryview]:
        """`count` bytes, as they come."""
        while count:
            if self._at >= len(self._buffer):
                self._buffer, self._at = self._read(CHUNK), 0
                if not self._buffer:
                    raise EOFError("the stream ended")
            piece = memoryview(self._buffer)[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece


def stamp_of(found: os.stat_result) -> Stamp | None:
    """None: it is no directory, regular file or symbolic link."""
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return Stamp(FILE, mode & 0o7777, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if stat.S_ISDIR(mode):
        return Stamp(DIRECTORY, mode & 0o7777, 0, found.st_mtime_ns, found.st_ctime_ns)
    if stat.S_ISLNK(mode):
        return Stamp(LINK, 0o777, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return None


def segments(fd: int, size: int) -> list[tuple[int, int]]:
    """Where an open file has data, as (offset, length); the rest are holes."""
    found = []
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError:  # ENXIO: no data any more
            break
        end = min(end, size)
        if begin >= end:
            break
        found.append((begin, end - begin))
        at = end
    return found


def write_all(fd: int, data: bytes | memoryview) -> None:
    written = os.write(fd, data)
    while written < len(data):
        data = memoryview(data)[written:]
        written = os.write(fd, data)
