"""TCP connections: requests in, replies out, and the limits that clients keep to.

Strategy: one asyncio protocol per connection hands the bytes to rpc.Assembler. A COMPOUND is run at once, in
the callback that brought its last byte; only when it has to wait - for a thread, a link - the rest
of it becomes a task. So ordinary operations cost no task, no future and one write.

What a client can take is bounded: connections, records, requests under way, bytes that wait for a reader. A
client loses its connection and nothing else when it exceeds a limit, sends anything but RPC, stops in the
middle of a record or does not read its replies; NFS clients connect again and repeat. When all connections
are taken, the one that has been idle longest without ever having sent a request makes room.
"""

import asyncio
import logging
import socket
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, Final

from womm.nfs import rpc
from womm.nfs.compound import Service
from womm.nfs.constants import NFS_PROGRAM, NFS_VERSION
from womm.nfs.metrics import Metrics
from womm.nfs.options import Limits
from womm.nfs.recordmemory import Claim, RecordMemory
from womm.nfs.replies import Kept, Key, Replies, retry_key
from womm.nfs.rpc import Reply
from womm.nfs.xdr import BadXDR

log = logging.getLogger(__name__)

ALONE_S: Final = 0.1
"""A client is alone when no other one has asked for anything for so long."""
KEEPALIVE_S: Final = 30
USER_TIMEOUT_MS: Final = 120_000


class Connections:
    """All connections of a server, and what they share."""

    def __init__(self, limits: Limits, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.limits = limits
        self.metrics = metrics
        self.memory = RecordMemory(limits.memory_bytes)
        self.replies = Replies()
        self.now = clock
        self.tasks: set[asyncio.Task[None]] = set()
        """Requests under way, also of connections that are lost."""
        self._open: dict[int, Connection] = {}
        self._numbers = 0
        self._talker: Connection | None = None
        self._talks_since = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator["Connection"]:
        """Go through those that are open now."""
        return iter(list(self._open.values()))

    def enter(self, connection: "Connection") -> int:
        """Enter a connection; make room if there is none. Return its number."""
        if len(self._open) >= self.limits.connections:
            idle = [c for c in self._open.values() if not c.proven]
            victim = min(idle or self._open.values(), key=lambda c: c.last_s)
            victim.abort("too many connections")
        self._numbers += 1
        self._open[self._numbers] = connection
        self.metrics.connections = len(self._open)
        self.metrics.connections_total += 1
        return self._numbers

    def leave(self, connection: "Connection") -> None:
        self._open.pop(connection.number, None)
        self.metrics.connections = len(self._open)

    def heard(self, connection: "Connection") -> float:
        """Note that a request has come; return the time."""
        now = self.now()
        if connection is not self._talker:
            self._talker, self._talks_since = connection, now
        return now

    def alone(self) -> bool:
        """Is this the last request for now, on the only connection that has asked for anything of late?"""
        talker = self._talker
        return talker is not None and talker.idle and self.now() - self._talks_since > ALONE_S

    def check(self, now: float) -> None:
        """Shed the clients that stall."""
        for connection in self:
            connection.check(now)

    def postpone(self, seconds: float) -> None:
        """The server itself stood still: nobody has stalled for that."""
        for connection in self:
            connection.postpone(seconds)


class Connection(asyncio.BufferedProtocol):
    """One TCP connection."""

    def __init__(self, shared: "Connections", service: Service) -> None:
        self._shared = shared
        self._service = service
        self._limits = shared.limits
        self._metrics = shared.metrics
        self._assembler = rpc.Assembler(shared.limits.record_bytes)
        self._transport: asyncio.Transport | None = None
        self._claim = Claim(self._claim_changed)
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
        transport.set_write_buffer_limits(self._limits.write_buffer_bytes)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else "local"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        self.last_s = self._shared.now()
        self.number = self._shared.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        # Requests under way are finished: a retry will ask for their results.
        self._transport = None
        self._shared.memory.reserve(self._claim, 0)
        self._shared.leave(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._assembler.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._metrics.received_bytes += nbytes
        assembler = self._assembler
        try:
            records = assembler.received(nbytes)
        except BadXDR as exc:
            self.abort(str(exc))
            return
        wanted = assembler.wanted_bytes
        if wanted != self._claim.size_bytes:
            self._shared.memory.reserve(self._claim, wanted)
        if not assembler.partial:
            self._partial_since = None
        elif records or self._partial_since is None:
            self._partial_since = self._shared.now()
        self._waiting += records
        self._work()

    def _work(self) -> None:
        """Answer what has come, until the client has to read its replies first."""
        while self._waiting and not self._paused:
            self._handle(self._waiting.popleft())

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._stuck_since = self._shared.now()
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
            self._claim.starved or self._stuck_since is not None or len(self.tasks) >= self._limits.requests
        )
        if stop and not self._paused:
            transport.pause_reading()
        elif not stop and self._paused:
            transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._work)
        self._paused = stop

    def _claim_changed(self) -> None:
        """Memory for a large record is awaited, or was given."""
        if not self._claim.starved:
            self._partial_since = self._shared.now()
        self._flow()

    def check(self, now: float) -> None:
        """Shed a client that stalls."""
        stall_s = self._limits.stall_s
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
            self._metrics.shed += 1
            self._transport.abort()
            self._shared.leave(self)

    # -- calls ------------------------------------------------------------------------------------
    def _handle(self, record: bytes | bytearray) -> None:
        """Answer one record, at once or by a task."""
        if self._transport is None or self._transport.is_closing():
            return
        self._metrics.requests += 1
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
            self._assembler.ahead_bytes = self._limits.record_bytes
        self.last_s = self._shared.heard(self)
        refused = _refusal(call)
        if refused is not None:
            self.send(refused)
            return
        key = retry_key(self.peer, call, record)
        kept: Kept | None = None
        if key is not None:
            kept, before = self._shared.replies.enter(key)
            if before:
                self._metrics.retries += 1
                if kept.reply is not None:
                    self.send(kept.reply)
                elif self.send not in kept.waiters:
                    kept.waiters.append(self.send)
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

    async def _finish(
        self,
        call: rpc.Call,
        work: Coroutine[Any, Any, Reply],
        key: Key | None,
        kept: Kept | None,
    ) -> None:
        self._done(call, await work, key, kept)

    def _done(self, call: rpc.Call, reply: Reply, key: Key | None, kept: Kept | None) -> None:
        if key is not None and kept is not None:
            self._shared.replies.leave(key, kept, reply, call.modifies)
            for send in kept.waiters:
                send(reply)
            kept.waiters.clear()
        self.send(reply)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        self._shared.tasks.add(task)
        task.add_done_callback(self._task_done)
        if len(self.tasks) >= self._limits.requests:
            self._flow()

    def _task_done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self._shared.tasks.discard(task)
        if self._paused:
            self._flow()

    def send(self, reply: Reply) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if isinstance(reply, bytes):
            self._metrics.sent_bytes += len(reply)
            transport.write(reply)
            return
        for piece in reply:
            self._metrics.sent_bytes += len(piece)
            transport.write(piece)


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
