"""A JobSink that remembers, for tests of what the coordinator does with a job's output."""

from womm.dispatch.job import Outcome


class Sink:
    """Takes everything; `files`: streams that can be taken back."""

    def __init__(self, files: tuple[int, ...] = (1, 2)) -> None:
        self.files = files
        self.text = {1: bytearray(), 2: bytearray()}
        self.calls: list[str] = []
        self.outcome: Outcome | None = None
        self.room = True

    def write(self, stream: int, data: bytes | memoryview) -> bool:
        assert self.outcome is None, "output after the end"
        self.text[stream] += data
        return self.room

    def can_take_back(self, stream: int) -> bool:
        return stream in self.files

    def take_back(self, stream: int) -> None:
        assert stream in self.files
        self.calls.append(f"take back {stream}")
        self.text[stream].clear()

    def file(self, stream: int) -> None:
        return None

    def read_back(self, stream: int, size_bytes: int) -> bytes:
        return b""

    def failure(self) -> None:
        return None

    def resume_input(self) -> None:
        self.calls.append("resume input")

    def ended(self, outcome: Outcome) -> None:
        assert self.outcome is None, "ended twice"
        self.outcome = outcome
