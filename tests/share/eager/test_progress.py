"""The line that shows how a copy goes."""

import io

from womm.share.eager.progress import Progress, ProgressLine


def test_progress_is_drawn_now_and_then_and_taken_away() -> None:
    out, now = io.StringIO(), [0.0]
    line = ProgressLine(out, lambda: now[0])
    line.clear()
    assert out.getvalue() == ""
    for files in range(100):
        now[0] += 0.05
        line("copying", files, 100, files * 1000, 100_000)
    line.clear()
    drawn = out.getvalue().split("\r\x1b[K")
    assert 20 <= len(drawn) <= 30
    assert drawn[1] == "copying: 0 of 100 files, 0 B of 100 kB" and drawn[-1] == ""
    now[0] += 1
    line("copying", 1234, 0, 5000, 0)  # while it still looks how many there are
    assert out.getvalue().endswith("copying: 1,234 files, 5 kB")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_counts_against_what_is_expected() -> None:
    out = Terminal()
    progress = Progress(out)
    progress.expect(10, 2000)
    progress.copying(4, 1000)
    progress.clear()
    assert out.getvalue() == "\r\x1b[Kcopying: 4 of 10 files, 1 kB of 2 kB\r\x1b[K"


def test_progress_says_nothing_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    for progress in (Progress(out), Progress(None)):
        progress.expect(10, 2000)
        progress.copying(4, 1000)
        progress.bringing_back(1, 2, 3, 4)
        progress.clear()
    assert out.getvalue() == ""
