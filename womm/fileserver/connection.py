"""The link to the user's side: a Unix socket, on each stream of it an SSH client, in that two subsystems.

The newest connection that has proven itself replaces the one before: a stream that was cut without a word
must not keep the next one out. While there is none, `session` raises NFSError(DELAY) at once.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncssh

from womm.errors import WommError
from womm.fileserver import sftp
from womm.nfs.status import NFSError, Status
from womm.wire import login, secret
from womm.wire.fields import BadMessage

log = logging.getLogger(__name__)

CHECK_S: Final = 5.0
REKEY_BYTES: Final = 1 << 36
"""RFC 5647 allows 2**32 packets of GCM; asyncssh's default of 1 GiB interrupts a transfer each minute."""


class Lines(asyncssh.SSHClientSession[bytes]):
    """The control channel: lines both ways."""

    LIMIT: Final = 1 << 26

    def __init__(self, received: Callable[["Lines", bytes], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._unread = b""

    def connection_made(self, chan: "asyncssh.SSHClientChannel[bytes]") -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._received(self, line)
        if len(self._unread) > self.LIMIT:
            self._lost()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel = None
        self._lost()

    def send(self, line: bytes) -> None:
        """Send a line; it is lost with the link."""
        if self._channel is not None:
            with contextlib.suppress(OSError, asyncssh.Error):
                self._channel.write(line + b"\n")


class Keys:
    """What of the task's secret this side needs. Raises WommError."""

    def __init__(self, folder: Path) -> None:
        try:
            self.host = asyncssh.import_public_key((folder / secret.HOST_KEY).read_bytes())
            self.client = asyncssh.import_private_key((folder / secret.CLIENT_KEY).read_bytes())
        except OSError as exc:
            raise WommError(f"{exc.filename}: {exc.strerror}") from exc
        except asyncssh.KeyImportError as exc:
            raise WommError(f"{folder}: {exc}") from exc


class _One:
    """One stream: its SSH connection and the two channels."""

    def __init__(self, link: "UserLink") -> None:
        self._link = link
        self.connection: asyncssh.SSHClientConnection | None = None
        self.sftp: sftp.Session | None = None
        self.lines: Lines | None = None

    async def open(self, sock: socket.socket, keys: Keys) -> None:
        self.connection = await asyncssh.connect(
            "share",  # a Unix socket has no peer's name
            22,
            sock=sock,
            username=login.USER,
            known_hosts=([keys.host], [], []),
            client_keys=[keys.client],
            preferred_auth="publickey",
            agent_path=None,
            config=[],
            encryption_algs=login.ENCRYPTION,
            compression_algs=["none"],
            keepalive_interval=login.KEEPALIVE_S,
            keepalive_count_max=login.KEEPALIVES,
            rekey_bytes=REKEY_BYTES,
            login_timeout=login.LOGIN_TIMEOUT_S,
        )
        session = self.sftp = sftp.Session(self.lost)
        await self.connection.create_session(
            lambda: session,
            subsystem=login.SFTP,
            encoding=None,
            window=login.WINDOW_BYTES,
            max_pktsize=login.PACKET_BYTES,
        )
        await session.start()
        lines = self.lines = Lines(self._link.line, self.lost)
        await self.connection.create_session(lambda: lines, subsystem=login.CONTROL, encoding=None)

    def lost(self) -> None:
        self._link.lost(self)

    def abort(self) -> None:
        if self.sftp is not None and not self.sftp.dead:
            self.sftp.abort()
        if self.connection is not None:
            self.connection.abort()


class UserLink:
    """Listens on `path`, keeps the newest connection.

    `connected` is called with the control channel of a new connection before anything else can use it;
    `received` with each line of it.
    """

    def __init__(
        self,
        path: Path,
        keys: Keys,
        *,
        connected: Callable[[Lines], None],
        received: Callable[[Lines, bytes], None],
    ) -> None:
        self._path = path
        self._keys = keys
        self._connected = connected
        self.line = received
        self.on_lost: Callable[[], None] = lambda: None
        self._current: _One | None = None
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = asyncio.Event()
        self._held = False
        self._received_bytes = 0
        self.connections = 0
        self.up_since = 0.0
        """The time of the event loop."""

    def __repr__(self) -> str:
        return f"<UserLink {'up' if self._current else 'down'}, {self.connections} so far>"

    @property
    def up(self) -> bool:
        return self._current is not None and not self._held

    def hold(self) -> None:
        """Be as without a connection, but for the control channel, until `release`."""
        self._held = True

    def release(self) -> None:
        self._held = False
        if self._current is not None:
            self.up_since = asyncio.get_running_loop().time()
            self._up.set()

    @property
    def held(self) -> bool:
        return self._held

    @property
    def received_bytes(self) -> int:
        """All that came over SFTP since the start."""
        current = self._current.sftp if self._current is not None else None
        return self._received_bytes + (current.received_bytes if current is not None else 0)

    def session(self) -> sftp.Session:
        """Return the channel to the user's side. Raises NFSError(DELAY) when there is none."""
        if self._current is None or self._held:
            raise NFSError(Status.DELAY)
        assert self._current.sftp is not None
        return self._current.sftp

    async def wait(self) -> sftp.Session:
        """Wait for a connection: only what no client waits for may."""
        while not self.up:
            await self._up.wait()
        return self.session()

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(self._path))
        finally:
            os.umask(before)
        self._listener.listen(16)
        self._spawn(self._accept(self._listener))
        self._spawn(self._watch())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._current is not None:
            one, self._current = self._current, None
            one.abort()
            if one.connection is not None:
                await one.connection.wait_closed()
        if self._listener is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a connection failed", exc_info=task.exception())

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            self._spawn(self._serve(sock))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            if self._current is not None and self._current.sftp is not None:
                self._current.sftp.check()

    async def _serve(self, sock: socket.socket) -> None:
        one = _One(self)
        try:
            await one.open(sock, self._keys)
        except (OSError, asyncssh.Error, sftp.LinkLost, BadMessage) as exc:
            log.info("a connection failed: %s", str(exc) or type(exc).__name__)
            one.abort()
            sock.close()
            return
        except BaseException:
            one.abort()
            sock.close()
            raise
        old, self._current = self._current, None
        if old is not None:
            log.info("replaced by a newer connection")
            self._count(old)
            old.abort()
        assert one.lines is not None and one.sftp is not None
        if one.sftp.dead:
            return
        self._current = one
        self.connections += 1
        self._connected(one.lines)
        self.up_since = asyncio.get_running_loop().time()
        if not self._held:
            self._up.set()

    def _count(self, one: _One) -> None:
        if one.sftp is not None:
            self._received_bytes += one.sftp.received_bytes

    def lost(self, one: _One) -> None:
        """Note that a connection is of no more use."""
        if self._current is one:
            log.info("the link is down")
            self._count(one)
            self._current = None
            self._up.clear()
            self.on_lost()
        one.abort()
