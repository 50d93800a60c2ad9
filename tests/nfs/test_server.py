"""The server on a socket: leases, no calls back."""

import asyncio

import pytest

from tests.nfs import builder as b
from tests.nfs.peer import Peer, record_of, serving
from womm.nfs import Server, ServerOptions
from womm.nfs.constants import Op
from womm.nfs.status import Status


async def test_standing_still_costs_no_client_its_lease():
    clock = b.Clock()

    async with serving(clock=clock) as server:
        peer = await Peer.connect(server)
        reply = b.read_reply(await peer.ask(record_of(b.setclientid(b"verifier", b"c"))))
        clientid, confirm = reply.value(Op.SETCLIENTID)
        await peer.ask(record_of(b.setclientid_confirm(clientid, confirm), xid=2))
        clock.now += 500
        server._sweep()
        assert clientid in server.state.clients.by_id
        await peer.close()


async def test_callback_address_is_never_dialled():
    """A client that asks for a callback gets none."""
    called = asyncio.Event()
    async with await asyncio.start_server(lambda reader, writer: called.set(), "127.0.0.1", 0) as trap:
        port = trap.sockets[0].getsockname()[1]
        address = f"127.0.0.1.{port >> 8}.{port & 255}".encode()
        async with serving() as server:
            peer = await Peer.connect(server)
            reply = b.read_reply(await peer.ask(record_of(b.setclientid(b"verifier", b"c", address))))
            clientid, confirm = reply.value(Op.SETCLIENTID)
            await peer.ask(record_of(b.setclientid_confirm(clientid, confirm), xid=2))
            opened = b.open_(b"f", create=0, clientid=clientid, seqid=1)
            reply = b.read_reply(await peer.ask(record_of(b.putrootfh(), opened, xid=3)))
            assert reply.status is Status.OK
            await peer.close()
        # Had it dialled, the kernel would have made the connection by now.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(called.wait(), 0.05)


def test_server_without_exports_is_refused():
    with pytest.raises(ValueError, match="export"):
        Server([], ServerOptions())
