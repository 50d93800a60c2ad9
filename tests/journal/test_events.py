"""The kinds of events."""

from tests.journal.samples import ALL
from womm.journal.events import EVENT_TYPES


def test_samples_hold_every_kind():
    assert {type(event) for event in ALL} == set(EVENT_TYPES)


def test_no_two_kinds_have_one_name():
    assert len({event_type.KIND for event_type in EVENT_TYPES}) == len(EVENT_TYPES)
