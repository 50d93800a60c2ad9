"""The kept output of jobs: small pieces in the journal, others compressed in one file beside it.

Strategy: one file per task, not one per job: 100,000 jobs would be 200,000 files. Each record is
a Zstandard frame (RFC 8878) of its own, so that one output is read without the others, and its
checksum finds a record that a power cut left half written. Level 1: 400 MB/s, four times what zlib
has for the same size, so that keeping output is not what a task waits for.
"""

import base64
import binascii
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from womm import words
from womm.errors import JournalError
from womm.journal.events import OutputRef

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Most jobs print a line or two: their output costs no second file access.
INLINE_BYTES: Final = 2048
DEFAULT_TASK_BYTES: Final = 256 << 20
_LEVEL: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.checksum_flag: 1,
}
_NOT_KEPT: Final = OutputRef(cut=True)


class Capture:
    """The beginning of one stream of one job, up to `limit` bytes. Not for several threads."""

    __slots__ = ("_buffer", "_limit", "cut")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self.cut = False

    def __repr__(self) -> str:
        return f"<Capture {len(self._buffer)}/{self._limit} bytes{' cut' if self.cut else ''}>"

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """Append; `data` is copied and must be of single bytes."""
        if self.cut:
            return
        room = self._limit - len(self._buffer)
        if len(data) > room:
            self.cut = True
            data = memoryview(data)[:room]
        self._buffer += data

    def reset(self) -> None:
        """Forget everything: the attempt was lost, and another will write from the beginning."""
        self._buffer = bytearray()
        self.cut = False

    @property
    def data(self) -> bytes:
        return bytes(self._buffer)


class OutputWriter:
    """Keeps outputs of one task, `limit_bytes` in all, as they lie on the disk. Thread-safe.

    After the first failed write nothing more is kept: `on_failure` hears of it once, and `put`
    answers with references that say so. So it does after the limit.
    """

    def __init__(self, path: Path, limit_bytes: int, on_failure: Callable[[OSError], None]) -> None:
        """Open or make the file at `path`; raises OSError."""
        self._limit_bytes = limit_bytes
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._end = os.fstat(self._fd).st_size
        self._used_bytes = self._end
        self._stopped = False
        self._dirty = False

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "open"
        return f"<OutputWriter {state}, {self._used_bytes}/{self._limit_bytes} bytes>"

    def put(self, data: bytes | bytearray | memoryview, cut: bool = False) -> OutputRef:
        """Keep the bytes and return where; `cut`: they are not all that the job wrote.

        Never raises for the disk's sake.
        """
        if not data:
            return OutputRef(inline="", cut=cut)
        if self._stopped:
            return _NOT_KEPT
        if len(data) <= INLINE_BYTES:
            text = base64.b64encode(data).decode("ascii")
            with self._lock:
                if not self._reserve(len(text)):
                    return _NOT_KEPT
            return OutputRef(inline=text, size=len(data), cut=cut)
        packed = zstd.compress(data, options=_LEVEL)
        with self._lock:
            if self._fd is None or not self._reserve(len(packed)):
                return _NOT_KEPT
            try:
                _write_all(self._fd, packed, self._end)
            except OSError as exc:
                self._stopped = True
                failure = exc
            else:
                offset = self._end
                self._end += len(packed)
                self._dirty = True
                return OutputRef(offset=offset, length=len(packed), size=len(data), cut=cut)
        self._on_failure(failure)
        return _NOT_KEPT

    def _reserve(self, size_bytes: int) -> bool:
        if self._stopped or self._used_bytes + size_bytes > self._limit_bytes:
            # The first that does not fit ends it: what is kept is the beginning of the task.
            self._stopped = True
            return False
        self._used_bytes += size_bytes
        return True

    def stop(self) -> None:
        """Keep nothing more; what was kept can be read."""
        self._stopped = True

    def sync(self) -> None:
        """Wait until what was put is on the disk; raises OSError."""
        with self._lock:
            if self._fd is None or not self._dirty:
                return
            self._dirty = False
            fd = os.dup(self._fd)
        try:
            os.fsync(fd)  # not under the lock: it may take seconds
        finally:
            os.close(fd)

    def close(self) -> None:
        with self._lock:
            self._stopped = True
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


class OutputReader:
    """Reads what an OutputWriter kept, also while it writes. Opens the file when it is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def get(self, ref: OutputRef) -> bytes:
        """Return the kept bytes; raises JournalError where they are damaged or gone."""
        if ref.inline is not None:
            try:
                return base64.b64decode(ref.inline, validate=True)
            except (binascii.Error, ValueError) as exc:
                raise JournalError(f"a kept output in {self._path.parent} is damaged") from exc
        if ref.length == 0:
            return b""
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY)
            packed = os.pread(self._fd, ref.length, ref.offset)
        except (OSError, OverflowError, ValueError) as exc:
            raise JournalError(f"cannot read kept output in {self._path}: {words.cause(exc)}") from exc
        unpacker = zstd.ZstdDecompressor()
        try:
            # A damaged reference must not fill the memory.
            data = unpacker.decompress(packed, ref.size + 1)
        except (zstd.ZstdError, OverflowError, ValueError) as exc:
            raise _damaged(self._path, ref) from exc
        if not unpacker.eof or len(data) != ref.size:
            raise _damaged(self._path, ref)
        return data

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> "OutputReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _damaged(path: Path, ref: OutputRef) -> JournalError:
    return JournalError(f"the kept output in {path} is damaged at byte {ref.offset}")


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written
