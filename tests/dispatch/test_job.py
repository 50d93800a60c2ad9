"""A job shows its output once, also when it runs again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dispatch.sinks import Sink
from womm.dispatch.job import STDERR, STDOUT, Job, Submission
from womm.dispatch.phase import BadChange, Change, Phase
from womm.dispatch.pool import Start
from womm.link.frames import WINDOW, RunRequest


def job_with(sink, request=None, capture_bytes=100):
    submitted = Submission(1, 7, request or RunRequest(b"echo x"), 0.0)
    return Job(submitted, sink, None, capture_bytes=capture_bytes)


class Runner:
    """A job with a sink, fed as the dispatcher does."""

    def __init__(self, files=(1, 2)):
        self.sink = Sink(files)
        self.job = job_with(self.sink)
        self.attempt = 0

    def begin(self):
        self.attempt += 1
        self.job.begin_attempt(Start(1, "pod", 1, self.attempt), 1.0)

    def print(self, *pieces, stream=STDOUT):
        """False: what came differs from what was shown."""
        for piece in pieces:
            fresh = self.job.take_output(stream, piece)
            if fresh is None:
                return False
            if fresh:
                self.sink.write(stream, fresh)
        return True


def test_begin_attempt_starts_from_nothing():
    runner = Runner()
    runner.begin()
    job = runner.job
    job.seen[STDOUT], job.pid, job.stdin_sent, job.stdin_end_sent, job.stdin_credit = 5, 9, 6, True, 0
    runner.begin()
    assert (job.attempt, job.pod, job.pid, job.seen) == (2, "pod", 0, [0, 0, 0])
    assert (job.stdin_credit, job.stdin_sent, job.stdin_end_sent) == (WINDOW, 0, False)


def test_lost_output_in_files_is_taken_back_and_comes_again():
    runner = Runner()
    runner.begin()
    assert runner.print(b"half a li")
    assert runner.print(b"warning\n", stream=STDERR)
    assert runner.job.emitted == [0, 9, 8]
    runner.job.lose_attempt()
    assert runner.sink.calls == ["take back 1", "take back 2"]
    assert runner.job.emitted == [0, 0, 0]
    assert runner.job.captures[STDOUT].data == b""
    runner.begin()
    assert runner.print(b"quite different\n")
    assert bytes(runner.sink.text[STDOUT]) == b"quite different\n"
    assert runner.job.captures[STDOUT].data == b"quite different\n"
    assert not runner.job.repeats_missing()


def test_lost_output_that_was_none_is_not_taken_back():
    runner = Runner()
    runner.begin()
    runner.job.lose_attempt()
    assert runner.sink.calls == []
    assert runner.job.pod == ""


def test_lost_output_on_a_terminal_is_not_shown_again():
    runner = Runner(files=())
    runner.begin()
    assert runner.print(b"one\n", b"two\n")
    runner.job.lose_attempt()
    runner.begin()
    assert runner.print(b"one\ntw", b"o\nthree\n", b"four\n")
    assert bytes(runner.sink.text[STDOUT]) == b"one\ntwo\nthree\nfour\n"
    assert runner.job.captures[STDOUT].data == b"one\ntwo\nthree\nfour\n"
    assert runner.sink.calls == []


@pytest.mark.parametrize("pieces", [[b"one\ntwO\n"], [b"one\nt", b"wO\n"], [b"O", b"ne\ntwo\nthree\n"]])
def test_repeat_that_differs_is_found(pieces):
    runner = Runner(files=())
    runner.begin()
    assert runner.print(b"one\ntwo\n")
    runner.job.lose_attempt()
    runner.begin()
    assert not runner.print(*pieces)
    assert bytes(runner.sink.text[STDOUT]) == b"one\ntwo\n"


def test_repeat_that_is_shorter_is_missed_at_the_end():
    runner = Runner(files=())
    runner.begin()
    runner.print(b"one\ntwo\n")
    runner.job.lose_attempt()
    runner.begin()
    assert runner.print(b"one\n")
    assert runner.job.repeats_missing()
    assert runner.print(b"two\n")
    assert not runner.job.repeats_missing()


def test_streams_are_apart_one_a_file_and_one_not():
    """--results with live stderr, and the like."""
    runner = Runner(files=(1,))
    runner.begin()
    runner.print(b"out")
    runner.print(b"err", stream=STDERR)
    runner.job.lose_attempt()
    assert runner.sink.calls == ["take back 1"]
    runner.begin()
    assert runner.print(b"other out")
    assert runner.print(b"err and more", stream=STDERR)
    assert bytes(runner.sink.text[STDOUT]) == b"other out"
    assert bytes(runner.sink.text[STDERR]) == b"err and more"


@given(st.binary(max_size=60), st.data())
def test_any_number_of_losses_shows_every_byte_once(text, data):
    runner = Runner(files=())
    for _ in range(data.draw(st.integers(0, 4))):
        runner.begin()
        upto = data.draw(st.integers(0, len(text)))
        at = 0
        while at < upto:
            size = data.draw(st.integers(1, upto - at))
            assert runner.print(text[at : at + size])
            at += size
        runner.job.lose_attempt()
    runner.begin()
    at = 0
    while at < len(text):
        size = data.draw(st.integers(1, len(text) - at))
        assert runner.print(text[at : at + size])
        at += size
    assert bytes(runner.sink.text[STDOUT]) == text
    assert not runner.job.repeats_missing()
    assert runner.job.captures[STDOUT].data == text


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_changed_byte_of_a_repeat_is_never_shown_as_success(text, data):
    runner = Runner(files=())
    runner.begin()
    runner.print(text)
    runner.job.lose_attempt()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = bytearray(text)
    changed[at] ^= data.draw(st.integers(1, 255))
    runner.begin()
    cut = data.draw(st.integers(0, len(text)))
    assert not (
        runner.print(bytes(changed[:cut]), bytes(changed[cut:]), b"more") and not runner.job.repeats_missing()
    )
    assert bytes(runner.sink.text[STDOUT]) == text


@pytest.mark.parametrize(
    "request_, shown",
    [
        (RunRequest(b"echo \xff"), "echo \udcff"),
        (RunRequest(None, argv=(b"a", b"b c")), "a b c"),
        (RunRequest(None), ""),
    ],
)
def test_command_is_shown_as_text(request_, shown):
    assert job_with(Sink(), request_).command == shown


def test_repr_names_its_phase_and_where_it_runs():
    runner = Runner()
    assert repr(runner.job) == "<Job 1 seq 7 WAITING in no worker>"
    runner.begin()
    runner.job.change(Change.SEND)
    assert repr(runner.job) == "<Job 1 seq 7 RUNNING in pod>"


def test_change_that_the_phase_does_not_know_raises_and_changes_nothing():
    job = job_with(Sink())
    with pytest.raises(BadChange):
        job.change(Change.SETTLE)
    assert job.phase is Phase.WAITING
