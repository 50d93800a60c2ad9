"""Malformed records: nothing crashes, nothing is left behind, a clean client is served."""

import asyncio
import contextlib
import gc
import random
import resource
import socket
from struct import pack

import pytest

from tests.nfs import builder as b
from tests.soak import count
from womm.nfs import Export, StateLimits, rpc
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import RPCError
from womm.nfs.status import Status
from womm.nfs.xdr import BadXDR, pack_opaque, pack_u32, pack_u64


def _corpus(bench):
    """Real requests of every kind, as records, with handles, stateids and sessions that exist."""
    session = bench.session(b"corpus")
    stateid, handle = session.open(b"f")
    clientid = bench.client40(b"forty")
    at = b.putfh(handle)
    requests = [
        [
            b.putrootfh(),
            b.lookup(b"f"),
            b.getfh(),
            b.getattr_(*[a for a in Attr if a < 80 and a not in (48, 54)]),
        ],
        [b.putrootfh(), b.open_(b"g", create=0, values={Attr.MODE: pack(">I", 0o644)}), b.getfh()],
        [b.putrootfh(), b.open_(b"h", create=2, verifier=b"12345678", clientid=clientid, seqid=1)],
        [at, b.read(stateid, 0, 100), b.write(b"data" * 20, stateid, 10), b.commit()],
        [at, b.lock(2, 0, 10, of=stateid, owner=b"o"), b.lockt(1, 0, 10, b"p")],
        [b.putrootfh(), b.readdir(Attr.TYPE, Attr.FILEHANDLE, Attr.RDATTR_ERROR)],
        [b.putrootfh(), b.mkdir(b"d"), b.putrootfh(), b.symlink(b"s", b"target"), b.plain(Op.READLINK)],
        [b.putrootfh(), b.plain(Op.SAVEFH), b.rename(b"d", b"e"), b.named(Op.REMOVE, b"e")],
        [at, b.plain(Op.SAVEFH), b.putrootfh(), b.named(Op.LINK, b"l"), b.access(63)],
        [at, b.setattr_({Attr.SIZE: pack(">Q", 5), Attr.OWNER: pack_opaque(b"5")}, stateid)],
        [at, pack_u32(Op.VERIFY) + b.fattr({Attr.TYPE: pack(">I", 1)})],
        [at, pack_u32(Op.SEEK) + stateid.pack() + pack(">QI", 0, 0)],
        [at, b.plain(Op.SAVEFH), pack_u32(Op.COPY) + stateid.pack() * 2 + pack(">QQQIII", 0, 0, 4, 1, 1, 0)],
        [at, pack_u32(Op.ALLOCATE) + stateid.pack() + pack(">QQ", 0, 10)],
        [
            at,
            pack(">II", Op.SETXATTR, 0) + pack_opaque(b"n") + pack_opaque(b"v"),
            pack(">IQI", Op.LISTXATTRS, 0, 99),
        ],
        [b.setclientid(b"verifier", b"name"), b.setclientid_confirm(clientid, b"verifier")],
        [b.exchange_id(b"verifier", b"name")],
        [b.create_session(session.clientid, 5)],
        [
            pack_u32(Op.TEST_STATEID) + pack_u32(1) + stateid.pack(),
            pack_u32(Op.FREE_STATEID) + stateid.pack(),
        ],
        [at, b.close(stateid), pack_u32(Op.RENEW) + pack_u64(clientid)],
    ]
    records = []
    for minor in (0, 1, 2):
        for operations in requests:
            first = [b.sequence(session.sessionid, 99, 3)] if minor else []
            whole = first + operations
            args = pack_opaque(b"tag") + pack(">II", minor, len(whole)) + b"".join(whole)
            records.append(rpc.pack_call(5, 100003, 4, 1, credential=b.ROOT_USER, args=args)[4:])
    return session, records


def _mutate(rnd, records):
    """Make a malformed record out of real ones."""
    record = bytearray(rnd.choice(records))
    for _ in range(rnd.choice((1, 1, 2, 4, 16))):
        what = rnd.randrange(7)
        at = rnd.randrange(len(record)) if record else 0
        if what == 0:
            record[at : at + 1] = bytes([rnd.randrange(256)])
        elif what == 1:  # a number at a place where numbers are
            at &= ~3
            value = rnd.choice((0, 1, 2, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 100, 65536, 1 << 20))
            record[at : at + 4] = pack(">I", value)
        elif what == 2:
            at &= ~3
            record[at : at + 8] = pack(">Q", rnd.choice((2**63, 2**64 - 1, 2**63 - 1, 0)))
        elif what == 3:
            del record[at : at + rnd.choice((1, 4, 16, 100))]
        elif what == 4:
            record[at:at] = rnd.randbytes(rnd.choice((1, 4, 16)))
        elif what == 5:
            other = rnd.choice(records)
            record[at:] = other[rnd.randrange(len(other)) :]
        else:  # the right slot and seqid, so that what follows is run
            return bytes(record[: len(record) & ~3])
    return bytes(record)


def test_malformed_records_are_refused_and_leave_nothing():
    rnd = random.Random(10)
    limits = StateLimits(clients=50, opens=500, locks=500)
    from womm.nfs import Limits

    with b.Bench(limits=Limits(state=limits)) as bench:
        session, records = _corpus(bench)

        async def run(records_left):
            seqid = 1
            for _ in range(records_left):
                record = _mutate(rnd, records)
                # In half of them SEQUENCE is in order, so that the rest of them is looked at.
                place = record.find(session.sessionid)
                if place > 0 and rnd.random() < 0.7:
                    record = record[: place + 16] + pack(">II", seqid, 3) + record[place + 24 :]
                try:
                    call = rpc.parse_call(record)
                    reply = await bench.server.service.compound(call, len(record))
                except (BadXDR, RPCError):
                    continue
                whole = reply if isinstance(reply, bytes) else b"".join(reply)
                assert int.from_bytes(whole[:4], "big") == 0x80000000 | len(whole) - 4
                found = bench.server.state.clients.sessions.get(session.sessionid)
                if found is not None:
                    seqid = found.slots[3].seqid + 1 & 0xFFFFFFFF
                    assert not found.slots[3].busy

        runs = count(20_000, 1_000_000)
        bench.run(run(runs // 2))
        gc.collect()
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        bench.run(run(runs - runs // 2))
        gc.collect()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size
        assert grown < 64 * 1024, f"{grown} KiB more"
        assert bench.server.state.opens.open_count <= 500
        assert len(bench.server.state.clients.by_id) <= 50
        bench.clock.now += 10_000
        bench.server.state.clients.expire(0)
        bench.run(bench.server.service.close_files())
        assert bench.memory.open_files == 0
        assert bench.server.state.opens.open_count == bench.server.state.opens.lock_count == 0
        assert not bench.server.state.opens.files
        clean = bench.session(b"clean")
        stateid, handle = clean.open(b"fine")
        clean.ok(b.putfh(handle), b.write(b"x", stateid), b.close(stateid))


def test_random_bytes_are_refused():
    rnd = random.Random(11)
    with b.Bench() as bench:

        async def run():
            for _ in range(count(5_000, 200_000)):
                head = pack(">8I", 1, 0, 2, 100003, 4, 1, 0, 0) + bytes(8) if rnd.random() < 0.8 else b""
                compound = pack(">III", 0, rnd.randrange(3), rnd.randrange(5)) if rnd.random() < 0.8 else b""
                words = b"".join(
                    pack(">I", rnd.choice((rnd.randrange(80), rnd.getrandbits(32)))) for _ in range(20)
                )
                try:
                    call = rpc.parse_call(head + compound + words)
                    await bench.server.service.compound(call, 100)
                except (BadXDR, RPCError):
                    pass

        bench.run(run())
        bench.ok(b.putrootfh())


def test_guesses_of_path_and_handle_find_nothing():
    """Who can talk to the server but has not been told the export's path lists and reads nothing."""
    rnd = random.Random(14)
    told = rnd.randbytes(16).hex()
    with b.Bench(exports=[Export(f"/{told}", MemoryFilesystem())]) as bench:
        tops = [b.lookup(told.encode()), b.getfh()]
        handle = bench.ok(b.putrootfh(), *tops).value(Op.GETFH)
        top = bench.ok(b.putrootfh(), b.getfh()).value(Op.GETFH)
        bench.ok(b.putfh(handle), b.mkdir(b"found"))

        def near(name):
            at = rnd.randrange(len(name))
            other = rnd.choice((b"", bytes([name[at] ^ rnd.randrange(1, 256)])))
            return name[:at] + other + name[at + 1 :]

        async def guess():
            what = rnd.randrange(8)
            if what < 5:
                random_name = rnd.randbytes(16).hex().encode()
                name = rnd.choice((random_name, near(told.encode()), told[: rnd.randrange(1, 32)].encode()))
                name = name.replace(b"/", b"_").replace(b"\0", b"_")
                first = [b.putrootfh(), b.lookup(name)]
            elif what < 7:  # a handle of the right shape
                first = [b.putfh(near(rnd.choice((handle, top))))]
            else:  # the name of a folder that is there, asked for in the root
                first = [b.putrootfh(), b.lookup(b"found")]
            last = rnd.choice((b.getfh(), b.readdir(Attr.TYPE), b.named(Op.REMOVE, b"found")))
            reply = await bench.compound(*first, last)
            assert reply.status in (Status.NOENT, Status.BADHANDLE), first

        async def run():
            for number in range(count(10_000, 1_000_000)):
                await guess()
                if number % 1000 == 0:
                    reply = await bench.compound(b.putrootfh(), b.readdir(Attr.TYPE))
                    assert reply.value(Op.READDIR)["entries"] == []

        bench.run(run())
        assert bench.ok(b.putfh(handle), b.lookup(b"found")).status is Status.OK


@pytest.mark.slow
async def test_garbage_on_the_wire_closes_its_connection_only():
    """Connections that send noise, stop half-way, or say nothing; a clean one is served between them."""
    from womm.nfs import Limits, Server, ServerOptions

    rnd = random.Random(12)
    null = rpc.pack_call(1, 100003, 4, 0, credential=b.ROOT_USER, args=b"")
    async with Server([Export("/", MemoryFilesystem())], ServerOptions(port=0)) as server:

        async def clean():
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(null)
            assert await asyncio.wait_for(reader.readexactly(28), 30)
            writer.close()
            await writer.wait_closed()

        half_open = []
        for number in range(count(1_500, 10_000)):
            noisy = socket.create_connection(("127.0.0.1", server.port))
            noise = rnd.choice(
                (
                    rnd.randbytes(50),
                    b"\x7f\xff\xff\xff",
                    b"\xff\xff\xff\xff",
                    null[:20],
                    b"",
                    b"GET / HTTP/1.1\r\n\r\n",
                )
            )
            with contextlib.suppress(OSError):
                noisy.send(noise)
            half_open.append(noisy)
            if len(half_open) > 1200:
                half_open.pop(0).close()
            if number % 250 == 0:
                await clean()
        await clean()
        assert server.metrics.connections <= Limits().connections
        for noisy in half_open:
            noisy.close()
        await clean()
        assert server.metrics.shed > 0
