"""Servers on a free port, and a client on a stream that sends records as they are."""

import asyncio
import time
from contextlib import asynccontextmanager
from struct import pack

from tests.nfs import builder as b
from womm.nfs import Export, Limits, Server, ServerOptions, rpc
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.xdr import pack_opaque


def record_of(*operations, minor=0, xid=1):
    args = pack_opaque(b"") + pack(">II", minor, len(operations)) + b"".join(operations)
    return rpc.pack_call(xid, 100003, 4, 1, credential=b.ROOT_USER, args=args)


def null(xid=1, program=100003, version=4, procedure=0):
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
async def serving(filesystem=None, *, limits=None, clock=time.monotonic):
    """Give a server on a free port."""
    memory = filesystem or MemoryFilesystem()
    options = ServerOptions(port=0, limits=limits or Limits())

    async with Server([Export("/", memory)], options, clock=clock) as server:
        yield server
    assert memory.open_files == 0
