"""The server on a socket: leases, no calls back."""

import socket
import threading

import pytest

from tests.nfs import builder as b
from tests.nfs.peer import Peer, record_of, serving
from womm.nfs import Server, ServerOptions
from womm.nfs.constants import Op


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
            reply = b.read_reply(await peer.ask(record_of(b.setclientid(b"verifier", b"c", address))))
            clientid, confirm = reply.value(Op.SETCLIENTID)
            await peer.ask(record_of(b.setclientid_confirm(clientid, confirm), xid=2))
            opened = b.open_(b"f", create=0, clientid=clientid, seqid=1)
            await peer.ask(record_of(b.putrootfh(), opened, xid=3))
            await peer.close()

        serving(story)
        thread.join()
        assert not called.is_set()


def test_server_without_exports_is_refused():
    with pytest.raises(ValueError, match="export"):
        Server([], ServerOptions())
