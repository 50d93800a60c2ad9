"""The store's program alone, spoken to by hand."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.share.eager.eagers import contents
from womm.store.pack import Source, header
from womm.store.protocol import DIRECTORY, FILE, PIECE, WHOLE


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
