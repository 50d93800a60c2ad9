"""A Link with a real agent behind a wire that is cut, frozen and slow."""

import asyncio
import hashlib
import random
import signal
from contextlib import asynccontextmanager

import pytest

from tests.link.wires import TO_AGENT, TO_LINK, Linked, Recorder, Wire, agent, dial, linked
from tests.soak import count
from womm.link.client import Link, Offline
from womm.link.frames import EndKind, FrameType, encode, encode_bye
from womm.link.session import HELLO_SIZE, Session


@asynccontextmanager
async def both(place, *options, cuts=(), **link_options):
    """An agent, a wire, a link, as an async context manager."""

    with agent(place, *options) as process:
        async with (
            Wire(place / "wire", process.socket, cuts) as wire,
            linked(wire.path, **link_options) as to,
        ):
            yield process, wire, to


# ---- cuts


def output_of(lines):
    """What `seq lines` prints."""
    return b"".join(b"%d\n" % number for number in range(1, lines + 1))


async def test_cut_many_times_a_job_is_run_once_and_its_output_is_whole(place):
    """The cuts are at any byte of either direction."""
    lines = count(600_000, 5_000_000)  # 4 MB, 39 MB
    total = len(output_of(lines))
    cuts = count(25, 100)
    chance = random.Random(7)
    plan = [
        (TO_LINK, chance.randrange(2 * total // cuts))
        if chance.random() < 0.7
        else (TO_AGENT, chance.randrange(HELLO_SIZE, 600))
        for _ in range(cuts)
    ]

    async with both(place, cuts=plan) as (_, wire, to):
        command = f"echo run >> ran; seq {lines}; seq {lines // 10} >&2"
        record = await to.run(command, folder=str(place).encode())
        assert (record.kind, record.value) == (EndKind.EXITED, 0)
        assert to.seen.hashes[1, 1].hexdigest() == hashlib.sha256(output_of(lines)).hexdigest()
        assert to.seen.hashes[1, 2].hexdigest() == hashlib.sha256(output_of(lines // 10)).hexdigest()
        # How many cuts are reached depends on how few credits and acknowledgements there are.
        assert wire.connections > cuts // 4, "the wire was hardly cut"
        assert to.seen.ends == {1: [record]}
        assert len(to.seen.started[1]) == 1

    assert (place / "ran").read_text() == "run\n"


@pytest.mark.parametrize("direction", [TO_AGENT, TO_LINK])
async def test_cut_at_each_of_the_first_bytes_loses_and_repeats_nothing(place, direction):
    """In the middle of the hello, of a frame's head, of a payload."""
    sizes = range(0, count(60, 400), count(3, 1))
    # A cut within the hello makes the next try come later: a good connection in between.
    plan = [cut for size in sizes for cut in ((direction, size), (TO_LINK, 400))]

    async with both(place, cuts=plan) as (_, wire, to):
        jobs = 0
        while wire.connections < len(plan):
            record = await to.run(f"echo {jobs} >> ran; echo out {jobs}; echo err >&2")
            jobs += 1
            assert to.seen.out(to.last) == b"out %d\n" % (jobs - 1)
            assert record.value == 0
            to.seen.kept.clear()
        assert all(len(records) == 1 for records in to.seen.ends.values())

    assert (place / "ran").read_text() == "".join(f"{number}\n" for number in range(jobs))


async def test_cut_while_stdin_flows_the_job_gets_every_byte_once(place):
    data = random.Random(3).randbytes(count(2 << 20, 100 << 20))
    cuts = count(12, 100)
    chance = random.Random(11)
    plan = [(TO_AGENT, chance.randrange(2 * len(data) // cuts)) for _ in range(cuts)]

    async with both(place, cuts=plan) as (_, wire, to):
        job = to.start("sha256sum", stdin=True)
        await to.feed(job, (data[at : at + 50_000] for at in range(0, len(data), 50_000)))
        assert (await to.seen.end(job)).value == 0
        assert to.seen.out(job).split()[0].decode() == hashlib.sha256(data).hexdigest()
        assert wire.connections > cuts // 2


@pytest.mark.parametrize("agent_side", [False, True])
async def test_half_open_connections_are_replaced(place, agent_side):
    async with both(place) as (_, wire, to):
        job = to.start("read line; echo got $line", stdin=True)
        await to.seen.pid(job)
        wire.cut_half(agent_side=agent_side)
        await to.feed(job, [b"it\n"])
        await to.seen.end(job)
        assert to.seen.out(job) == b"got it\n"
        assert to.seen.calls[:3] == ["up", "cut", "up"]


async def test_link_cut_by_its_owner_comes_back(place):
    async with both(place) as (_, _, to):
        to.link.cut()
        await to.seen.until(lambda: to.seen.calls == ["up", "cut", "up"], "the link to come back")
        assert to.link.up
        assert (await to.run("exit 3")).value == 3


async def test_cut_with_jobs_running_they_go_on_meanwhile(place):
    async with both(place) as (_, wire, to):
        job = to.start("echo begun; while [ ! -e go ]; do sleep 0.02; done; echo done > proof; echo done")
        await to.seen.until(lambda: to.seen.out(job), "the job's first line")
        wire.freeze()
        wire.cut()
        (place / "go").touch()
        async with asyncio.timeout(30):
            while not (place / "proof").exists():
                await asyncio.sleep(0.01)
        wire.thaw()
        assert (await to.seen.end(job)).value == 0
        assert to.seen.out(job) == b"begun\ndone\n"


async def test_slow_wire_only_takes_longer(place):
    async with both(place) as (_, wire, to):
        wire.delay_s = 0.05
        for number in range(3):
            assert (await to.run(f"exit {number}")).value == number
        wire.cut()
        assert (await to.run("seq 100000 | tail -n 1")).value == 0
        assert to.seen.out(to.last) == b"100000\n"


# ---- frozen ends


async def test_frozen_wire_the_agent_drops_it_and_the_link_comes_back(place):
    """The agent's silence timeout; the link has none that is shorter than its pings."""

    async with both(place, "--silence-timeout", "1") as (_, wire, to):
        wire.freeze()
        job = to.start("echo late")
        # The agent hangs up, which reaches the link only through a wire that moves.
        await to.seen.until(lambda: "cut" in to.seen.calls, "the cut")
        wire.thaw()
        await to.seen.end(job)
        assert to.seen.out(job) == b"late\n"


@pytest.mark.soak
async def test_frozen_agent_is_found_by_silence_and_served_again(place):
    """45 s without a byte: pings have no answer (one ping more)."""

    async with both(place) as (process, _, to):
        process.process.send_signal(signal.SIGSTOP)
        await to.seen.until(lambda: "cut" in to.seen.calls, "the cut", 75)
        process.process.send_signal(signal.SIGCONT)
        assert (await to.run("exit 4")).value == 4


@pytest.mark.slow
async def test_idle_link_is_kept_up_by_pings(place):
    async with both(place, "--silence-timeout", "17") as (_, _, to):
        await to.seen.until(lambda: to.seen.pongs, "a ping's answer")
        assert to.seen.calls == ["up"]


# ---- giving up


async def test_unreachable_agent_is_given_up_after_the_time(place):
    async with linked(place / "nobody", give_up_after_s=0.5) as to:
        (call,) = to.seen.calls
        assert call.startswith("lost: ")
        assert "No such file" in call


async def test_agent_gone_is_given_up_after_the_time_and_told_as_a_cut_first(place):

    with agent(place) as process:
        async with linked(process.socket, give_up_after_s=0.5) as to:
            process.process.kill()
            await to.seen.until(lambda: len(to.seen.calls) == 3, "the loss")
            assert to.seen.calls[:2] == ["up", "cut"]
            assert to.seen.calls[2].startswith("lost: ")


async def test_way_that_is_closed_to_all_agents_is_waited_for_longer_than_one_agent(place):
    """Offline says nothing about this agent: its time begins when the way is open again."""

    with agent(place) as process:
        tries = []
        real = dial(process.socket)

        async def connect(factory):
            tries.append(factory)
            if len(tries) < 5:
                raise Offline("the way is closed")
            return await real(factory)

        seen = Recorder()
        link = Link("agent", connect, bytes(range(1, 17)), seen, give_up_after_s=0.2)
        link.start()
        await seen.until(lambda: seen.calls, "the link")
        assert seen.calls == ["up"]
        assert len(tries) == 5
        await link.close()


async def test_agent_that_is_gone_when_the_way_is_open_again_is_given_up(place):
    tries = []

    async def connect(factory):
        tries.append(factory)
        raise Offline("closed") if len(tries) < 3 else ConnectionRefusedError("nobody")

    seen = Recorder()
    link = Link("agent", connect, bytes(range(1, 17)), seen, give_up_after_s=0.2)
    link.start()
    await seen.until(lambda: seen.calls, "its end")
    assert seen.calls == ["lost: nobody"]
    assert len(tries) > 3
    await link.close()


async def test_second_coordinator_is_refused_and_harms_nothing(place):
    async with both(place) as (process, _, to):
        job = to.start("read line; echo $line", stdin=True)
        await to.seen.pid(job)
        async with linked(process.socket, session_id=bytes(range(16, 32))) as other:
            assert other.seen.calls == ["lost: version 1, other session"]
            assert not other.link.up
        await to.feed(job, [b"mine\n"])
        await to.seen.end(job)
        assert to.seen.out(job) == b"mine\n"
        assert to.seen.calls == ["up"]


class Scripted:
    """A peer that answers the hello of each connection and then says `words`."""

    def __init__(self, path, words, *, answer=True):
        self.path, self.words, self.answer = path, words, answer
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_unix_server(self._accept, str(self.path))
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _accept(self, reader, writer):
        self.connections += 1
        session = Session(bytes(range(1, 17)), connector=False)
        session.connection_made()
        try:
            if self.answer:
                list(session.receive_data(await reader.readexactly(HELLO_SIZE)))
                writer.write(session.data_to_send())
            writer.write(self.words)
            await reader.read()
        except OSError:
            pass
        finally:
            writer.transport.abort()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(b"sh: perl: not found\n", marks=pytest.mark.slow, id="line"),
        pytest.param(b"x" * 70_000, id="much"),
        pytest.param(b"", marks=pytest.mark.soak, id="none"),
    ],
)
async def test_peer_that_is_no_agent_is_given_up(place, words):
    async with Scripted(place / "peer", words, answer=False) as peer:
        seen = Recorder()
        link = Link("x", dial(peer.path), bytes(range(1, 17)), seen, give_up_after_s=0.1)
        link.start()
        try:
            await seen.until(lambda: seen.calls, "the loss")
        finally:
            await link.close()
        assert seen.calls[0].startswith("lost: ")


@pytest.mark.parametrize(
    "words",
    [b"\xff" * 20, encode(FrameType.ACK, 0, b"\xff" * 8)],
    ids=["unknown frame", "impossible ack"],
)
async def test_peer_that_talks_nonsense_after_the_hello_is_given_up(place, words):
    async with Scripted(place / "peer", words), linked(place / "peer", give_up_after_s=0.5) as to:
        await to.seen.until(lambda: "lost" in to.seen.calls[-1], "the loss")


# ---- the end of a link


async def test_bye_ends_agent_and_jobs_and_tells_no_end(place):
    async with both(place) as (process, _, to):
        job = to.start("sleep 1000")
        await to.seen.pid(job)
        await to.link.bye(1, 10.0)
        assert process.process.wait(10) == 0
        assert job not in to.seen.ends
        assert to.seen.calls == ["up"]
        assert to.link.closed

    assert not (place / "agent").exists()


async def test_bye_over_a_cut_link_returns_at_once(place):

    with agent(place) as process:
        async with Wire(place / "wire", process.socket) as wire, linked(wire.path) as to:
            wire.freeze()
            wire.cut()
            await to.seen.until(lambda: "cut" in to.seen.calls, "the cut")
            await asyncio.wait_for(to.link.bye(1, 60.0), 30)
            assert process.process.poll() is None


async def test_drain_takes_what_an_agent_wrote_before_it_was_killed(place):

    (place / "stay").touch()
    with agent(place) as process:
        async with linked(process.socket) as to:
            job = to.start("seq 1000; while [ -e stay ]; do sleep 0.02; done")
            await to.seen.until(lambda: to.seen.sizes.get((job, 1)) == len(output_of(1000)), "its output")
            process.process.kill()
            await to.link.drain(30.0)
            (place / "stay").unlink()
            assert to.seen.out(job) == output_of(1000)


async def test_close_tells_the_agent_nothing_and_calls_nothing_more(place):

    with agent(place) as process:
        async with linked(process.socket) as to:
            to.start("echo x")
            await to.link.close()
            calls = list(to.seen.calls)
            await to.link.close()
            assert to.seen.calls == calls == ["up"]
        async with linked(process.socket, session_id=bytes(range(1, 17))) as again:
            # The agent still has the old session's bytes, which this one never got.
            assert again.seen.calls[0] == "up" or again.seen.calls[0].startswith("lost: ")
        assert process.process.poll() is None


async def test_repr_shows_state(place):
    async with both(place) as (_, _, to):
        assert repr(to.link).startswith("<Link agent <Session connected, ")
        assert isinstance(to, Linked)
        assert to.link.up and not to.link.closed


async def test_send_before_the_link_is_up_arrives(place):

    with agent(place) as process:
        seen = Recorder()
        link = Link("x", dial(process.socket), bytes(range(1, 17)), seen)
        to = Linked(link, seen)
        to.start("echo early")
        link.start()
        try:
            assert (await seen.end(1)).value == 0
            assert seen.out(1) == b"early\n"
            link.send(encode_bye(0))
            await link.drain(30)
        finally:
            await link.close()
