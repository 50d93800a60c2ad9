"""The user's side of the control channel, over channels that take what is sent."""

import asyncio
import json

import pytest

from womm.errors import ShareError
from womm.share.lazy.control import Conversation
from womm.share.lazy.names import NamesLog
from womm.wire.ahead import AskUse, Use
from womm.wire.control import AskStats, Done, Flush, Flushed, SetOwner, ShareStats


class Wire:
    """Takes what is sent."""

    def __init__(self):
        self.sent = b""
        self.aborted = False

    def write(self, data):
        self.sent += data

    def abort(self):
        self.aborted = True

    @property
    def messages(self):
        return [json.loads(line) for line in self.sent.splitlines()]


class Talk:
    """A conversation, and what it has called."""

    def __init__(self, replaced=""):
        self.called: list[str] = []
        self.names = NamesLog(5)

        def other():
            self.called.append("replaced")
            return replaced

        self.it = Conversation(
            self.names,
            replaced=other,
            give_up=self.called.append,
            cut=lambda: self.called.append("cut"),
        )

    def connect(self, epoch="e1", version=2, whole=True):
        wire = Wire()
        channel = self.it.open(wire)
        say(channel, op="hello", epoch=epoch, version=version, whole=whole, generation=1, change=1)
        return wire, channel


def say(channel, **message):
    channel.received(json.dumps(message).encode() + b"\n")


async def asked(talk, request, reply):
    task = asyncio.ensure_future(talk.it.ask(request, reply))
    await asyncio.sleep(0)
    return task


def run(work):
    async def main():
        talk = Talk()
        try:
            await work(talk)
        finally:
            talk.it.fail("the test is over")
            talk.names.close()

    asyncio.run(main())


def test_requests_are_answered_by_their_numbers():
    async def work(talk):
        wire, channel = talk.connect()
        await talk.it.ready()
        stats = await asked(talk, AskStats(), ShareStats)
        flush = await asked(talk, Flush(0), Flushed)
        assert wire.messages == [{"id": 1, "op": "stats"}, {"id": 2, "op": "flush", "seen": 0}]
        say(channel, id=2, ok=True, bytes=3, changed=["a"], lost=[])
        say(channel, id=1, ok=True, fetched=7)
        say(channel, id=1, ok=True, fetched=8)
        say(channel, id=99, ok=True)
        assert (await flush).changed == (b"a",)
        assert (await stats).fetched == 7
        assert talk.called == [] and not wire.aborted

    run(work)


def test_what_was_not_answered_is_asked_again_in_its_order():
    async def work(talk):
        early = await asked(talk, AskStats(), ShareStats)
        first, channel = talk.connect()
        assert first.messages == [{"id": 1, "op": "stats"}]
        later = await asked(talk, Flush(0), Flushed)
        channel.closed()
        assert talk.called == ["cut"] and not talk.it.up.is_set()
        second, channel = talk.connect()
        assert [message["id"] for message in second.messages] == [1, 2]
        say(channel, id=1, ok=True)
        say(channel, id=2, ok=True)
        await asyncio.gather(early, later)

    run(work)


def test_what_was_used_is_not_asked_again_when_its_answer_broke_the_channel():
    async def work(talk):
        waits = await asked(talk, AskUse(), Use)  # the server is not there yet
        _, channel = talk.connect()
        stats = await asked(talk, AskStats(), ShareStats)
        channel.received(b'{"id":1,"ok":true,"items":"garbage"}\n')
        channel.closed()
        wire, channel = talk.connect()
        assert [message["op"] for message in wire.messages] == ["stats"]
        with pytest.raises(ShareError, match="was cut"):
            await waits
        say(channel, id=2, ok=True)
        await stats
        later = await asked(talk, AskUse(), Use)
        assert wire.messages[-1]["id"] == 3
        later.cancel()

    run(work)


def test_whose_the_files_are_is_said_again_to_each_server():
    async def work(talk):
        _, channel = talk.connect()
        own = await asked(talk, SetOwner(5, 6), Done)
        say(channel, id=1, ok=True, changed=True)
        await own
        again, _ = talk.connect()
        assert again.messages == [{"op": "owner", "uid": 5, "gid": 6}]

    run(work)


def test_names_are_kept_and_handed_to_a_server_that_has_none():
    async def work(talk):
        wire, channel = talk.connect()
        line = b'{"op":"names","number":4,"rows":[[1,"a",2,3,4,5]],"reset":true}'
        channel.received(line + b"\n")
        assert wire.messages == [{"op": "seen", "number": 4}]
        other, _ = talk.connect("e2", whole=False)
        given, adopted = other.messages
        assert given == json.loads(line)
        assert (adopted["op"], adopted["generation"], adopted["dev"]) == ("adopted", 1, 5)
        assert talk.called == ["replaced"]

    run(work)


def test_a_new_channel_drops_the_one_before_which_is_heard_no_more():
    async def work(talk):
        old_wire, old = talk.connect()
        _, new = talk.connect()
        assert old_wire.aborted
        old.closed()
        say(old, op="unsent", files=[[1, "a"]], sent=[], more=0)
        assert talk.called == [] and talk.it.up.is_set() and not talk.it.unsent.now
        say(new, op="unsent", files=[[1, "a"]], sent=[], more=2, whole=True)
        assert talk.it.unsent.now.count == 3

    run(work)


def test_there_is_no_going_on_with_another_version_or_a_lost_disk():
    async def work(talk):
        talk.connect(version=3)
        assert talk.called == ["the file server speaks version 3 of the share's protocol, not 2"]
        assert not talk.it.up.is_set()
        lost = Talk(replaced="its disk is lost")
        lost.connect()
        lost.connect("e2")
        assert lost.called == ["replaced", "its disk is lost"]
        lost.it.fail("over")
        lost.names.close()

    run(work)


def test_after_a_failure_nobody_waits():
    async def work(talk):
        ready = asyncio.ensure_future(talk.it.ready())
        stats = await asked(talk, AskStats(), ShareStats)
        talk.it.fail("first")
        talk.it.fail("second")
        for task in (ready, stats, talk.it.ask(AskStats(), ShareStats)):
            with pytest.raises(ShareError, match="first"):
                await task

    run(work)


@pytest.mark.parametrize(
    "garbage", [b"x\n", b'{"op":"unsent"}\n', b'{"op":"names"}\n', b'{"id":1,"fetched":"x"}\n']
)
def test_garbage_ends_the_channel_and_the_request_waits_for_the_next(garbage):
    async def work(talk):
        wire, channel = talk.connect()
        stats = await asked(talk, AskStats(), ShareStats)
        channel.received(garbage)
        assert wire.aborted and not stats.done()
        channel.closed()
        _, channel = talk.connect()
        say(channel, id=1, ok=True, fetched=7)
        assert (await stats).fetched == 7

    run(work)


def test_what_nobody_knows_is_of_no_matter_but_not_before_the_hello():
    async def work(talk):
        wire, channel = talk.connect()
        say(channel, op="later", fields=[1])
        say(channel, op="hello", epoch="e9", version=9)
        assert not wire.aborted and talk.called == []
        wire = Wire()
        say(talk.it.open(wire), op="later")
        assert wire.aborted

    run(work)
