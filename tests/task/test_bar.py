"""The progress line: its text, and that it is out of the way when something else is printed."""

import asyncio
import os
import pty
import re
import select
import termios

import pytest

from womm.task.bar import Bar, Progress, progress_line
from womm.words import duration


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0s"),
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (200, "3m20s"),
        (3599.6, "1h00m"),
        (7500, "2h05m"),
        (360000, "100h00m"),
    ],
)
def test_duration_has_two_units_at_most(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "progress, elapsed_s, total, line",
    [
        (Progress(0, 0, 0, 0, 4), 0.0, None, "0 done · failed 0 · running 0 · pods 0/4 · 0.0/s"),
        (Progress(10, 2, 4, 4, 4), 2.0, None, "10 done · failed 2 · running 4 · pods 4/4 · 5.0/s"),
        (Progress(10, 0, 4, 4, 4), 2.0, 30, "10/30 · failed 0 · running 4 · pods 4/4 · 5.0/s · ETA 4s"),
        (Progress(30, 0, 0, 4, 4), 2.0, 30, "30/30 · failed 0 · running 0 · pods 4/4 · 15.0/s"),
        (Progress(0, 0, 4, 4, 4), 2.0, 30, "0/30 · failed 0 · running 4 · pods 4/4 · 0.0/s"),
        (Progress(500, 0, 4, 4, 4), 2.0, None, "500 done · failed 0 · running 4 · pods 4/4 · 250/s"),
        (Progress(40, 0, 4, 4, 4), 2.0, 30, "40/30 · failed 0 · running 4 · pods 4/4 · 20.0/s"),
    ],
)
def test_line_shows_total_and_eta_only_when_known(progress, elapsed_s, total, line):
    assert progress_line(progress, elapsed_s, total, 200) == line


@pytest.mark.parametrize("width", [0, 1, 10, 33])
def test_line_fits_the_terminal(width):
    assert len(progress_line(Progress(1, 1, 1, 1, 1), 1.0, 10, width)) <= max(0, width - 1)


def read_all(fd):
    found = b""
    while select.select([fd], [], [], 0.02)[0]:
        found += os.read(fd, 65536)
    return found


@pytest.mark.parametrize(
    "columns",
    [
        80,
        0,
    ],
)
async def test_bar_draws_hides_and_leaves_nothing(columns):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    try:
        bar = Bar(theirs, lambda: Progress(1, 0, 2, 3, 4), None)
        bar.start()
        seen = b""
        async with asyncio.timeout(30 if columns else 2):
            while b"1 done" not in seen:
                await asyncio.sleep(0.05)
                seen += read_all(ours)
        bar.hide()
        hidden = read_all(ours)
        assert (seen + hidden).endswith(b"\r\x1b[K")
        bar.hide()
        assert read_all(ours) == b""  # nothing is shown: nothing to erase
        async with asyncio.timeout(30):
            while b"1 done" not in read_all(ours):
                await asyncio.sleep(0.05)
        bar.stop()
        bar.stop()
        assert read_all(ours).endswith(b"\r\x1b[K")
        assert b"\n" not in read_all(ours)
    finally:
        os.close(ours)
        os.close(theirs)


async def test_bar_on_a_terminal_that_is_gone_goes_on_silently():
    ours, theirs = pty.openpty()

    try:
        bar = Bar(theirs, lambda: Progress(1, 0, 2, 3, 4), None)
        os.close(ours)
        bar.start()
        await asyncio.sleep(0.6)
        bar.stop()
    finally:
        os.close(theirs)


async def test_bar_asks_for_counts_only_when_it_draws():
    asked = []
    read, write = os.pipe()

    def ask():
        asked.append(1)
        return Progress(1, 0, 2, 3, 4)

    bar = Bar(write, ask, 5)
    bar.start()
    async with asyncio.timeout(30):
        while not asked:
            bar_is_quiet = read_all(read)
            assert bar_is_quiet == b""
            await asyncio.sleep(0.02)
    bar.stop()
    os.close(write)
    with os.fdopen(read, "rb") as file:
        assert re.fullmatch(rb"(\r\x1b\[K1/5 [^\r]*\r)+\r\x1b\[K", file.read())
