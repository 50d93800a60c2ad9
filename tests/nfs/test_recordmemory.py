"""Memory for large records: who gets it, who waits, and that all of it comes back."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from womm.nfs.recordmemory import Claim, RecordMemory


def claims(count):
    """Claims, and the list of those whose state has changed."""
    changes: list[int] = []
    return [Claim(partial(changes.append, number)) for number in range(count)], changes


def test_claims_within_the_limit_are_held_at_once():
    memory = RecordMemory(100)
    (one, two), changes = claims(2)
    memory.reserve(one, 60)
    memory.reserve(two, 40)
    assert (memory.held_bytes, changes) == (100, [])


def test_claim_above_the_limit_waits_until_another_is_given_back():
    memory = RecordMemory(100)
    (one, two), changes = claims(2)
    memory.reserve(one, 60)
    memory.reserve(two, 41)
    assert two.starved
    assert changes == [1]
    memory.reserve(one, 0)
    assert not two.starved
    assert (memory.held_bytes, changes) == (41, [1, 1])


def test_claim_that_has_begun_grows_above_the_limit():
    memory = RecordMemory(100)
    (one, two), changes = claims(2)
    memory.reserve(one, 50)
    memory.reserve(two, 50)
    memory.reserve(one, 90)
    assert (memory.held_bytes, changes) == (140, [])


def test_one_claim_may_be_larger_than_the_limit():
    memory = RecordMemory(100)
    (one,), changes = claims(1)
    memory.reserve(one, 1000)
    assert (memory.held_bytes, changes) == (1000, [])


def test_starved_claims_are_fed_in_the_order_in_which_they_came():
    memory = RecordMemory(100)
    (one, two, three, four), changes = claims(4)
    memory.reserve(one, 100)
    for claim in (two, three, four):
        memory.reserve(claim, 50)
    memory.reserve(one, 0)
    assert [claim.starved for claim in (two, three, four)] == [False, False, True]
    assert changes == [1, 2, 3, 1, 2]


def test_starved_claim_that_is_given_up_gets_nothing():
    memory = RecordMemory(100)
    (one, two), _ = claims(2)
    memory.reserve(one, 100)
    memory.reserve(two, 50)
    memory.reserve(two, 0)
    memory.reserve(one, 0)
    assert (memory.held_bytes, len(memory.starved), two.starved) == (0, 0, False)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=60))
def test_sum_of_what_is_held_is_counted_and_nobody_waits_when_nothing_is_held(steps):
    memory = RecordMemory(100)
    made, _ = claims(5)
    for number, size_bytes in steps:
        memory.reserve(made[number], size_bytes)
        assert memory.held_bytes == sum(claim.size_bytes for claim in made if not claim.starved)
        assert set(memory.starved) == {claim for claim in made if claim.starved}
        assert memory.held_bytes or not memory.starved
    for claim in made:
        memory.reserve(claim, 0)
    assert (memory.held_bytes, len(memory.starved)) == (0, 0)
