"""How a copy goes: a line on a terminal, drawn over and over."""

import time
from collections.abc import Callable
from typing import Final, TextIO

from womm import words
from womm.words import shown_bytes

REDRAW_S: Final = 0.2


class ProgressLine:
    """One line on a terminal that is drawn over and over; of_files 0: not known yet. For any thread."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._drawn_at = -1e9
        self._drawn = False

    def __call__(self, what: str, files: int, of_files: int, size: int, of_size: int) -> None:
        now = self._clock()
        if now - self._drawn_at < REDRAW_S:
            return
        self._drawn_at, self._drawn = now, True
        line = f"{what}: {words.counted(files, 'file')}, {shown_bytes(size)}"
        if of_files:
            line = f"{what}: {files:,} of {words.counted(of_files, 'file')},"
            line += f" {shown_bytes(size)} of {shown_bytes(of_size)}"
        self._out.write(f"\r\x1b[K{line}")
        self._out.flush()

    def clear(self) -> None:
        if self._drawn:
            self._drawn = False
            self._out.write("\r\x1b[K")
            self._out.flush()


class Progress:
    """How a copy goes, for a line on a terminal; nothing where there is none. For any thread."""

    def __init__(self, out: TextIO | None) -> None:
        self._line = ProgressLine(out) if out is not None and out.isatty() else None
        self._of_files = self._of_bytes = 0

    def expect(self, files: int, size_bytes: int) -> None:
        """Note the size of the copy, as far as it is known."""
        self._of_files, self._of_bytes = files, size_bytes

    def copying(self, files: int, size_bytes: int) -> None:
        if self._line is not None:
            self._line("copying", files, self._of_files, size_bytes, self._of_bytes)

    def bringing_back(self, files: int, of_files: int, size_bytes: int, of_bytes: int) -> None:
        if self._line is not None:
            self._line("bringing back", files, of_files, size_bytes, of_bytes)

    def clear(self) -> None:
        if self._line is not None:
            self._line.clear()
