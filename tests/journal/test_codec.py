"""One event is one line, and any bytes are an event or None."""

import json
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.samples import ALL, JOB_ENDED, JOB_STARTED, STARTED
from womm.journal.codec import JOB_PREFIX, decode, encode
from womm.journal.events import JobStarted, Note


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.KIND)
def test_encode_every_kind_round_trips_as_one_line(event):
    line = encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert line.startswith(b'{"event":"%s",' % event.KIND.encode())
    assert decode(line) == event
    assert decode(line[:-1]) == event


def test_encode_uses_field_names_and_leaves_defaults_out():
    values = json.loads(encode(JOB_ENDED))
    assert next(iter(values)) == "event"
    assert values["event"] == "job_ended"
    assert values["out"] == {"inline": "aGkK", "size": 3}
    assert "replayed" not in values
    assert "reason" not in values
    assert json.loads(encode(STARTED))["kind"] == "parallel"


def test_job_prefix_starts_lines_of_jobs_only():
    of_jobs = {event.KIND for event in ALL if encode(event).startswith(JOB_PREFIX)}
    assert of_jobs == {"job_started", "job_lost", "job_ended"}


@given(st.binary(), st.text(), st.floats(allow_nan=False, allow_infinity=False), st.none() | st.integers())
def test_encode_any_command_round_trips(raw, pod, time, seq):
    event = JobStarted(time, 1, seq, 1, pod, 1, raw.decode("utf-8", "surrogateescape"))
    decoded = decode(encode(event))
    assert decoded == event
    assert isinstance(decoded, JobStarted)
    assert decoded.command.encode("utf-8", "surrogateescape") == raw


@given(st.binary())
def test_decode_garbage_gives_none(data):
    assert decode(data) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from(ALL), st.data())
def test_decode_wrong_types_gives_none_or_an_event_that_encodes(event, data):
    values = json.loads(encode(event))
    key = data.draw(st.sampled_from(sorted(values)))
    values[key] = data.draw(json_values)
    decoded = decode(json.dumps(values).encode())
    if decoded is not None:
        encode(decoded)


@given(st.sampled_from(ALL), st.data())
def test_decode_flipped_bytes_never_raises(event, data):
    line = bytearray(encode(event))
    for _ in range(data.draw(st.integers(1, 4))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    decode(bytes(line))


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.KIND)
def test_decode_every_cut_gives_none(event):
    line = encode(event)
    assert all(decode(line[:size]) is None for size in range(len(line) - 1))


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"event":"note","time":1e999,"text":"x"',
        b'{"event":"note","time":' + b"9" * 5000 + b',"text":"x"}',
        b'{"event":"note","time":true,"text":"x"}',
        b'{"event":"note","time":1}',
        b'{"event":["note"],"time":1,"text":"x"}',
        b'{"event":"nobody_knows","time":1}',
        encode(JOB_STARTED) + b"x",
        encode(JOB_STARTED)[:-1] * 2,
        b"\x00" + encode(JOB_STARTED),
        b"\xff\n",
        b"\n",
        b"",
    ],
)
def test_decode_hostile_lines_give_none(line):
    assert decode(line) is None


def test_decode_unknown_keys_are_ignored():
    line = b'{"event":"note","time":1,"text":"x","of_a_newer_womm":{"a":[1]}}\n'
    assert decode(line) == Note(1.0, "x")


@pytest.mark.slow
@pytest.mark.parametrize("event", [JOB_STARTED, JOB_ENDED], ids=lambda event: event.KIND)
def test_encode_events_of_a_job_takes_microseconds(event):
    # The aim is 15 us; a loaded machine gets ten times that.
    assert min(timeit.repeat(lambda: encode(event), number=1000, repeat=5)) < 0.15
