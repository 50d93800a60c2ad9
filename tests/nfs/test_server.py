"""The server on a socket: connections, limits, 4.0's reply cache, no calls back."""

import asyncio
import socket
import threading
import time
from contextlib import asynccontextmanager
from struct import pack

import pytest

from tests.nfs import builder as b
from womm.nfs import Export, Limits, Server, ServerOptions, rpc
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Op
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32


def _record(*operations, minor=0, xid=1):
    args = pack_opaque(b"") + pack(">II", minor, len(operations)) + b"".join(operations)
    return rpc.pack_call(xid, 100003, 4, 1, credential=b.ROOT_USER, args=args)


def _null(xid=1, program=100003, version=4, procedure=0):
    return rpc.pack_call(xid, program, version, procedure, credential=b.ROOT_USER, args=b"")


class Peer:
    """A client on a stream."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, server):
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def receive(self):
        """Return the next record, with its mark."""
        mark = await asyncio.wait_for(self.reader.readexactly(4), 30)
        size = int.from_bytes(mark, "big") & 0x7FFFFFFF
        return mark + await asyncio.wait_for(self.reader.readexactly(size), 30)

    async def ask(self, record):
        self.writer.write(record)
        return await self.receive()

    async def ended(self):
        """Wait until the server closes the connection."""
        try:
            while await asyncio.wait_for(self.reader.read(65536), 30):
                pass
        except ConnectionError:
            pass

    async def close(self):
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


@asynccontextmanager
async def _serve(filesystem=None, *, limits=None, clock=time.monotonic):
    """Give a server on a free port."""
    memory = filesystem or MemoryFilesystem()
    options = ServerOptions(port=0, limits=limits or Limits())

    async with Server([Export("/", memory)], options, clock=clock) as server:
        yield server
    assert memory.open_files == 0


async def test_null_other_programs_versions_and_procedures():
    async with _serve() as server:
        peer = await Peer.connect(server)
        assert await peer.ask(_null(3)) == pack(">7I", 0x80000018, 3, 1, 0, 0, 0, 0)
        assert (await peer.ask(_null(4, version=3)))[4:] == pack(">8I", 4, 1, 0, 0, 0, 2, 4, 4)
        assert (await peer.ask(_null(5, program=100005, version=3)))[4:] == pack(">6I", 5, 1, 0, 0, 0, 1)
        assert (await peer.ask(_null(6, procedure=2)))[4:] == pack(">6I", 6, 1, 0, 0, 0, 3)
        assert (await peer.ask(_null(7, procedure=1)))[4:] == pack(">6I", 7, 1, 0, 0, 0, 4)
        await peer.close()


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n" + bytes(100), b"\xff" * 200, pack(">II", 0x80000004, 9)]
)
async def test_garbage_ends_its_connection_and_no_other(garbage):
    async with _serve() as server:
        good, bad = await Peer.connect(server), await Peer.connect(server)
        await good.ask(_null())
        bad.writer.write(garbage)
        await bad.ended()
        await bad.close()
        assert server.metrics.shed == 1
        await good.ask(_null())
        await good.close()


async def test_requests_in_one_piece_and_byte_by_byte_are_answered_in_order():
    async with _serve() as server:
        peer = await Peer.connect(server)
        stream = b"".join(_record(b.putrootfh(), b.getfh(), xid=xid) for xid in range(1, 20))
        peer.writer.write(stream)
        for xid in range(1, 20):
            assert (await peer.receive())[4:8] == pack_u32(xid)
        for byte in _record(b.putrootfh(), xid=99):
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
        assert (await peer.receive())[4:8] == pack_u32(99)
        await peer.close()


async def test_repeated_request_of_4_0_has_no_second_effect():
    async with _serve() as server:
        one, two = await Peer.connect(server), await Peer.connect(server)
        request = _record(b.putrootfh(), b.mkdir(b"once"), xid=7)
        first = await one.ask(request)
        assert b.read_reply(first).status is Status.OK
        assert await two.ask(request) == first  # on another connection, as after a break
        assert server.metrics.retries == 1
        fresh = b.read_reply(await two.ask(_record(b.putrootfh(), b.mkdir(b"once"), xid=8)))
        assert fresh.status is Status.EXIST
        # What only reads is done again: the answer may have changed.
        look = _record(b.putrootfh(), b.lookup(b"once"), xid=9)
        assert b.read_reply(await one.ask(look)).status is Status.OK
        await one.ask(_record(b.putrootfh(), b.named(Op.REMOVE, b"once"), xid=10))
        assert b.read_reply(await one.ask(look)).status is Status.NOENT
        await one.close()
        await two.close()


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


async def test_request_of_4_0_repeated_while_it_runs_is_answered_on_both_connections():
    slow = _Slow()

    async with _serve(slow) as server:
        one, two = await Peer.connect(server), await Peer.connect(server)
        request = _record(b.putrootfh(), b.mkdir(b"once"), xid=7)
        one.writer.write(request)
        await slow.asked.wait()
        two.writer.write(request)
        # Others are served meanwhile.
        await two.ask(_null(50))
        slow.let_go.set()
        assert await one.receive() == await two.receive()
        assert slow.calls == 1
        await one.close()
        await two.close()


async def test_request_goes_on_when_its_connection_is_lost():
    slow = _Slow()

    async with _serve(slow) as server:
        one = await Peer.connect(server)
        request = _record(b.putrootfh(), b.mkdir(b"once"), xid=7)
        one.writer.write(request)
        await slow.asked.wait()
        await one.close()
        slow.let_go.set()
        two = await Peer.connect(server)
        assert b.read_reply(await two.ask(request)).status is Status.OK
        assert slow.calls == 1
        await two.close()


async def test_connection_with_too_much_under_way_is_not_read():
    slow = _Slow()

    async with _serve(slow, limits=Limits(requests=3)) as server:
        peer = await Peer.connect(server)
        for xid in range(10):
            peer.writer.write(_record(b.putrootfh(), b.mkdir(b"%d" % xid), xid=xid))
        other = await Peer.connect(server)
        for xid in range(20):
            await other.ask(_null(xid))
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
    async with _serve(limits=Limits(connections=5)) as server:
        good = await Peer.connect(server)
        await good.ask(_null())
        silent = [await Peer.connect(server) for _ in range(10)]
        for _ in range(50):
            await good.ask(_null())
        assert server.metrics.connections <= 5
        new = await Peer.connect(server)
        await new.ask(_null())
        await good.ask(_null())
        for peer in (*silent, good, new):
            await peer.close()


async def test_large_records_wait_for_memory_and_are_all_answered():
    async with _serve(limits=Limits(memory_bytes=3 << 20)) as server:
        peers = [await Peer.connect(server) for _ in range(8)]
        record = _record(b.putrootfh(), b.write(bytes(1 << 20)), xid=3)
        for peer in peers:
            peer.writer.write(record[:600_000])
        good = await Peer.connect(server)
        while len(server.connections.memory.starved) < 6:
            await good.ask(_null())
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

    async with _serve(clock=clock) as server:
        peer = await Peer.connect(server)
        call = _null()
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

    async with _serve(clock=clock) as server:
        peer, good = await Peer.connect(server), await Peer.connect(server)
        peer.writer.write(_null()[:30])
        await peer.writer.drain()
        for _ in range(20):
            await good.ask(_null())
        clock.now += 30
        for connection in server.connections:
            connection.check(clock())
        assert server.metrics.shed == 0
        clock.now += 31
        for connection in server.connections:
            connection.check(clock())
        await peer.ended()
        await good.ask(_null())
        await peer.close()
        await good.close()


async def test_client_that_does_not_read_is_not_served_on_and_then_shed():
    clock = b.Clock()

    async with _serve(clock=clock) as server:
        big = server.service.root[1]
        assert big
        bench_file = await server._served[0].fs.create(
            big, b"f", b_settings(), verifier=None, exclusive=True, access=3
        )
        await server._served[0].fs.write(bench_file[1], 0, memoryview(bytes(1 << 20)), False)
        await server._served[0].fs.close(bench_file[1])
        peer, good = await Peer.connect(server), await Peer.connect(server)
        for xid in range(40):
            peer.writer.write(_record(b.putrootfh(), b.lookup(b"f"), b.read(count=1 << 20), xid=xid))
        while not any(c._stuck_since for c in server.connections):
            await good.ask(_null())
        sent = server.metrics.sent_bytes
        assert sent < 24 << 20
        clock.now += 61
        for connection in server.connections:
            connection.check(clock())
        await good.ask(_null())
        assert server.metrics.shed == 1
        await peer.ended()
        await peer.close()
        await good.close()


def b_settings():
    from womm.nfs.filesystem import NOTHING

    return NOTHING


async def test_standing_still_costs_no_client_its_lease():
    clock = b.Clock()

    async with _serve(clock=clock) as server:
        peer = await Peer.connect(server)
        reply = b.read_reply(await peer.ask(_record(b.setclientid(b"verifier", b"c"))))
        clientid, confirm = reply.value(Op.SETCLIENTID)
        await peer.ask(_record(b.setclientid_confirm(clientid, confirm), xid=2))
        clock.now += 500
        server._sweep()
        assert clientid in server.state.clients.by_id
        await peer.close()


def test_callback_address_is_never_dialled():
    """A client that asks for a callback gets none."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        called = threading.Event()

        def watch():
            try:
                trap.accept()[0].close()
                called.set()
            except TimeoutError:
                pass

        thread = threading.Thread(target=watch)
        thread.start()
        port = trap.getsockname()[1]
        address = f"127.0.0.1.{port >> 8}.{port & 255}".encode()

        async def story(server):
            peer = await Peer.connect(server)
            reply = b.read_reply(await peer.ask(_record(b.setclientid(b"verifier", b"c", address))))
            clientid, confirm = reply.value(Op.SETCLIENTID)
            await peer.ask(_record(b.setclientid_confirm(clientid, confirm), xid=2))
            opened = b.open_(b"f", create=0, clientid=clientid, seqid=1)
            await peer.ask(_record(b.putrootfh(), opened, xid=3))
            await peer.close()

        _serve(story)
        thread.join()
        assert not called.is_set()


async def test_metrics_count_operations():
    async with _serve() as server:
        peer = await Peer.connect(server)
        await peer.ask(_record(b.putrootfh(), b.lookup(b"none")))
        found = server.metrics.as_dict()
        assert found["requests"] == 1
        operations = found["operations"]
        assert operations["PUTROOTFH"]["count"] == 1
        assert (operations["LOOKUP"]["count"], operations["LOOKUP"]["errors"]) == (1, 1)
        assert found["received_bytes"] > 0 < found["sent_bytes"]
        await peer.close()


def test_server_without_exports_is_refused():
    with pytest.raises(ValueError, match="export"):
        Server([], ServerOptions())


async def test_alone_is_who_has_asked_alone_for_a_while():
    clock = b.Clock()

    async with _serve(clock=clock) as server:
        one, other = await Peer.connect(server), await Peer.connect(server)
        assert not server.connections.alone()
        heard = []
        for peer in (one, one, other, other):
            await peer.ask(_null())
            clock.now += 1
            await peer.ask(_null())
            heard.append(server.connections.alone())
            clock.now += 0.01
        assert heard == [True, True, True, True]
        await one.ask(_null())
        assert not server.connections.alone()
        await one.close()
        await other.close()
