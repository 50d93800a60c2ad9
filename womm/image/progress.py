"""Progress of a push, a pull or a build: as docker shows it on a terminal, else a line now and then.

On a terminal each layer has a line with a bar, redrawn in place; in a pipe, a log or a screen reader's dumb
terminal each phase of a layer has a line of its own, and the bytes at most one in ten seconds. Where nothing
moves for a while, it is said: a stalled registry must not look like a womm that hangs.
"""

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TextIO, TypeAlias

from womm import words

Say: TypeAlias = Callable[[str], None]
STALL_S: Final = 30.0
"""So long nothing moves before it is said: docker itself waits up to 25 s before it tries a layer again."""
_REDRAW_S: Final = 0.1
_LINE_EVERY_S: Final = 10.0
_BAR: Final = 30
_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DONE: Final = ("Pushed", "Layer already exists", "Already exists", "Pull complete", "Mounted from")
_UNSAID: Final = ("Preparing", "Waiting", "Pulling fs layer", "Verifying Checksum", "Download complete")
"""Phases that are no news in a log."""


@dataclass(slots=True)
class _Layer:
    status: str = ""
    current: int = 0
    total: int = 0
    said_s: float = float("-inf")
    """When it had its last line in a log."""

    @property
    def is_done(self) -> bool:
        return self.status.startswith(_DONE)

    def text(self, name: str, bar: int) -> str:
        """Return `abc: Pushing [===>   ] 1.2 MB/30 MB`; bar: its columns, 0: none."""
        parts = [f"{name}: {self.status}"]
        if not self.is_done and self.current:
            if bar and self.total:
                done = min(bar, bar * self.current // self.total)
                parts.append(f"[{('=' * done + '>')[:bar].ljust(bar)}]")
            total = f"/{words.shown_bytes(self.total)}" if self.total else ""
            parts.append(words.shown_bytes(self.current) + total)
        return " ".join(parts)


class Progress:
    """Shows the events of one request. `close` leaves the last state on the screen, complete."""

    def __init__(self, say: Say, terminal: TextIO | None = None, *, stall_s: float = STALL_S) -> None:
        """say: tells the user a line. terminal: where bars are drawn; None: lines are said instead."""
        self._say = say
        self._terminal = terminal
        self._stall_s = stall_s
        self._layers: dict[str, _Layer] = {}
        self._drawn = 0
        self._drawn_s = float("-inf")
        self._text = ""
        self._moved_s = time.monotonic()
        self._lock = threading.Lock()

    def event(self, line: Mapping[str, Any]) -> None:
        """Show one line of the stream of a push, a pull or a build. An error is the caller's."""
        with self._lock:
            self._moved_s = time.monotonic()
            status, name = line.get("status"), line.get("id")
            if "stream" in line:
                self._told(str(line["stream"]))
            elif not isinstance(status, str):
                pass
            elif not name:
                self._line(status)
            else:
                self._moved(words.name(str(name), 40), words.name(status, 100), line.get("progressDetail"))

    def close(self) -> None:
        """End the display; a later event begins a new one."""
        with self._lock:
            self._told("\n" if self._text else "")
            self._draw()
            self._layers, self._drawn = {}, 0

    @contextmanager
    def watched(self, who: str) -> Iterator[None]:
        """Say when nothing has moved for a while, and who is waited for; close at the end."""
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(who, ended), name="womm-stall", daemon=True)
        with self._lock:
            self._moved_s = time.monotonic()
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()
            self.close()

    def _watch(self, who: str, ended: threading.Event) -> None:
        """Say it after stall_s, and again each time that the pause has doubled."""
        next_s, since_s = self._stall_s, self._moved_s
        wait_s = next_s
        while not ended.wait(wait_s):
            with self._lock:
                if self._moved_s != since_s:
                    next_s, since_s = self._stall_s, self._moved_s
                still_s = time.monotonic() - since_s
                if still_s >= next_s:
                    quiet = words.duration(still_s)
                    self._line(f"nothing has moved for {quiet}: waiting for {who} (Ctrl-C ends it)")
                    next_s *= 2
                wait_s = next_s - still_s

    def _moved(self, name: str, status: str, detail: object) -> None:
        """Note where a layer is, and show it."""
        layer = self._layers.setdefault(name, _Layer())
        is_new = layer.status.partition(" in ")[0] != status.partition(" in ")[0]  # "Retrying in 5 seconds"
        layer.status = status
        known = detail if isinstance(detail, Mapping) else {}
        layer.current, layer.total = _count(known.get("current")), _count(known.get("total"))
        now = time.monotonic()
        if self._terminal is not None:
            if is_new or now - self._drawn_s >= _REDRAW_S:
                self._draw()
        elif not status.startswith(_UNSAID) and (is_new or now - layer.said_s >= _LINE_EVERY_S):
            layer.said_s = now
            self._say(layer.text(name, 0))

    def _told(self, text: str) -> None:
        """Say the whole lines of a build's output."""
        *lines, self._text = (self._text + text).split("\n")
        for line in lines:
            # Programs that draw a bar of their own go back to the line's beginning; what stays is the end.
            shown = _COLOURS.sub("", line.rstrip()).rpartition("\r")[2]
            if shown.strip():
                self._line(shown)

    def _line(self, text: str) -> None:
        """Say a line; on a terminal it comes above the bars."""
        self._erase()
        self._say(words.line(text))
        self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        """Draw all layers over what was drawn before."""
        if self._terminal is None or not self._layers:
            return
        columns, rows = _size(self._terminal)
        bar = max(0, min(_BAR, columns - 50))
        lines = [words.shortened(layer.text(name, bar), columns - 1) for name, layer in self._shown(rows - 1)]
        up = f"\x1b[{self._drawn}A\r" if self._drawn else ""
        self._write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._drawn, self._drawn_s = len(lines), time.monotonic()

    def _shown(self, rows: int) -> list[tuple[str, _Layer]]:
        """Return the layers that fit on the screen: if not all do, those that are done go first."""
        found = list(self._layers.items())
        over = len(found) - max(1, rows)
        if over > 0:
            done = [name for name, layer in found if layer.is_done][:over]
            found = [(name, layer) for name, layer in found if name not in done][: max(1, rows)]
        return found

    def _write(self, text: str) -> None:
        if self._terminal is None:
            return
        # Not into the stream's buffer: what a terminal that is gone refuses would stay there.
        data = text.encode(errors="backslashreplace")
        try:
            while data:
                data = data[os.write(self._terminal.fileno(), data) :]
        except OSError:  # the terminal is gone, the push is not
            self._terminal = None


def on_stderr(say: Say) -> Progress:
    """Return a progress for this process's stderr: bars where it is a terminal that can draw them."""
    heard = logging.getLogger("womm").isEnabledFor(logging.WARNING)  # not with --quiet
    draws = heard and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return Progress(say, sys.stderr if draws else None)


def _size(terminal: TextIO) -> tuple[int, int]:
    """Return columns and rows."""
    try:
        columns, rows = os.get_terminal_size(terminal.fileno())
    except OSError:
        columns, rows = 80, 24
    return columns or 80, rows or 24


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
