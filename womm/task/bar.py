"""womm's own progress line on stderr, for a terminal.

It reads nothing ahead: total and time left appear only when the command line tells the number of
jobs. GNU parallel prints results on the same terminal, so the line is taken away before a result can
come and comes back when there is a pause.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from womm.words import duration

REDRAW_S = 0.25
QUIET_S = 0.2
_ERASE = b"\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts to show: jobs done, of those failed, running now; workers ready and wanted."""

    done: int
    failed: int
    running: int
    pods_ready: int
    pods_wanted: int


def progress_line(progress: Progress, elapsed_s: float, total: int | None, width: int) -> str:
    """Format one line of at most `width` columns."""
    p = progress
    rate = p.done / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{p.done}/{total}" if total is not None else f"{p.done} done"]
    parts.append(f"failed {p.failed}")
    parts.append(f"running {p.running}")
    parts.append(f"pods {p.pods_ready}/{p.pods_wanted}")
    parts.append(f"{rate:.1f}/s" if rate < 100 else f"{rate:.0f}/s")
    if total is not None and p.done and total > p.done:
        parts.append(f"ETA {duration((total - p.done) / rate)}")
    return " · ".join(parts)[: max(0, width - 1)]


class Bar:
    """Draws the line on `fd` while it is started. `hide` before anything else may be printed."""

    def __init__(self, fd: int, read: Callable[[], Progress], total: int | None) -> None:
        self._fd = fd
        self._read = read
        self._total = total
        self._began = time.monotonic()
        self._hidden_at = 0.0
        self._shown = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(REDRAW_S, self._draw)

    def hide(self) -> None:
        self._hidden_at = time.monotonic()
        if self._shown:
            self._shown = False
            self._write(_ERASE)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.hide()

    def _draw(self) -> None:
        now = time.monotonic()
        if now - self._hidden_at >= QUIET_S:
            try:
                width = os.get_terminal_size(self._fd).columns or 80
            except OSError:
                width = 80
            line = progress_line(self._read(), now - self._began, self._total, width)
            self._write(_ERASE + line.encode() + b"\r")
            self._shown = True
        self._timer = asyncio.get_running_loop().call_later(REDRAW_S, self._draw)

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._fd, data)
        except OSError:  # the terminal is gone; the jobs are not
            self._shown = False
