"""The clock of the user's side."""

import time

from womm.fileserver.contents.clock import PROMPT_NS, UserClock


def test_clock_follows_what_the_users_side_says_at_once():
    clock = UserClock()
    now = time.time_ns()
    clock.heard(now - 1000, now, now + 3_600_000_000_000)
    assert 3_599_000_000_000 < clock.now_ns() - time.time_ns() < 3_601_000_000_000


def test_time_that_took_long_to_come_says_nothing():
    clock = UserClock()
    now = time.time_ns()
    clock.heard(now - PROMPT_NS, now, now + 3_600_000_000_000)
    assert abs(clock.now_ns() - time.time_ns()) < 1_000_000_000
