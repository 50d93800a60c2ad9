"""The server: TCP connections, limits, and the tasks that run what waits.

Strategy: one asyncio protocol per connection hands the bytes to rpc.Assembler. A COMPOUND is run at once, in
the callback that brought its last byte; only when it has to wait - for a thread, a link - the rest
of it becomes a task. So ordinary operations cost no task, no future and one write.

What a client can take is bounded: connections, records, requests under way, bytes that wait for a reader. Who
exceeds a limit, sends what is no RPC, stops in the middle of a record or does not read its replies loses its
connection and nothing else; NFS clients connect again and repeat. When all connections are taken, the one
that has been idle longest without ever having sent a request makes room.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import time
import types
import zlib
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

from womm.nfs import rpc
from womm.nfs.attributes import MAX_IO_BYTES
from womm.nfs.compound import Service
from womm.nfs.constants import NFS_PROGRAM, NFS_VERSION
from womm.nfs.exports import PSEUDO_ID, Export, PseudoFilesystem, Served
from womm.nfs.filesystem import Filesystem, Node, Waits
from womm.nfs.metrics import Metrics
from womm.nfs.operations import TABLE
from womm.nfs.operations.clients import OVERHEAD_BYTES
from womm.nfs.rpc import Reply
from womm.nfs.state import COURTESY_S, LEASE_S, State, StateLimits
from womm.nfs.xdr import BadXDR

log = logging.getLogger(__name__)

SWEEP_S: Final = 5.0
"""How often leases and idle connections are looked at."""
BACKLOG: Final = 512
REPLIES_KEPT: Final = 2048
REPLY_KEPT_BYTES: Final = 4096
ALONE_S: Final = 0.1
"""A client is alone when no other one has asked for anything for so long."""
KEEPALIVE_S: Final = 30
USER_TIMEOUT_MS: Final = 120_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take of the server."""

    connections: int = 1024
    record_bytes: int = MAX_IO_BYTES + 2 * OVERHEAD_BYTES
    requests: int = 64
    """Under way at a time on one connection; then it is not read from."""
    memory_bytes: int = 64 << 20
    """Of records that are not complete, all connections together."""
    write_buffer_bytes: int = 4 << 20
    """Replies that a client has not read; then it is not read from either."""
    stall_s: float = 60.0
    """How long a record may be incomplete, or replies unread."""
    handles: int = 32768
    """Of how many it is kept in mind what they stand for; others are looked for again."""
    state: StateLimits = field(default_factory=StateLimits)


class Server:
    """An NFSv4 server for `exports`.

    `state_file` keeps the instance's identity and who may reclaim over restarts; without one every start
    is a new instance, and file handles of the last one are stale. `host` None: all addresses; `port` 0: any
    that is free, see `port` after `start`. `clock` counts seconds and never goes back; `random` gives n
    random bytes. `identity`: 48 secret bytes by which a server without its state file is the one that it
    was, for file handles. Use it as `async with Server(...) as server`, or call `start` and `stop`.

    Raises, from the constructor: StateError for a state file that is not one, ValueError for exports that
    do not fit together. All of it belongs to the event loop that `start` was called in.
    """

    def __init__(
        self,
        exports: Sequence[Export],
        *,
        host: str | None = "127.0.0.1",
        port: int = 2049,
        state_file: Path | None = None,
        lease_s: float = LEASE_S,
        grace_s: float | None = None,
        courtesy_s: float = COURTESY_S,
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = secrets.token_bytes,
        identity: bytes | None = None,
    ) -> None:
        if not exports:
            raise ValueError("a server needs an export")
        self._host, self._wanted_port = host, port
        self.limits = limits
        self.metrics = Metrics()
        self.state = State(
            path=state_file,
            clock=clock,
            random=random,
            lease_s=lease_s,
            grace_s=grace_s,
            courtesy_s=courtesy_s,
            limits=limits.state,
            identity=identity,
        )
        self._clock = clock
        instance = self.state.stable.instance
        self._served = [Served(export, instance, round(lease_s)) for export in exports]
        self._pseudo_fs = PseudoFilesystem([(served.export.path, served) for served in self._served])
        # It has only what a read-only tree of directories is asked.
        tree = cast(Filesystem, self._pseudo_fs)
        self._pseudo = Served(Export("/", tree, read_only=True), instance, round(lease_s))
        self._pseudo.id = PSEUDO_ID
        self._service: Service | None = None
        self._listener: asyncio.Server | None = None
        self._connections: dict[int, _Connection] = {}
        self._numbers = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._closer: asyncio.Task[None] | None = None
        self._next_sweep = 0.0
        self._talker: _Connection | None = None
        self._talks_since = 0.0
        self.held_bytes = 0
        self._starved: deque[_Connection] = deque()
        self.replies = _Replies()

    def __repr__(self) -> str:
        return (
            f"<Server {len(self._served)} exports, {len(self._connections)} connections,"
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
                served.fs.alone = self.alone
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
            kept_handles=self.limits.handles,
        )

    async def start(self) -> None:
        """Start the backends and listen. Raises OSError."""
        await self.prepare()
        loop = asyncio.get_running_loop()
        if self._host is None:
            sock = _everywhere(self._wanted_port)
            self._listener = await loop.create_server(lambda: _Connection(self), sock=sock, backlog=BACKLOG)
        else:
            self._listener = await loop.create_server(
                lambda: _Connection(self), self._host, self._wanted_port, backlog=BACKLOG, reuse_address=True
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
        tasks = [task for connection in self._connections.values() for task in connection.tasks]
        for connection in list(self._connections.values()):
            connection.abort("the server stops")
        if self._closer is not None:
            tasks.append(self._closer)
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in list(self.state.clients.by_id.values()):
            self.state.closing += self.state.opens.release_client(client)
        await self.service.close_files()
        for served in self._served:
            await served.fs.stop()

    def own(self, owner: tuple[int, int]) -> None:
        """Have the files of the exports that have one owner belong to this uid and gid from now on."""
        for served in self._served:
            if served.owner is not None:
                served.own(owner)

    async def serve_forever(self) -> None:
        """Wait until the listener is closed or this is cancelled."""
        assert self._listener is not None
        await self._listener.serve_forever()

    # -- connections ------------------------------------------------------------------------------
    def connected(self, connection: "_Connection") -> int:
        """Enter a connection; make room if there is none."""
        if len(self._connections) >= self.limits.connections:
            idle = [c for c in self._connections.values() if not c.proven]
            victim = min(idle or self._connections.values(), key=lambda c: c.last_s)
            victim.abort("too many connections")
        self._numbers += 1
        self._connections[self._numbers] = connection
        self.metrics.connections = len(self._connections)
        self.metrics.connections_total += 1
        return self._numbers

    def disconnected(self, connection: "_Connection") -> None:
        self._connections.pop(connection.number, None)
        self.metrics.connections = len(self._connections)

    def reserve(self, connection: "_Connection", size_bytes: int) -> None:
        """Set the memory that a connection's unfinished large record is to have.

        Who begins one when there is none left waits, unread, until others are done: those that have begun
        always go on, so there is no deadlock.
        """
        if connection in self._starved:
            if size_bytes:
                connection.hold(size_bytes, True)
                return
            self._starved.remove(connection)
        else:
            self.held_bytes -= connection.held_bytes
            begins = connection.held_bytes == 0 and size_bytes > 0
            if begins and self.held_bytes and self.held_bytes + size_bytes > self.limits.memory_bytes:
                self._starved.append(connection)
                connection.hold(size_bytes, True)
                return
            self.held_bytes += size_bytes
        connection.hold(size_bytes, False)
        while self._starved and (
            not self.held_bytes or self.held_bytes + self._starved[0].held_bytes <= self.limits.memory_bytes
        ):
            fed = self._starved.popleft()
            self.held_bytes += fed.held_bytes
            fed.hold(fed.held_bytes, False)

    def now(self) -> float:
        return self._clock()

    def heard(self, connection: "_Connection") -> float:
        """Note that a request has come; return the time."""
        now = self._clock()
        if connection is not self._talker:
            self._talker, self._talks_since = connection, now
        return now

    def alone(self) -> bool:
        """Is this the last request for now, on the only connection that has asked for anything of late?"""
        talker = self._talker
        return talker is not None and talker.idle and self._clock() - self._talks_since > ALONE_S

    def _sweep(self) -> None:
        """Expire leases, shed connections that stall."""
        now = self._clock()
        late_s = now - self._next_sweep
        if late_s > SWEEP_S:
            # The server stood still: what its clients have sent meanwhile is not read yet.
            log.warning("the server stood still for %.1f s", late_s)
            self.state.clients.postpone(late_s)
            for connection in self._connections.values():
                connection.postpone(late_s)
        self.state.clients.expire(self.state.courtesy_s)
        self.state.in_grace()
        for connection in list(self._connections.values()):
            connection.check(now)
        if self.state.closing and self._closer is None:
            self._closer = asyncio.get_running_loop().create_task(self._close_files())
        self._next_sweep = now + SWEEP_S
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    async def _close_files(self) -> None:
        try:
            await self.service.close_files()
        finally:
            self._closer = None


class _Kept:
    """A request of 4.0 and its reply, once there is one; `waiters`: who repeated it meanwhile."""

    __slots__ = ("reply", "waiters")

    def __init__(self) -> None:
        self.reply: bytes | None = None
        self.waiters: list[_Connection] = []


class _Replies:
    """The reply cache of 4.0, which has no slots: a retry after a broken connection has no second effect."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int, int, int], _Kept] = {}

    def enter(self, key: tuple[str, int, int, int]) -> tuple[_Kept, bool]:
        """Return the entry of a request, and whether it was there before."""
        found = self._kept.get(key)
        if found is not None:
            return found, True
        if len(self._kept) >= REPLIES_KEPT:
            del self._kept[next(iter(self._kept))]
        entry = self._kept[key] = _Kept()
        return entry, False

    def leave(self, key: tuple[str, int, int, int], entry: _Kept, reply: Reply, modifies: bool) -> None:
        """Keep the reply of what changes something; the others are better done again."""
        if modifies and isinstance(reply, bytes) and len(reply) <= REPLY_KEPT_BYTES:
            entry.reply = reply
        else:
            self._kept.pop(key, None)


class _Connection(asyncio.BufferedProtocol):
    """One TCP connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._service = server.service
        self._assembler = rpc.Assembler(server.limits.record_bytes)
        self._transport: asyncio.Transport | None = None
        self._held = 0
        """Bytes of an unfinished large record, reserved."""
        self._starved = False
        """It waits for memory for a large record."""
        self._stuck_since: float | None = None
        """Since when replies wait for the client to read."""
        self._partial_since: float | None = None
        self._paused = False
        self._waiting: deque[bytes | bytearray] = deque()
        """Records that came in one piece with others: at most what one buffer holds."""
        self.peer = ""
        self.number = 0
        self.last_s = 0.0
        self.proven = False
        """Has it sent a call that could be read?"""
        self.tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Connection {self.number} from {self.peer}, {len(self.tasks)} under way>"

    # -- what asyncio calls -----------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(self._server.limits.write_buffer_bytes)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else "local"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        self.last_s = self._server.now()
        self.number = self._server.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        # What is under way is finished: a retry will ask for its result.
        self._transport = None
        self._server.reserve(self, 0)
        self._server.disconnected(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._assembler.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        server = self._server
        server.metrics.received_bytes += nbytes
        assembler = self._assembler
        try:
            records = assembler.received(nbytes)
        except BadXDR as exc:
            self.abort(str(exc))
            return
        wanted = assembler.wanted_bytes
        if wanted != self._held:
            server.reserve(self, wanted)
        if not assembler.partial:
            self._partial_since = None
        elif records or self._partial_since is None:
            self._partial_since = server.now()
        self._waiting += records
        self._work()

    def _work(self) -> None:
        """Answer what has come, until the client has to read its replies first."""
        while self._waiting and not self._paused:
            self._handle(self._waiting.popleft())

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._stuck_since = self._server.now()
        self._flow()

    def resume_writing(self) -> None:
        self._stuck_since = None
        self._flow()

    # -- limits -----------------------------------------------------------------------------------
    @property
    def idle(self) -> bool:
        """Does nothing more wait to be begun?"""
        return not self._waiting and not self._assembler.partial

    def _flow(self) -> None:
        """Read from the client only while it reads its replies and has not too much under way."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        stop = (
            self._starved or self._stuck_since is not None or len(self.tasks) >= self._server.limits.requests
        )
        if stop and not self._paused:
            transport.pause_reading()
        elif not stop and self._paused:
            transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._work)
        self._paused = stop

    @property
    def held_bytes(self) -> int:
        return self._held

    def hold(self, size_bytes: int, starved: bool) -> None:
        """Note what is reserved for a large record; `starved`: there is no memory for it yet."""
        self._held = size_bytes
        if starved != self._starved:
            self._starved = starved
            if not starved:
                self._partial_since = self._server.now()
            self._flow()

    def check(self, now: float) -> None:
        """Shed a client that stalls."""
        stall_s = self._server.limits.stall_s
        if self._stuck_since is not None and now - self._stuck_since > stall_s:
            self.abort("does not read its replies")
        elif self._partial_since is not None and not self._paused and now - self._partial_since > stall_s:
            self.abort("stopped in a record")

    def postpone(self, seconds: float) -> None:
        if self._stuck_since is not None:
            self._stuck_since += seconds
        if self._partial_since is not None:
            self._partial_since += seconds

    def abort(self, why: str) -> None:
        """Close the connection now."""
        if self._transport is not None:
            log.info("%s: closed: %s", self.peer, why)
            self._server.metrics.shed += 1
            self._transport.abort()
            self._server.disconnected(self)

    # -- calls ------------------------------------------------------------------------------------
    def _handle(self, record: bytes | bytearray) -> None:
        """Answer one record, at once or by a task."""
        server = self._server
        if self._transport is None or self._transport.is_closing():
            return
        server.metrics.requests += 1
        try:
            call = rpc.parse_call(record)
        except rpc.RPCError as exc:
            log.info("%s: refused: %s", self.peer, exc)
            self.send(exc.reply)
            return
        except BadXDR as exc:
            self.abort(str(exc))
            return
        if not self.proven:
            self.proven = True
            # Its large records get their memory at once; what is reserved is bounded by Limits.memory_bytes.
            self._assembler.ahead_bytes = server.limits.record_bytes
        self.last_s = server.heard(self)
        refused = _refusal(call)
        if refused is not None:
            self.send(refused)
            return
        key = self._key(call, record)
        kept: _Kept | None = None
        if key is not None:
            kept, before = server.replies.enter(key)
            if before:
                server.metrics.retries += 1
                if kept.reply is not None:
                    self.send(kept.reply)
                elif self not in kept.waiters:
                    kept.waiters.append(self)
                return
        work = self._answer(call, len(record))
        if not self._service.inline:
            self._spawn(self._finish(call, work, key, kept))
            return
        try:
            waited = work.send(None)
        except StopIteration as stop:
            self._done(call, stop.value, key, kept)
        else:
            self._spawn(self._finish(call, _resume(work, waited), key, kept))

    async def _answer(self, call: rpc.Call, size_bytes: int) -> Reply:
        try:
            return await self._service.compound(call, size_bytes)
        except BadXDR as exc:
            log.debug("%s: %s", self.peer, exc)
            return rpc.garbage_args(call.xid)
        except Exception:
            log.exception("a COMPOUND failed")
            return rpc.system_err(call.xid)

    def _key(self, call: rpc.Call, record: bytes | bytearray) -> tuple[str, int, int, int] | None:
        """Return what a request of 4.0 is known by when it is repeated; None for 4.1, which has slots."""
        reader = call.args
        pos = reader.pos
        try:
            reader.text(1024)
            minor = reader.u32()
        except BadXDR:
            return None
        finally:
            reader.pos = pos
        if minor != 0:
            return None
        return self.peer, call.xid, len(record), zlib.crc32(memoryview(record)[:1024])

    async def _finish(
        self,
        call: rpc.Call,
        work: Coroutine[Any, Any, Reply],
        key: tuple[str, int, int, int] | None,
        kept: _Kept | None,
    ) -> None:
        self._done(call, await work, key, kept)

    def _done(
        self, call: rpc.Call, reply: Reply, key: tuple[str, int, int, int] | None, kept: _Kept | None
    ) -> None:
        if key is not None and kept is not None:
            self._server.replies.leave(key, kept, reply, call.modifies)
            for other in kept.waiters:
                other.send(reply)
            kept.waiters.clear()
        self.send(reply)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._task_done)
        if len(self.tasks) >= self._server.limits.requests:
            self._flow()

    def _task_done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if self._paused:
            self._flow()

    def send(self, reply: Reply) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if isinstance(reply, bytes):
            self._server.metrics.sent_bytes += len(reply)
            transport.write(reply)
            return
        for piece in reply:
            self._server.metrics.sent_bytes += len(piece)
            transport.write(piece)


def _everywhere(port: int) -> socket.socket:
    """Return a socket that listens on all addresses: one, so that port 0 gives one port."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # the kernel may know IPv6 and have it switched off
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG, reuse_port=False
            )
    return socket.create_server(("", port), backlog=BACKLOG)


@types.coroutine
def _resume(work: Coroutine[Any, Any, Reply], waited: Any) -> Generator[Any, Any, Reply]:
    """Go on with a coroutine that was begun outside of a task and now waits for `waited`."""
    while True:
        error: BaseException | None = None
        value: Any = None
        try:
            value = yield waited
        except BaseException as exc:
            error = exc
        try:
            waited = work.send(value) if error is None else work.throw(error)
        except StopIteration as stop:
            result: Reply = stop.value
            return result


def _refusal(call: rpc.Call) -> bytes | None:
    """Return the answer to what is no COMPOUND of NFSv4: other programs, versions and procedures."""
    if call.program != NFS_PROGRAM:
        return rpc.prog_unavail(call.xid)
    if call.version != NFS_VERSION:
        return rpc.prog_mismatch(call.xid, NFS_VERSION, NFS_VERSION)
    if call.procedure == 0:  # NULL
        return rpc.reply(call.xid, [])
    if call.procedure != 1:
        return rpc.proc_unavail(call.xid)
    return None
