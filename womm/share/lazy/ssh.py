"""The user's side of a share's SSH connection: the server, although it dials.

One host key and one client key are made for each task and are used for nothing else. The holder of the client
key gets two subsystems, SFTP and the control channel. Everything else that SSH can do is refused: this end
never runs a command, listens, or connects to anything.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

import asyncssh

from womm.link.client import Dial
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.sftp_server.channel import SftpChannel
from womm.wire import login, secret

log = logging.getLogger(__name__)

_NOISE_BYTES: Final = 4096
"""What a bridge may say before the other side's first word."""
_MAX_CHANNELS: Final = 16


@dataclass(frozen=True, slots=True)
class TaskKeys:
    """The keys of one task: what the file server gets (`host_public`, `client_private`: OpenSSH's formats;
    `nfs`: see womm.wire.secret), and what this side needs."""

    host_public: bytes
    client_private: bytes = field(repr=False)
    nfs: Mapping[str, bytes] = field(repr=False)
    host_private: asyncssh.SSHKey = field(repr=False)
    client_public: asyncssh.SSHKey = field(repr=False)

    @classmethod
    def make(cls) -> "TaskKeys":
        host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        return cls(
            host.export_public_key(),
            client.export_private_key(),
            secret.nfs_secret(),
            host,
            client.convert_to_public(),
        )

    def secret(self) -> dict[str, bytes]:
        """Return what the file server gets, by the names of its files."""
        return {
            secret.HOST_KEY: self.host_public,
            secret.CLIENT_KEY: self.client_private,
            **self.nfs,
        }


class Subsystem(Protocol):
    """What a channel's bytes go to."""

    def received(self, data: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def closed(self) -> None: ...


MakeControl = Callable[["asyncssh.SSHServerChannel[bytes]"], Subsystem]


async def connect(
    dial: Dial,
    keys: TaskKeys,
    export: ExportedFolder,
    control: MakeControl,
    *,
    keepalive_s: float = login.KEEPALIVE_S,
) -> "Connection":
    """Dial, and serve whoever is there once it has shown the client key. Raises OSError."""
    connection = Connection(dial, keys, export, control, keepalive_s)
    try:
        await connection.open()
    except asyncssh.Error as exc:
        raise OSError(f"SSH with the file server: {exc.reason or type(exc).__name__}") from exc
    return connection


class Connection(asyncssh.SSHServer):
    """One connection, until it is closed, cut, or dead.

    asyncssh counts what it asked and was not answered, and so takes a slow link that is busy for a dead one:
    its questions wait behind megabytes. Here a connection lives as long as bytes come or go.
    """

    def __init__(
        self, dial: Dial, keys: TaskKeys, export: ExportedFolder, control: MakeControl, keepalive_s: float
    ) -> None:
        self._dial = dial
        self._keys = keys
        self._client_key = keys.client_public.public_data
        self._export = export
        self._control = control
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._alive_at = 0.0
        self._last_backlog = 0
        self._check: asyncio.TimerHandle | None = None
        self._clean: _Clean | None = None
        self._ssh: asyncssh.SSHServerConnection | None = None
        self._channels: set[_Channel] = set()
        self.lost = asyncio.Event()
        self.reason = ""

    def __repr__(self) -> str:
        return f"<Connection {'lost' if self.lost.is_set() else 'up'} {len(self._channels)} channels>"

    async def open(self) -> None:
        self._ssh = await asyncssh.connect_reverse(
            "the file server",
            22,
            # What asyncssh calls a tunnel is whatever makes connections.
            tunnel=self,
            config=None,
            server_factory=lambda: self,
            server_host_keys=[self._keys.host_private],
            kex_algs=list(login.KEY_EXCHANGE),
            encryption_algs=list(login.ENCRYPTION),
            compression_algs=None,
            keepalive_interval=self._keepalive_s,
            keepalive_count_max=1 << 30,
            login_timeout=login.LOGIN_TIMEOUT_S,
            connect_timeout=login.LOGIN_TIMEOUT_S,
            public_key_auth=True,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_scp=False,
            line_editor=False,
            rdns_lookup=False,
            encoding=None,
            window=login.WINDOW_BYTES,
            max_pktsize=login.PACKET_BYTES,
        )
        self._alive_at = self._loop.time()
        self._look()

    def _look(self) -> None:
        """Hang up when nothing has come or gone for too long."""
        assert self._clean is not None
        now, backlog = self._loop.time(), self.backlog()
        self._alive_at = max(self._alive_at, self._clean.last_heard)
        if backlog < self._last_backlog:
            self._alive_at = now
        self._last_backlog = backlog
        if self.lost.is_set():
            return
        if now - self._alive_at >= self._keepalive_s * login.KEEPALIVES:
            self.reason = f"no byte for {now - self._alive_at:.0f} s"
            log.debug("the share's connection is dead: %s", self.reason)
            self.abort()
            return
        self._check = self._loop.call_later(self._keepalive_s / 4, self._look)

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[None, asyncio.Protocol]:
        """What asyncssh calls to connect."""
        inner = factory()
        self._clean = _Clean(inner)
        clean = self._clean
        await self._dial(lambda: clean)
        return None, inner

    def backlog(self) -> int:
        """How many bytes wait for the link."""
        transport = self._clean and self._clean.transport
        return transport.get_write_buffer_size() if transport else 0

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._ssh is not None:
            self._ssh.abort()
        elif self._clean is not None and self._clean.transport is not None:
            self._clean.transport.abort()

    async def wait_closed(self) -> None:
        if self._ssh is not None:
            await self._ssh.wait_closed()

    # -- what asyncssh asks ------------------------------------------------------------------------
    def connection_lost(self, exc: Exception | None) -> None:
        self.reason = self.reason or str(exc or "")
        self.lost.set()
        if self._check is not None:
            self._check.cancel()

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == login.USER and hmac.compare_digest(key.public_data, self._client_key)

    def session_requested(self) -> "asyncssh.SSHServerSession[bytes] | bool":
        return _Channel(self) if len(self._channels) < _MAX_CHANNELS else False

    # -- of its channels ---------------------------------------------------------------------------
    def subsystem(self, name: str, channel: "asyncssh.SSHServerChannel[bytes]") -> Subsystem | None:
        if name == login.SFTP:
            return SftpChannel(self._export, channel, self.backlog)
        if name == login.CONTROL:
            return self._control(channel)
        return None

    def enter(self, channel: "_Channel") -> None:
        self._channels.add(channel)

    def leave(self, channel: "_Channel") -> None:
        self._channels.discard(channel)


class _Channel(asyncssh.SSHServerSession[bytes]):
    """A channel that the other side has opened: nothing but one of the two subsystems."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._subsystem: Subsystem | None = None

    def connection_made(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
        self._channel = chan
        chan.set_write_buffer_limits(4 << 20)
        self._connection.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.leave(self)
        if self._subsystem is not None:
            self._subsystem.closed()

    def pty_requested(self, term_type: str, term_size: object, term_modes: object) -> bool:
        return False

    def shell_requested(self) -> bool:
        return False

    def exec_requested(self, command: str) -> bool:
        return False

    def subsystem_requested(self, subsystem: str) -> bool:
        assert self._channel is not None
        self._subsystem = self._connection.subsystem(subsystem, self._channel)
        return self._subsystem is not None

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._subsystem is not None:
            self._subsystem.received(data)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self._subsystem is not None:
            self._subsystem.pause()

    def resume_writing(self) -> None:
        if self._subsystem is not None:
            self._subsystem.resume()


class _Clean(asyncio.Protocol):
    """Between the link and asyncssh: leaves out what comes before the other side's "SSH-".

    A bridge greets, and shells on the way print what they like; asyncssh's servers take no such thing.
    """

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._noise = b""
        self._begun = False
        self._loop = asyncio.get_running_loop()
        self.last_heard = self._loop.time()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.last_heard = self._loop.time()
        if self._begun:
            self._inner.data_received(data)
            return
        self._noise += data
        at = self._noise.find(b"SSH-")
        while at > 0 and self._noise[at - 1 : at] not in (b"\n", b"\r"):
            at = self._noise.find(b"SSH-", at + 1)
        if at >= 0:
            self._begun = True
            self._inner.data_received(self._noise[at:])
            self._noise = b""
        elif len(self._noise) > _NOISE_BYTES and self.transport is not None:
            log.debug("no SSH there, but %r", self._noise[:200])
            self.transport.abort()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
