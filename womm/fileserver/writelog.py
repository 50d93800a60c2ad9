"""Writes of clients that the user's side does not have yet: one log per file, on the pod's disk.

Strategy: a write is appended as a record, whatever its offset, and a sorted list of pieces says where the
newest bytes of a range are. So one sync makes a file's writes durable, a torn tail is seen by its checksum,
and a restarted server reads the logs and goes on.
"""

import errno
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from womm.wire.attributes import Stat

_RECORD: Final = Struct(">4sQQQQII")
"""Magic, number of the record, of the file, offset, time in ns, length, CRC-32 of all before and the data."""
_MAGIC: Final = b"wrte"
RECORD_BYTES: Final = _RECORD.size
FREE_FILES: Final = 64


class Piece(NamedTuple):
    """Bytes of a file, and where in the log they are."""

    offset: int
    length: int
    position: int

    @property
    def end(self) -> int:
        return self.offset + self.length


class Pieces:
    """The newest bytes of each range: sorted, never overlapping."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[Piece] = []
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[Piece]:
        return iter(list(self._pieces))

    @property
    def end(self) -> int:
        """Where the last one ends; 0 without any."""
        return self._pieces[-1].end if self._pieces else 0

    def _touching(self, offset: int, end: int) -> tuple[int, int]:
        """The index range of the pieces that overlap a range."""
        first = bisect_right(self._starts, offset) - 1
        if first < 0 or self._pieces[first].end <= offset:
            first += 1
        last = first
        while last < len(self._pieces) and self._pieces[last].offset < end:
            last += 1
        return first, last

    def add(self, piece: Piece) -> None:
        """Put a piece over what is there."""
        if not self._pieces or piece.offset >= self._pieces[-1].end:
            self._starts.append(piece.offset)
            self._pieces.append(piece)
            self.size_bytes += piece.length
            return
        first, last = self._touching(piece.offset, piece.end)
        new = [piece]
        if first < last:
            head, tail = self._pieces[first], self._pieces[last - 1]
            if head.offset < piece.offset:
                new.insert(0, head._replace(length=piece.offset - head.offset))
            if tail.end > piece.end:
                cut = piece.end - tail.offset
                new.append(Piece(piece.end, tail.length - cut, tail.position + cut))
        self._replace(first, last, new)

    def _replace(self, first: int, last: int, new: list[Piece]) -> None:
        self.size_bytes += sum(piece.length for piece in new) - sum(
            piece.length for piece in self._pieces[first:last]
        )
        self._pieces[first:last] = new
        self._starts[first:last] = [piece.offset for piece in new]

    def within(self, offset: int, end: int) -> list[Piece]:
        """Return the pieces of a range, cut to it."""
        first, last = self._touching(offset, end)
        found = []
        for piece in self._pieces[first:last]:
            skip = max(0, offset - piece.offset)
            length = min(piece.end, end) - piece.offset - skip
            found.append(Piece(piece.offset + skip, length, piece.position + skip))
        return found

    def leave_out(self, offset: int, end: int, position: int) -> None:
        """Forget the parts of a range that are before `position` in the log."""
        first, last = self._touching(offset, end)
        kept: list[Piece] = []
        for piece in self._pieces[first:last]:
            if piece.position >= position:
                kept.append(piece)
                continue
            if piece.offset < offset:
                kept.append(piece._replace(length=offset - piece.offset))
            if piece.end > end:
                cut = end - piece.offset
                kept.append(Piece(end, piece.length - cut, piece.position + cut))
        self._replace(first, last, kept)

    def keep_after(self, position: int) -> None:
        """Forget what is before `position` in the log."""
        kept = [piece for piece in self._pieces if piece.position >= position]
        self._replace(0, len(self._pieces), kept)


_SHIFT: Final = 44
"""A position is a segment's number and, in this many bits, where in the segment."""
_INSIDE: Final = (1 << _SHIFT) - 1


class WriteLogs:
    """The folder of the logs: files that are used again and again, so that no name has to be made durable.

    A file belongs to one log at a time, as its records say; one without records to none.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.number = 0
        """Of the last record."""
        self.size_bytes = 0
        """Of all logs, on the disk."""
        self._sizes: dict[int, int] = {}
        self._free: list[int] = []
        self._paths: dict[int, Path] = {}
        self._made = 0

    def take(self) -> tuple[int, bool]:
        """Return an empty file, and whether it is new. Raises OSError."""
        if self._free:
            return self._free.pop(), False
        while True:
            self._made += 1
            path = self.folder / f"{self._made:08x}.log"
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            self._paths[fd] = path
            return fd, True

    def grew(self, fd: int, size_bytes: int) -> None:
        self._sizes[fd] = self._sizes.get(fd, 0) + size_bytes
        self.size_bytes += size_bytes

    def give(self, fd: int) -> None:
        """Take back a file whose records are not needed any more."""
        self.size_bytes -= self._sizes.pop(fd, 0)
        if len(self._free) < FREE_FILES:
            os.ftruncate(fd, 0)
            self._free.append(fd)
            return
        os.close(fd)
        self._paths.pop(fd).unlink(missing_ok=True)

    def leave(self, fd: int) -> None:
        """Close a file that another process is to read."""
        self.size_bytes -= self._sizes.pop(fd, 0)
        os.close(fd)
        self._paths.pop(fd, None)

    def close(self) -> None:
        for fd in self._free:
            os.close(fd)
            self._paths.pop(fd).unlink(missing_ok=True)
        self._free.clear()

    def left(self) -> dict[int, "WriteLog"]:
        """Return the logs that an earlier process has left, by the number of their file."""
        found: dict[int, list[tuple[int, int, list[_Record]]]] = {}
        for path in sorted(self.folder.glob("*.log")):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self._paths[fd] = path
            records = _records(fd)
            if not records:
                self.give(fd)
                continue
            self.number = max(self.number, records[-1].number)
            found.setdefault(records[0].fileid, []).append((records[0].number, fd, records))
        logs = {}
        for fileid, files in found.items():
            logs[fileid] = WriteLog(self, fileid)
            for _, fd, records in sorted(files, key=lambda item: item[0]):
                logs[fileid].adopt(fd, records)
        return logs


class _Record(NamedTuple):
    number: int
    fileid: int
    offset: int
    time_ns: int
    length: int
    position: int


def _records(fd: int) -> list[_Record]:
    """Return the records of a file; a torn one at its end was never acknowledged."""
    size = os.fstat(fd).st_size
    position, found = 0, []
    while position + RECORD_BYTES <= size:
        magic, number, fileid, offset, time_ns, length, crc = _RECORD.unpack(
            os.pread(fd, RECORD_BYTES, position)
        )
        if magic != _MAGIC or position + RECORD_BYTES + length > size:
            break
        blank = _RECORD.pack(magic, number, fileid, offset, time_ns, length, 0)
        position += RECORD_BYTES
        if zlib.crc32(os.pread(fd, length, position), zlib.crc32(blank)) != crc:
            break
        found.append(_Record(number, fileid, offset, time_ns, length, position))
        position += length
    return found


class WriteLog:
    """The log of one file. Raises OSError (the pod's own disk).

    It is cut into segments, one for each turn of the flusher, which removes them as a whole.
    """

    def __init__(self, logs: WriteLogs, fileid: int) -> None:
        self.fileid = fileid
        self.pieces = Pieces()
        self.time_ns = 0
        """Of the last write."""
        self._logs = logs
        self._segments: dict[int, int] = {}
        self._number = 0
        self._position = 0
        self.appended = self._synced = 0
        self.flushed = 0
        """How many of the writes that were `appended` are on the user's side."""
        self._fresh: set[int] = set()
        """Segments whose names may not be on the disk."""

    def __repr__(self) -> str:
        return f"<WriteLog {self.fileid:016x} {self.pieces.size_bytes} bytes in {len(self.pieces)} pieces>"

    def over(self, stat: Stat) -> Stat:
        """Return the attributes of a file with these writes in it."""
        return stat._replace(
            size=max(stat.size, self.pieces.end), mtime_ns=self.time_ns, ctime_ns=self.time_ns
        )

    def _open(self, number: int) -> int:
        fd, new = self._logs.take()
        self._segments[number] = fd
        if new:
            self._fresh.add(number)
        return fd

    @property
    def synced(self) -> bool:
        return self.appended == self._synced

    def append(self, offset: int, data: bytes | memoryview, time_ns: int) -> None:
        """Add a write. After an error it is as before."""
        number = self._number
        fd = self._segments.get(number)
        if fd is None:
            fd = self._open(number)
            self._position = 0
        position = self._position
        self._logs.number += 1
        facts = self._logs.number, self.fileid, offset, time_ns, len(data)
        crc = zlib.crc32(data, zlib.crc32(_RECORD.pack(_MAGIC, *facts, 0)))
        head = _RECORD.pack(_MAGIC, *facts, crc)
        wanted = RECORD_BYTES + len(data)
        self.appended += 1
        written = os.pwritev(fd, [head, data], position)
        while written < wanted:
            rest = head + bytes(data)
            written += os.pwrite(fd, rest[written:], position + written)
        self.pieces.add(Piece(offset, len(data), (number << _SHIFT) + position + RECORD_BYTES))
        self._position += wanted
        self._logs.grew(fd, wanted)
        self.time_ns = time_ns

    def read(self, piece: Piece) -> bytes:
        fd = self._segments[piece.position >> _SHIFT]
        data = os.pread(fd, piece.length, piece.position & _INSIDE)
        if len(data) != piece.length:
            raise OSError(errno.EIO, "a log is shorter than what was written to it")
        return data

    def sync(self) -> None:
        """Return when all that was appended before is on the disk. Runs in threads, beside appends."""
        mark = self.appended
        fresh = set(self._fresh)
        for fd in list(self._segments.values()):
            try:
                os.fdatasync(fd)
            except OSError as exc:
                if exc.errno not in (errno.EBADF, errno.EINVAL):  # given back meanwhile: it is flushed
                    raise
        if fresh:
            folder = os.open(self._logs.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._fresh -= fresh
        self._synced = max(self._synced, mark)

    def turn(self) -> int:
        """Begin a new segment; return the position before which everything is old."""
        if self._number in self._segments:
            self._number += 1
        return self._number << _SHIFT

    def remove_before(self, position: int) -> None:
        """Forget and remove what is older than what `turn` returned."""
        self.pieces.keep_after(position)
        for number in [number for number in self._segments if number < position >> _SHIFT]:
            self._logs.give(self._segments.pop(number))

    def adopt(self, fd: int, records: Sequence[_Record]) -> None:
        """Take over a file that an earlier process has left."""
        self._number += 1
        self._segments[self._number] = fd
        self._logs.grew(fd, os.fstat(fd).st_size)
        self.appended += 1  # whether it is on the disk is not known
        for record in records:
            position = (self._number << _SHIFT) + record.position
            self.pieces.add(Piece(record.offset, record.length, position))
            self.time_ns = record.time_ns
        self.turn()

    def close(self, *, remove: bool) -> None:
        """Let go of it; `remove`: nothing of it is needed any more."""
        for fd in self._segments.values():
            if remove:
                self._logs.give(fd)
            else:
                self._logs.leave(fd)
        self._segments.clear()
