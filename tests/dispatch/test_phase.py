"""The phases of a job: every change that is legal leads where it should, and every other one raises."""

from itertools import product

import pytest

from womm.dispatch.phase import TRANSITIONS, UNWANTED, BadChange, Change, Phase, after

LEGAL = """
WAITING HOLD HELD
WAITING SEND RUNNING
WAITING CANCEL ENDED
WAITING FAIL ENDED
WAITING END ENDED
HELD SEND RUNNING
HELD LOSE WAITING
HELD CANCEL ABANDONED
HELD FAIL ABANDONED
HELD END ENDED
RUNNING SETTLE SETTLING
RUNNING LOSE WAITING
RUNNING LOSE_OUTPUT OUTPUT_LOST
RUNNING CANCEL CANCELLED
RUNNING FAIL FAILED
RUNNING END ENDED
SETTLING LOSE WAITING
SETTLING LOSE_OUTPUT FLUSHING
SETTLING CANCEL CANCELLED
SETTLING FAIL FAILED
SETTLING END ENDED
OUTPUT_LOST FLUSH FLUSHING
OUTPUT_LOST LOSE WAITING
OUTPUT_LOST CANCEL CANCELLED
OUTPUT_LOST FAIL FAILED
OUTPUT_LOST END ENDED
FLUSHING LOSE WAITING
FLUSHING CANCEL ABANDONED
FLUSHING FAIL ABANDONED
FLUSHING END ENDED
CANCELLED END ENDED
FAILED END ENDED
ABANDONED END ENDED
"""
NEXT = {
    (Phase[phase], Change[change]): Phase[following]
    for phase, change, following in map(str.split, LEGAL.strip().splitlines())
}


@pytest.mark.parametrize("phase, change", list(product(Phase, Change)), ids=lambda value: value.name)
def test_every_phase_and_every_change(phase, change):
    if (phase, change) in NEXT:
        assert after(phase, change) is NEXT[phase, change]
    else:
        with pytest.raises(BadChange, match=f"^{change.name} of a job that is {phase.name}$"):
            after(phase, change)


def test_every_phase_is_in_the_table():
    assert set(TRANSITIONS) == set(Phase)


def test_every_phase_can_be_reached_and_leads_to_the_end():
    reached, new = set(), {Phase.WAITING}
    while new:
        reached |= new
        new = {following for phase in new for following in TRANSITIONS[phase].values()} - reached
    assert reached == set(Phase)
    assert all(Change.END in changes for phase, changes in TRANSITIONS.items() if phase is not Phase.ENDED)


def test_nobody_wants_a_job_again_whose_outcome_nobody_waits_for():
    for phase in UNWANTED:
        assert set(TRANSITIONS[phase].values()) <= UNWANTED
