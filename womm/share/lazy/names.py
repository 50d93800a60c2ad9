"""The file server's names, as it has told them: kept for a server that takes its place with an empty disk."""

import logging
import tempfile
import time
import zlib
from collections.abc import Iterator
from typing import Final

from womm.wire.control import Adopted

log = logging.getLogger(__name__)

READ_BYTES: Final = 1 << 16
CHANGE_AHEAD: Final = 1 << 33
"""A server's count of changes may be so far ahead of its clock, in nanoseconds."""


class NamesLog:
    """Lines of the control channel, as they came, in a compressed file without a name.

    `dev` is the device that the folder is on. A disk that is full here costs the log, not the task: after
    a loss, handles are stale then.
    """

    def __init__(self, dev: int) -> None:
        self._dev = dev
        self._file = tempfile.TemporaryFile(prefix="womm-names-")  # noqa: SIM115
        self._packer = zlib.compressobj(1)
        self._broken = False
        self._generation = 0
        self._change = 0
        self._since_ns = time.monotonic_ns()

    def __repr__(self) -> str:
        return f"<NamesLog generation {self._generation}>"

    def greeted(self, generation: int, change: int) -> None:
        """Note how far a server has counted."""
        now_ns = time.monotonic_ns()
        self._generation = max(self._generation, generation)
        self._change = max(self._change + now_ns - self._since_ns, change)
        self._since_ns = now_ns

    def hand_over(self) -> Adopted:
        """Return what no server has counted up to by now: they begin with the time and are slower than it;
        and the device."""
        self.greeted(0, 0)
        found = Adopted(self._generation, self._change + CHANGE_AHEAD, self._dev)
        self.greeted(self._generation + 1, found.change)  # so far will the new one be
        return found

    def add(self, line: bytes, *, reset: bool) -> None:
        """Keep a line, without its end; with `reset` what came before is void."""
        try:
            if reset:
                self._file.seek(0)
                self._file.truncate()
                self._packer = zlib.compressobj(1)
                self._broken = False
            if not self._broken:
                self._file.write(self._packer.compress(line + b"\n"))
        except OSError as exc:
            log.warning("the names of the share are not kept: %s", exc)
            self._broken = True

    def lines(self) -> Iterator[bytes]:
        """Yield all that was kept, in pieces of whatever size."""
        if self._broken:
            return
        try:
            self._file.write(self._packer.flush(zlib.Z_SYNC_FLUSH))
            end = self._file.seek(0, 1)
            self._file.seek(0)
            unpacker = zlib.decompressobj()
            while data := self._file.read(READ_BYTES):
                yield unpacker.decompress(data)
            self._file.seek(end)
        except OSError as exc:
            log.warning("the names of the share are not there any more: %s", exc)
            self._broken = True

    def close(self) -> None:
        self._file.close()
