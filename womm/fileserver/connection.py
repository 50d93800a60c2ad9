"""The link to the user's side: the newest connection, with an SFTP session and a control channel on it.

While there is none, `UserLink.session` raises NFSError(DELAY) at once. Connections come from `listener`.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

import asyncssh

from womm.fileserver import sftp
from womm.nfs.status import NFSError, Status
from womm.wire import login
from womm.wire.fields import BadMessage
from womm.wire.lines import LineDecoder

_REKEY_BYTES: Final = 1 << 36
"""RFC 5647 allows 2**32 packets of GCM; asyncssh's default of 1 GiB interrupts a transfer each minute."""


class Lines(asyncssh.SSHClientSession[bytes]):
    """The control channel: lines both ways. `received` takes a line without its end."""

    def __init__(self, received: Callable[["Lines", bytes], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._decoder = LineDecoder()

    def connection_made(self, chan: "asyncssh.SSHClientChannel[bytes]") -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        try:
            for line in self._decoder.feed(data):
                self._received(self, line)
        except BadMessage:
            self._lost()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel = None
        self._lost()

    def send(self, line: bytes) -> None:
        """Send a line with its end; it is lost with the link."""
        if self._channel is not None:
            with contextlib.suppress(OSError, asyncssh.Error):
                self._channel.write(line)


class Connection:
    """One stream to the user's side: its SSH connection and the two channels.

    `lost` is called when it is of no more use, perhaps more than once.
    """

    def __init__(
        self, received: Callable[[Lines, bytes], None], lost: Callable[["Connection"], None]
    ) -> None:
        self._lost = lost
        self._ssh: asyncssh.SSHClientConnection | None = None
        self.channel = sftp.RequestChannel(self._end)
        self.session = sftp.Session(self.channel)
        self.lines = Lines(received, self._end)

    async def open(self, sock: socket.socket, host: asyncssh.SSHKey, client: asyncssh.SSHKey) -> None:
        """Log in. Raises OSError, asyncssh.Error, LinkLost, BadMessage."""
        self._ssh = await asyncssh.connect(
            "share",  # a Unix socket has no peer's name
            22,
            sock=sock,
            username=login.USER,
            known_hosts=([host], [], []),
            client_keys=[client],
            preferred_auth="publickey",
            agent_path=None,
            config=[],
            encryption_algs=login.ENCRYPTION,
            compression_algs=["none"],
            keepalive_interval=login.KEEPALIVE_S,
            keepalive_count_max=login.KEEPALIVES,
            rekey_bytes=_REKEY_BYTES,
            login_timeout=login.LOGIN_TIMEOUT_S,
        )
        await self._ssh.create_session(
            lambda: self.channel,
            subsystem=login.SFTP,
            encoding=None,
            window=login.WINDOW_BYTES,
            max_pktsize=login.PACKET_BYTES,
        )
        await self.channel.start()
        await self._ssh.create_session(lambda: self.lines, subsystem=login.CONTROL, encoding=None)

    def _end(self) -> None:
        self._lost(self)

    def abort(self) -> None:
        if not self.channel.dead:
            self.channel.abort()
        if self._ssh is not None:
            self._ssh.abort()

    async def wait_closed(self) -> None:
        if self._ssh is not None:
            await self._ssh.wait_closed()


class UserLink:
    """The newest connection, if there is one. All that asks the user's side goes through it."""

    def __init__(self) -> None:
        self._current: Connection | None = None
        self._up = asyncio.Event()
        self._received_bytes = 0
        """What came over the connections before this one."""
        self.held = False
        self.connections = 0
        self.up_since = 0.0
        """The time of the event loop."""

    def __repr__(self) -> str:
        return f"<UserLink {'up' if self._current else 'down'}, {self.connections} so far>"

    @property
    def up(self) -> bool:
        return self._current is not None and not self.held

    def hold(self) -> None:
        """Be as without a connection, but for the control channel, until `release`."""
        self.held = True

    def release(self) -> None:
        self.held = False
        if self._current is not None:
            self._is_up()

    @property
    def received_bytes(self) -> int:
        """All that came over SFTP since the start."""
        current = self._current.channel.received_bytes if self._current is not None else 0
        return self._received_bytes + current

    def session(self) -> sftp.Session:
        """Return the channel to the user's side. Raises NFSError(DELAY) when there is none."""
        if self._current is None or self.held:
            raise NFSError(Status.DELAY)
        return self._current.session

    async def wait(self) -> sftp.Session:
        """Wait for a connection: only what no client waits for may."""
        while not self.up:
            await self._up.wait()
        return self.session()

    def check(self) -> None:
        """Give the connection up if it does not answer; called now and then."""
        if self._current is not None:
            self._current.channel.check()

    # -- of the listener ---------------------------------------------------------------------------
    def take(self, connection: Connection, greet: Callable[[Lines], None]) -> None:
        """Take a new connection. `greet` is called before anything else can use it."""
        self._current = connection
        self.connections += 1
        greet(connection.lines)
        self._is_up()

    def drop(self) -> Connection | None:
        """Be without a connection; return the one that there was."""
        old, self._current = self._current, None
        if old is not None:
            self._received_bytes += old.channel.received_bytes
            self._up.clear()
        return old

    def uses(self, connection: Connection) -> bool:
        return self._current is connection

    def _is_up(self) -> None:
        self.up_since = asyncio.get_running_loop().time()
        if not self.held:
            self._up.set()
