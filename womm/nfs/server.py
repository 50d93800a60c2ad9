"""The server: its backends, its listener, and the sweep that ends leases and stalled connections."""

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final, Self, cast

from womm.nfs.compound import Service
from womm.nfs.connections import Connection, Connections
from womm.nfs.exports import PSEUDO_ID, Export, PseudoFilesystem, Served
from womm.nfs.filesystem import Filesystem, Node, Waits
from womm.nfs.metrics import Metrics
from womm.nfs.operations import TABLE
from womm.nfs.options import ServerOptions
from womm.nfs.state import State

log = logging.getLogger(__name__)

SWEEP_S: Final = 5.0
"""How often leases and idle connections are looked at."""
BACKLOG: Final = 512


class Server:
    """An NFSv4 server for `exports`.

    `clock` counts seconds and never goes back; `random` gives n random bytes. Use it as
    `async with Server(...) as server`, or call `start` and `stop`.

    Raises, from the constructor: StateError for a state file that is not one, ValueError for exports that
    do not fit together. All of it belongs to the event loop that `start` was called in.
    """

    def __init__(
        self,
        exports: Sequence[Export],
        options: ServerOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if not exports:
            raise ValueError("a server needs an export")
        self._options = options
        self.metrics = Metrics()
        self.state = State(options, clock=clock, random=random)
        self.connections = Connections(options.limits, self.metrics, clock)
        self._clock = clock
        instance = self.state.stable.instance
        self._served = [Served(export, instance, round(options.lease_s)) for export in exports]
        self._pseudo_fs = PseudoFilesystem([(served.export.path, served) for served in self._served])
        # It has only the methods that a read-only tree of directories needs.
        tree = cast(Filesystem, self._pseudo_fs)
        self._pseudo = Served(Export("/", tree, read_only=True), instance, round(options.lease_s))
        self._pseudo.id = PSEUDO_ID
        self._service: Service | None = None
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._closer: asyncio.Task[None] | None = None
        self._next_sweep = 0.0

    def __repr__(self) -> str:
        return (
            f"<Server {len(self._served)} exports, {len(self.connections)} connections,"
            f" {len(self.state.clients.by_id)} clients, {self.state.opens.open_count} opens>"
        )

    @property
    def service(self) -> Service:
        if self._service is None:
            raise RuntimeError("the server was not started")
        return self._service

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        if self._listener is None:
            raise RuntimeError("the server was not started")
        found: int = self._listener.sockets[0].getsockname()[1]
        return found

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def prepare(self) -> None:
        """Start the backends, without listening: for tests and for other transports."""
        for served in self._served:
            if isinstance(served.fs, Waits):
                served.fs.alone = self.connections.alone
            await served.fs.start()
            served.describe.limits = served.fs.limits
        exports = {served.id: served for served in [*self._served, self._pseudo]}
        top: tuple[Served, Node] = (self._pseudo, self._pseudo_fs.root())
        whole = self._pseudo_fs.root().served
        if whole is not None:
            top = whole, whole.fs.root()
            whole.mounted_on = 0
        self._service = Service(
            state=self.state,
            exports=exports,
            root=top,
            pseudo=self._pseudo,
            table=TABLE,
            metrics=self.metrics,
            kept_handles=self._options.limits.handles,
        )

    async def start(self) -> None:
        """Start the backends and listen. Raises OSError."""
        await self.prepare()
        loop = asyncio.get_running_loop()
        host, port = self._options.host, self._options.port
        if host is None:
            sock = _everywhere(port)
            self._listener = await loop.create_server(self._connection, sock=sock, backlog=BACKLOG)
        else:
            self._listener = await loop.create_server(
                self._connection, host, port, backlog=BACKLOG, reuse_address=True
            )
        self._next_sweep = self._clock() + SWEEP_S
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        log.info("listening on port %d, boot %d", self.port, self.state.stable.boot)

    async def stop(self) -> None:
        """Stop listening, finish what is under way, close everything. The state file stays as it is."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            self._listener.close()
        tasks = list(self.connections.tasks)
        for connection in self.connections:
            connection.abort("the server stops")
        if self._closer is not None:
            tasks.append(self._closer)
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in list(self.state.clients.by_id.values()):
            self.state.closing += self.state.opens.release_client(client)
        await self.service.close_files()
        for served in self._served:
            await served.fs.stop()

    def own(self, owner: tuple[int, int], *, of: Filesystem | None = None) -> None:
        """Have the files of the exports that have one owner belong to this uid and gid from now on.

        of: only the exports of this file system.
        """
        for served in self._served:
            if served.owner is not None and of in (None, served.fs):
                served.own(owner)

    def no_longer_constant(self, of: Filesystem) -> None:
        """The files of this file system have changed: nobody gets a delegation of them from now on, and those
        that clients have hold no more."""
        for served in self._served:
            if served.fs is of:
                served.constant = False
                self.state.closing += self.state.opens.revoke_delegations(served.id)

    async def serve_forever(self) -> None:
        """Wait until the listener is closed or this is cancelled."""
        assert self._listener is not None
        await self._listener.serve_forever()

    def _connection(self) -> Connection:
        return Connection(self.connections, self.service)

    def _sweep(self) -> None:
        """Expire leases, shed connections that stall."""
        now = self._clock()
        late_s = now - self._next_sweep
        if late_s > SWEEP_S:
            # The server stood still: what its clients have sent meanwhile is not read yet.
            log.warning("the server stood still for %.1f s", late_s)
            self.state.clients.postpone(late_s)
            self.connections.postpone(late_s)
        self.state.clients.expire(self._options.courtesy_s)
        self.state.in_grace()
        self.connections.check(now)
        if self.state.closing and self._closer is None:
            self._closer = asyncio.get_running_loop().create_task(self._close_files())
        self._next_sweep = now + SWEEP_S
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    async def _close_files(self) -> None:
        try:
            await self.service.close_files()
        finally:
            self._closer = None


def _everywhere(port: int) -> socket.socket:
    """Return a socket that listens on all addresses: one, so that port 0 gives one port."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # the kernel may know IPv6 and have it switched off
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG, reuse_port=False
            )
    return socket.create_server(("", port), backlog=BACKLOG)
