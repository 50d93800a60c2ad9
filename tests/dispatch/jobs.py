"""Jobs for the tests of what the dispatcher does with them."""

from tests.dispatch.sinks import Sink
from womm.dispatch.job import Job, Submission
from womm.dispatch.phase import Change
from womm.dispatch.pool import Start
from womm.dispatch.spool import Spool
from womm.link.frames import RunRequest


def running_job(sink: Sink, spool: Spool | None = None, *, no_retry: bool = False, number: int = 1) -> Job:
    """A job in its first attempt, in the pod `pod`."""
    request = RunRequest(b"job", stdin=spool is not None)
    job = Job(Submission(number, 7, request, 0.0, no_retry), sink, spool, capture_bytes=100)
    job.begin_attempt(Start(number, "pod", 1, 1), 1.0)
    job.change(Change.SEND)
    return job


class FrameLog:
    """As much of a Link as is sent to."""

    name = "pod"

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def take(self) -> list[bytes]:
        sent, self.sent = self.sent, []
        return sent
