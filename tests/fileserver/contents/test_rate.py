"""The rate of a link, on an event loop whose time the test sets."""

import asyncio

from womm.fileserver.contents.rate import LOOK_S, STALE_LOOKS, LinkRate, Look


class SetClock(asyncio.SelectorEventLoop):
    """A loop at a time of the test's own."""

    now_s = 100.0

    def time(self) -> float:
        return self.now_s


def looks(*steps):
    """Return the finding of each look at (seconds since the last one, bytes so far, limited)."""
    loop, rate = SetClock(), LinkRate()

    async def main():
        rate.look(0)
        found = []
        for past_s, carried_bytes, limited in steps:
            loop.now_s += past_s
            if limited:
                rate.limit()
            found.append(rate.look(carried_bytes))
        return found

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def test_rate_is_what_was_carried_since_the_last_look():
    assert looks((0.5, 1000, False), (0.5, 1500, False)) == [Look(2000.0, False), Look(1000.0, False)]


def test_look_that_is_too_early_finds_nothing_and_counts_nothing():
    assert looks((LOOK_S, 1000, False), (0.25, 1000, False)) == [None, Look(2000.0, False)]


def test_look_that_is_too_late_finds_nothing_and_begins_anew():
    assert looks((STALE_LOOKS * LOOK_S, 1000, True), (0.5, 2000, False)) == [None, Look(2000.0, False)]


def test_limit_is_said_once():
    assert looks((0.5, 1, True), (0.5, 2, False)) == [Look(2.0, True), Look(2.0, False)]
