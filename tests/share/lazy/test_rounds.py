"""Calls that come together are one call."""

import asyncio

import pytest

from womm.share.lazy.rounds import Rounds


class Calls:
    """Counts rounds; each ends when it is let."""

    def __init__(self):
        self.begun = 0
        self.gates: list[asyncio.Event] = []

    async def call(self):
        self.begun += 1
        number = self.begun
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        return number


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_calls_that_come_together_share_one_round():
    calls = Calls()
    rounds = Rounds(calls.call)
    assert "idle" in repr(rounds)
    waiting = [asyncio.ensure_future(rounds.join()) for _ in range(3)]
    await turns()
    assert calls.begun == 1 and "busy" in repr(rounds)
    calls.gates[0].set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert "idle" in repr(rounds)


async def test_a_call_that_comes_while_a_round_runs_gets_the_next_one():
    calls = Calls()
    rounds = Rounds(calls.call)
    first = asyncio.ensure_future(rounds.join())
    await turns()
    later = [asyncio.ensure_future(rounds.join()) for _ in range(2)]
    await turns()
    assert calls.begun == 1
    calls.gates[0].set()
    assert await first == 1
    await turns()
    calls.gates[1].set()
    assert await asyncio.gather(*later) == [2, 2]
    assert calls.begun == 2


async def test_a_round_goes_on_when_its_caller_is_cancelled():
    calls = Calls()
    rounds = Rounds(calls.call)
    caller = asyncio.ensure_future(rounds.join())
    await turns()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert "busy" in repr(rounds)
    settled = asyncio.ensure_future(rounds.settle())
    await turns()
    assert not settled.done()
    calls.gates[0].set()
    await settled
    assert "idle" in repr(rounds)


async def test_each_caller_gets_the_error_of_its_round_and_the_next_round_begins_anew():
    tries = []

    async def call():
        tries.append(1)
        if len(tries) == 1:
            raise OSError("once")
        return len(tries)

    rounds = Rounds(call)
    found = await asyncio.gather(rounds.join(), rounds.join(), return_exceptions=True)
    assert [str(error) for error in found] == ["once", "once"]
    assert await rounds.join() == 2
