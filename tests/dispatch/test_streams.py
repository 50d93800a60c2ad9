"""Flow control: a job's stdin out, its output back."""

import pytest

from tests.dispatch.jobs import FrameLog, running_job
from tests.dispatch.sinks import Sink
from womm.dispatch.job import STDOUT
from womm.dispatch.phase import Change
from womm.dispatch.spool import Spool
from womm.dispatch.streams import CREDIT_BATCH, Streams
from womm.link.frames import FrameType, encode, encode_credit


class Place:
    """Streams over one link, and what they report."""

    def __init__(self, tmp_path):
        self.link = FrameLog()
        self.failed: list[str] = []
        self.no_retry: list[int] = []
        self.streams = Streams(
            {"pod": self.link},  # type: ignore[dict-item]
            lambda job, reason: self.failed.append(reason),
            self.no_retry.append,
        )
        self.spool = Spool(tmp_path, memory_bytes=10, cap_bytes=20)
        self.sink = Sink()
        self.job = running_job(self.sink, self.spool)
        self.job.stdin_credit = 8


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.spool.close()


def data(payload):
    return encode(FrameType.STDIN_DATA, 1, payload)


def test_stdin_goes_as_far_as_there_is_credit_and_on_with_more(place):
    assert place.streams.feed(place.job, b"0123456789")
    assert place.link.take() == [data(b"01234567")]
    place.job.stdin_credit = 5
    place.streams.pump_stdin(place.job)
    assert place.link.take() == [data(b"89")]
    place.streams.feed_end(place.job)
    place.streams.feed_end(place.job)
    assert place.link.take() == [encode(FrameType.STDIN_END, 1)]


def test_stdin_past_the_cap_pauses_the_producer_and_forbids_a_retry(place):
    assert not place.streams.feed(place.job, bytes(30))
    assert place.no_retry == []
    place.job.stdin_credit = 30
    place.streams.pump_stdin(place.job)
    assert place.no_retry == [1]
    assert place.sink.calls[-1] == "resume input"


@pytest.mark.parametrize("changes", [[], [Change.HOLD], [Change.SEND, Change.LOSE_OUTPUT]])
def test_stdin_is_sent_to_a_running_job_only(tmp_path, changes):
    place = Place(tmp_path)
    place.job.change(Change.LOSE)
    for change in changes:
        place.job.change(change)
    assert place.streams.feed(place.job, b"x")
    assert (place.link.take(), place.spool.size) == ([], 1)
    place.spool.close()


def test_stdin_of_a_cancelled_job_is_dropped(place):
    place.job.change(Change.CANCEL)
    assert place.streams.feed(place.job, bytes(100))
    assert (place.link.take(), place.spool.size) == ([], 0)


def test_stdin_that_cannot_be_kept_fails_the_job(place, tmp_path):
    place.spool.folder = tmp_path / "gone"
    assert place.streams.feed(place.job, bytes(11))
    (reason,) = place.failed
    assert reason == f"its input cannot be kept: No such file or directory: {tmp_path}/gone"


def test_output_goes_to_the_sink_and_credit_comes_back_in_batches(place):
    place.streams.output(place.job, STDOUT, bytes(CREDIT_BATCH - 1))
    assert place.link.take() == []
    place.streams.output(place.job, STDOUT, b"x")
    assert place.link.take() == [encode_credit(1, STDOUT, CREDIT_BATCH)]
    assert len(place.sink.text[STDOUT]) == CREDIT_BATCH


def test_full_sink_gets_no_credit_until_it_has_room(place):
    place.sink.room = False
    place.streams.output(place.job, STDOUT, bytes(CREDIT_BATCH))
    assert place.link.take() == []
    place.job.paused = False
    place.streams.return_credit(place.job)
    assert place.link.take() == [encode_credit(1, STDOUT, CREDIT_BATCH)]


@pytest.mark.parametrize("change", [Change.CANCEL, Change.FAIL, Change.LOSE_OUTPUT])
def test_output_that_nobody_wants_is_dropped_and_its_credit_returned(place, change):
    place.job.change(change)
    place.streams.output(place.job, STDOUT, b"abc")
    assert place.link.take() == [encode_credit(1, STDOUT, 3)]
    assert not place.sink.text[STDOUT]


def test_repeat_that_differs_fails_the_job(tmp_path):
    place = Place(tmp_path)
    place.sink.files = ()
    place.streams.output(place.job, STDOUT, b"one")
    place.job.seen[STDOUT] = 0  # as at the beginning of another attempt
    place.streams.output(place.job, STDOUT, b"two")
    assert place.failed == ["run again after a lost worker, it printed something else than before"]
    place.spool.close()
