"""Parts of the eager share by themselves: the stream's format, the note of a copy, what a person sees."""

import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.share.eager.eagers import contents
from womm.share.eager import manifest
from womm.share.eager.manifest import Ancestor, Base
from womm.share.eager.progress import ProgressLine
from womm.store.pack import BadPack, Source, Stamp, check_path, header, parse
from womm.store.protocol import DIRECTORY, FILE, LINK, PIECE, WHOLE
from womm.words import shown_bytes

NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not set(name) & {0, 47} and name not in (b".", b"..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(b"/".join)


def reader(data: bytes, size: int) -> Source:
    """Gives at most `size` bytes at once."""
    stream = io.BytesIO(data)
    return Source(lambda count: stream.read(min(count, size)))


@given(PATHS, st.lists(st.integers(-(1 << 62), 1 << 62), max_size=4), st.integers(1, 50))
def test_header_is_parsed_as_it_was_made_however_it_comes(path: bytes, numbers: list[int], size: int) -> None:
    data = header(FILE, path, *numbers) + b"content" + header(LINK, path)
    source = reader(data, size)
    assert source.record() == (FILE, tuple(numbers), path)
    assert check_path(path) == path
    assert source.exactly(7) == b"content"
    assert source.record() == (LINK, (), path)
    with pytest.raises(EOFError):
        source.record()


@given(st.binary(max_size=200))
def test_garbage_is_a_header_or_is_named(data: bytes) -> None:
    try:
        record = parse(data)
    except BadPack:
        return
    assert all(abs(number) <= 1 << 62 for number in record.numbers)


@pytest.mark.parametrize(
    "path", [b"", b"/", b"/a", b"a/", b"a//b", b".", b"..", b"a/..", b"../a", b"a/./b", b"n" * 256]
)
def test_path_that_leads_elsewhere_is_refused(path: bytes) -> None:
    with pytest.raises(BadPack):
        check_path(path)


def note(count: int) -> Ancestor:
    rng = random.Random(count)
    found = Ancestor(5, 7, 123, [b"mount\xff"])
    for number in range(count):
        ours = Stamp(rng.choice([FILE, DIRECTORY, LINK]), 0o644, number, -number, rng.randrange(1 << 60))
        theirs = Stamp(*ours[:4]) if number % 2 else ours._replace(mtime_ns=5, ctime_ns=99)
        name = b"d/" + rng.randbytes(5).replace(b"\0", b";") + b";%d" % number
        found.entries[name] = Base(ours, number, theirs, rng.randbytes(16) if number % 3 else b"")
    return found


def test_note_of_a_copy_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "state"
    assert manifest.load(path) is None
    for count in (0, 1, 500):
        manifest.save(path, note(count))
        assert manifest.load(path) == note(count)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["state"]


def test_note_that_is_torn_or_foreign_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "state"
    manifest.save(path, note(20))
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert manifest.load(path) is None
    rng = random.Random(1)
    for _ in range(200):
        broken = bytearray(whole)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        manifest.load(path)


@pytest.mark.parametrize(
    "count,text",
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (1_234_567_890, "1.23 GB"),
        (5 << 40, "5.5 TB"),
    ],
)
def test_sizes_for_a_person(count: int, text: str) -> None:
    assert shown_bytes(count) == text


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


# ---- the store's program alone


class Talking:
    """The store's program, and what is said to it by hand."""

    def __init__(self, folder: Path) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", "womm.store.server", str(folder)], stdin=pipe, stdout=pipe
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, out = self.process.stdin, self.process.stdout.fileno()
        self.source = Source(lambda count: os.read(out, count))

    def __enter__(self) -> "Talking":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def say(self, data: bytes) -> None:
        self.stdin.write(data)
        self.stdin.flush()


@pytest.mark.parametrize(
    "said",
    [
        header(FILE, b"../evil", 0o644, 0, 4) + b"evil",
        header(FILE, b"/tmp/evil", 0o644, 0, 4) + b"evil",
        header(DIRECTORY, b"d", 0o755, 0) + header(FILE, b"d/..", 0o644, 0, 4) + b"evil",
        header(b"h", b"x", 5) + b"../it",
        header(b"z", b".."),
        header(FILE, b"a", 0o644, 0, 1 << 60),
        header(b"F", b"a", 0o644, 0, 4) + PIECE.pack(1 << 60, 4) + b"evil",
        header(b"F", b"a", 0o644, 0, 4) + PIECE.pack(0, 5) + b"evil!" + PIECE.pack(0, 0) + WHOLE,
        header(b"D", b"nothing", 0o644, 0, 4),
        header(b"?", b"a"),
        b"nonsense\0",
        b"x" * 100_000,
    ],
    ids=range(12),
)
def test_store_refuses_what_it_should_not_do_and_says_so(tmp_path: Path, said: bytes) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "it").write_text("outside")
    with Talking(store) as talking:
        talking.say(said)
        record = talking.source.record()
        assert record.kind == b"!" and record.path
    assert talking.process.returncode == 1
    assert contents(tmp_path) == {"it": b"outside"} or contents(store).keys() <= {"a"}
    assert not os.path.lexists("/tmp/evil")


def test_second_conversation_waits_for_the_first_to_end(tmp_path: Path) -> None:
    with Talking(tmp_path) as first:
        first.say(header(b"q", b"", 1))
        assert first.source.record().kind == b"w"
        with Talking(tmp_path) as second:
            second.say(header(b"q", b"", 1))
            time.sleep(0.3)
            first.process.send_signal(signal.SIGKILL)
            assert second.source.record().kind == b"w"
