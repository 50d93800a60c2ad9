"""A job's stdin, kept until its end record so that another worker can be fed the same bytes.

A spool keeps its bytes in memory up to a bound, then in an unlinked file. Past the cap it keeps nothing
more: the job goes on, but fails if its worker is lost, and the producer waits for the consumer.
"""

import os
import tempfile
from pathlib import Path


class Spool:
    """Bytes that are appended at the end and read at any offset. For one thread.

    `folder` must be on a real disk: it holds up to `cap_bytes` per job.
    """

    def __init__(self, folder: Path, *, memory_bytes: int, cap_bytes: int) -> None:
        self.folder = folder
        self._memory_bytes = memory_bytes
        self._cap_bytes = cap_bytes
        self._memory = bytearray()
        self._base = 0  # offset of the first byte still kept
        self._fd = -1
        self._size = 0
        self.ended = False
        """No more input follows."""

    def __repr__(self) -> str:
        place = "file" if self._fd >= 0 else "memory"
        return f"<Spool {self._base}..{self._size} in {place}{' ended' if self.ended else ''}>"

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self._size

    @property
    def complete(self) -> bool:
        """True while every byte is still there: the job can be fed again from the start."""
        return self._base == 0

    def append(self, data: bytes | memoryview) -> None:
        """Raises OSError when the disk is full."""
        if self._fd < 0 and len(self._memory) + len(data) <= self._memory_bytes:
            self._memory += data
        else:
            if self._fd < 0:
                self._fd, name = tempfile.mkstemp(prefix="stdin-", dir=self.folder)
                os.unlink(name)
                _write_at(self._fd, self._memory, self._base)
                self._memory = bytearray()
            _write_at(self._fd, data, self._size)
        self._size += len(data)

    def read(self, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes from `offset`; empty when none are there yet."""
        assert offset >= self._base
        if self._fd >= 0:
            return os.pread(self._fd, min(limit, self._size - offset), offset)
        return bytes(self._memory[offset - self._base : offset - self._base + limit])

    def consumed(self, offset: int) -> None:
        """Note that the consumer has everything before `offset`: past the cap, that part is dropped."""
        if self._size <= self._cap_bytes or offset < self._size:
            return
        self.close()
        self._memory = bytearray()
        self._base = self._size

    def wants_pause(self, offset: int) -> bool:
        """True when the producer must wait: past the cap, with enough ahead of the consumer."""
        return self._size > self._cap_bytes and self._size - offset > self._memory_bytes

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_at(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
