"""TCP connections: garbage, limits, repeated requests, what a lost connection leaves under way."""

import asyncio
from contextlib import AsyncExitStack
from struct import pack

import pytest

from tests.loop import until
from tests.nfs import builder as b
from tests.nfs.peer import Peer, null, record_of, serving
from womm.nfs import Limits
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Op
from womm.nfs.filesystem import NOTHING
from womm.nfs.status import Status
from womm.nfs.xdr import pack_u32


class _Slow(MemoryFilesystem):
    """Waits in mkdir until it is let go."""

    inline = False

    def __init__(self):
        super().__init__()
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()
        self.calls = 0

    async def mkdir(self, directory, name, settings):
        self.calls += 1
        self.asked.set()
        await self.let_go.wait()
        return await super().mkdir(directory, name, settings)


async def test_null_other_programs_versions_and_procedures():
    async with serving() as server:
        peer = await Peer.connect(server)
        assert await peer.ask(null(3)) == pack(">7I", 0x80000018, 3, 1, 0, 0, 0, 0)
        assert (await peer.ask(null(4, version=3)))[4:] == pack(">8I", 4, 1, 0, 0, 0, 2, 4, 4)
        assert (await peer.ask(null(5, program=100005, version=3)))[4:] == pack(">6I", 5, 1, 0, 0, 0, 1)
        assert (await peer.ask(null(6, procedure=2)))[4:] == pack(">6I", 6, 1, 0, 0, 0, 3)
        assert (await peer.ask(null(7, procedure=1)))[4:] == pack(">6I", 7, 1, 0, 0, 0, 4)
        await peer.close()


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n" + bytes(100), b"\xff" * 200, pack(">II", 0x80000004, 9)]
)
async def test_garbage_ends_its_connection_and_no_other(garbage):
    async with serving() as server:
        good, bad = await Peer.connect(server), await Peer.connect(server)
        await good.ask(null())
        bad.writer.write(garbage)
        await bad.ended()
        await bad.close()
        assert server.metrics.shed == 1
        await good.ask(null())
        await good.close()


async def test_requests_in_one_piece_and_byte_by_byte_are_answered_in_order():
    async with serving() as server:
        peer = await Peer.connect(server)
        stream = b"".join(record_of(b.putrootfh(), b.getfh(), xid=xid) for xid in range(1, 20))
        peer.writer.write(stream)
        for xid in range(1, 20):
            assert (await peer.receive())[4:8] == pack_u32(xid)
        for byte in record_of(b.putrootfh(), xid=99):
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
        assert (await peer.receive())[4:8] == pack_u32(99)
        await peer.close()


async def test_repeated_request_of_4_0_has_no_second_effect():
    async with serving() as server:
        one, two = await Peer.connect(server), await Peer.connect(server)
        request = record_of(b.putrootfh(), b.mkdir(b"once"), xid=7)
        first = await one.ask(request)
        assert b.read_reply(first).status is Status.OK
        assert await two.ask(request) == first  # on another connection, as after a break
        assert server.metrics.retries == 1
        fresh = b.read_reply(await two.ask(record_of(b.putrootfh(), b.mkdir(b"once"), xid=8)))
        assert fresh.status is Status.EXIST
        # What only reads is done again: the answer may have changed.
        look = record_of(b.putrootfh(), b.lookup(b"once"), xid=9)
        assert b.read_reply(await one.ask(look)).status is Status.OK
        await one.ask(record_of(b.putrootfh(), b.named(Op.REMOVE, b"once"), xid=10))
        assert b.read_reply(await one.ask(look)).status is Status.NOENT
        await one.close()
        await two.close()


async def test_request_of_4_0_repeated_while_it_runs_is_answered_on_both_connections():
    slow = _Slow()

    async with serving(slow) as server:
        one, two = await Peer.connect(server), await Peer.connect(server)
        request = record_of(b.putrootfh(), b.mkdir(b"once"), xid=7)
        one.writer.write(request)
        await slow.asked.wait()
        two.writer.write(request)
        # Others are served meanwhile.
        await two.ask(null(50))
        slow.let_go.set()
        assert await one.receive() == await two.receive()
        assert slow.calls == 1
        await one.close()
        await two.close()


async def test_request_goes_on_when_its_connection_is_lost():
    slow = _Slow()

    async with serving(slow) as server:
        one = await Peer.connect(server)
        request = record_of(b.putrootfh(), b.mkdir(b"once"), xid=7)
        one.writer.write(request)
        await slow.asked.wait()
        await one.close()
        slow.let_go.set()
        two = await Peer.connect(server)
        assert b.read_reply(await two.ask(request)).status is Status.OK
        assert slow.calls == 1
        await two.close()


async def test_server_stops_after_the_requests_of_lost_connections():
    slow = _Slow()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(slow))
        peer = await Peer.connect(server)
        peer.writer.write(record_of(b.putrootfh(), b.mkdir(b"once")))
        await slow.asked.wait()
        await peer.close()
        await until(lambda: len(server.connections) == 0)
        stopping = asyncio.ensure_future(stack.pop_all().aclose())
        await asyncio.wait([stopping], timeout=0.05)
        assert not stopping.done()
        slow.let_go.set()
        await stopping
    [entry] = (await slow.readdir(slow.root(), 0, 0, 10)).entries
    assert entry.name == b"once"


async def test_connection_with_too_much_under_way_is_not_read():
    slow = _Slow()

    async with serving(slow, limits=Limits(requests=3)) as server:
        peer = await Peer.connect(server)
        for xid in range(10):
            peer.writer.write(record_of(b.putrootfh(), b.mkdir(b"%d" % xid), xid=xid))
        other = await Peer.connect(server)
        for xid in range(20):
            await other.ask(null(xid))
        # However it came: three are run, no more of it is read.
        [busy] = [c for c in server.connections if c.tasks]
        assert busy._paused
        assert slow.calls == 3
        slow.let_go.set()
        for _ in range(10):
            assert b.read_reply(await peer.receive()).status is Status.OK
        assert not busy._paused
        await peer.close()
        await other.close()


async def test_connections_that_never_spoke_make_room():
    async with serving(limits=Limits(connections=5)) as server:
        good = await Peer.connect(server)
        await good.ask(null())
        silent = [await Peer.connect(server) for _ in range(10)]
        for _ in range(50):
            await good.ask(null())
        assert server.metrics.connections <= 5
        new = await Peer.connect(server)
        await new.ask(null())
        await good.ask(null())
        for peer in (*silent, good, new):
            await peer.close()


async def test_large_records_wait_for_memory_and_are_all_answered():
    async with serving(limits=Limits(memory_bytes=3 << 20)) as server:
        peers = [await Peer.connect(server) for _ in range(8)]
        record = record_of(b.putrootfh(), b.write(bytes(1 << 20)), xid=3)
        for peer in peers:
            peer.writer.write(record[:600_000])
        good = await Peer.connect(server)
        while len(server.connections.memory.starved) < 6:
            await good.ask(null())
        assert server.connections.memory.held_bytes <= 3 << 20
        for peer in reversed(peers):
            peer.writer.write(record[600_000:])
        for peer in peers:
            assert b.read_reply(await peer.receive()).status is Status.ISDIR
            await peer.close()
        await good.close()
        assert server.connections.memory.held_bytes == 0
        assert server.metrics.shed == 0


async def test_connection_that_is_busy_all_the_time_is_not_shed():
    clock = b.Clock()

    async with serving(clock=clock) as server:
        peer = await Peer.connect(server)
        call = null()
        peer.writer.write(call[:10])
        for _ in range(20):
            clock.now += 30
            peer.writer.write(call[10:] + call[:10])  # never without half a record
            await peer.receive()
            for connection in server.connections:
                connection.check(clock())
        assert server.metrics.shed == 0
        await peer.close()


async def test_half_a_record_is_not_waited_for_for_ever():
    clock = b.Clock()

    async with serving(clock=clock) as server:
        peer, good = await Peer.connect(server), await Peer.connect(server)
        peer.writer.write(null()[:30])
        await peer.writer.drain()
        for _ in range(20):
            await good.ask(null())
        clock.now += 30
        for connection in server.connections:
            connection.check(clock())
        assert server.metrics.shed == 0
        clock.now += 31
        for connection in server.connections:
            connection.check(clock())
        await peer.ended()
        await good.ask(null())
        await peer.close()
        await good.close()


async def test_client_that_does_not_read_is_not_served_on_and_then_shed():
    clock = b.Clock()

    async with serving(clock=clock) as server:
        big = server.service.root[1]
        assert big
        bench_file = await server._served[0].fs.create(
            big, b"f", NOTHING, verifier=None, exclusive=True, access=3
        )
        await server._served[0].fs.write(bench_file[1], 0, memoryview(bytes(1 << 20)), False)
        await server._served[0].fs.close(bench_file[1])
        peer, good = await Peer.connect(server), await Peer.connect(server)
        for xid in range(40):
            peer.writer.write(record_of(b.putrootfh(), b.lookup(b"f"), b.read(count=1 << 20), xid=xid))
        while not any(c._stuck_since for c in server.connections):
            await good.ask(null())
        sent = server.metrics.sent_bytes
        assert sent < 24 << 20
        clock.now += 61
        for connection in server.connections:
            connection.check(clock())
        await good.ask(null())
        assert server.metrics.shed == 1
        await peer.ended()
        await peer.close()
        await good.close()


async def test_alone_is_who_has_asked_alone_for_a_while():
    clock = b.Clock()

    async with serving(clock=clock) as server:
        one, other = await Peer.connect(server), await Peer.connect(server)
        assert not server.connections.alone()
        heard = []
        for peer in (one, one, other, other):
            await peer.ask(null())
            clock.now += 1
            await peer.ask(null())
            heard.append(server.connections.alone())
            clock.now += 0.01
        assert heard == [True, True, True, True]
        await one.ask(null())
        assert not server.connections.alone()
        await one.close()
        await other.close()
