"""What jobs have written is in the folder: flushes over a scripted channel."""

import asyncio

import pytest

from tests.share.lazy.test_control import Talk, say
from womm.errors import ShareError
from womm.share.lazy.flushes import Flushes, FlushResult


class Flushing:
    """Flushes, and the file server's answers."""

    def __init__(self) -> None:
        self.talk = Talk()
        self.it = Flushes(self.talk.it)
        self.wire, self.channel = self.talk.connect()

    async def __aenter__(self) -> "Flushing":
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.talk.it.fail("the test is over")
        await self.it.settle()
        self.talk.names.close()

    async def begin(self) -> "asyncio.Task[FlushResult]":
        task = asyncio.ensure_future(self.it.join())
        for _ in range(5):
            await asyncio.sleep(0)
        return task

    @property
    def asked(self):
        return [(message["op"], message["id"], message["seen"]) for message in self.wire.messages]

    def answer(self, number, **fields):
        say(self.channel, **{"id": number, "ok": True, "bytes": 0, "changed": [], "lost": [], **fields})


async def test_flush_tells_what_was_written_changed_refused_and_lost():
    async with Flushing() as flushing:
        waiting = await flushing.begin()
        flushing.answer(
            1, bytes=5, changed=["b", "a\n", "\udcff"], failed={"\udcff": "no room", "b": "gone"}, lost=["b"]
        )
        found = await waiting
        assert found.changed == ["a\n", "b", "\udcff"]
        assert (found.failed, found.lost) == ({"\udcff": "no room", "b": "gone"}, ["b"])


async def test_flush_says_which_reply_has_come_before_it():
    async with Flushing() as flushing:
        for number, seen in ((1, 0), (2, 1), (3, 2)):
            waiting = await flushing.begin()
            assert flushing.asked[-1] == ("flush", number, seen)
            flushing.answer(number, bytes=number)
            assert (await waiting).bytes == number


async def test_calls_that_come_together_are_one_flush_and_later_ones_the_next():
    async with Flushing() as flushing:
        first = await flushing.begin()
        later = [await flushing.begin() for _ in range(3)]
        assert len(flushing.asked) == 1
        flushing.answer(1, bytes=1)
        assert (await first).bytes == 1
        await asyncio.sleep(0)
        flushing.answer(2, bytes=2)
        assert [found.bytes for found in await asyncio.gather(*later)] == [2] * 3


async def test_change_that_a_cancelled_caller_waited_for_is_told_to_the_next():
    async with Flushing() as flushing:
        waiting = await flushing.begin()
        waiting.cancel()
        flushing.answer(1, changed=["a"])
        await flushing.it.settle()
        waiting = await flushing.begin()
        flushing.answer(2, changed=["b"])
        assert (await waiting).changed == ["a", "b"]
        waiting = await flushing.begin()
        flushing.answer(3, changed=["c"])
        assert (await waiting).changed == ["c"]


async def test_flush_that_was_cut_is_asked_again_as_it_was():
    async with Flushing() as flushing:
        waiting = await flushing.begin()
        flushing.channel.closed()
        flushing.wire, flushing.channel = flushing.talk.connect()
        assert flushing.asked == [("flush", 1, 0)]
        flushing.answer(1, changed=["a"])
        assert (await waiting).changed == ["a"]


async def test_share_that_is_lost_is_an_error_for_whoever_waits_and_whoever_comes():
    async with Flushing() as flushing:
        waiting = await flushing.begin()
        flushing.talk.it.fail("its disk is lost")
        for work in (waiting, flushing.it.join()):
            with pytest.raises(ShareError, match="its disk is lost"):
                await work
