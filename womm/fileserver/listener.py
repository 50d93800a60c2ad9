"""Where the user's side comes in: a Unix socket, on each stream of it an SSH client.

The newest connection that has proven itself replaces the one before: a stream that was cut without a word
must not keep the next one out.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncssh

from womm.background import Background
from womm.errors import WommError
from womm.fileserver.connection import Connection, Lines, UserLink
from womm.fileserver.sftp import LinkLost
from womm.wire import secret
from womm.wire.fields import BadMessage

log = logging.getLogger(__name__)

CHECK_S: Final = 5.0
RETRY_S: Final = 0.25
"""After an accept(2) that failed: no descriptor was free."""


class Keys:
    """The keys of the task's secret. Raises WommError."""

    def __init__(self, folder: Path) -> None:
        try:
            self.host = asyncssh.import_public_key((folder / secret.HOST_KEY).read_bytes())
            self.client = asyncssh.import_private_key((folder / secret.CLIENT_KEY).read_bytes())
        except OSError as exc:
            raise WommError(f"{exc.filename}: {exc.strerror}") from exc
        except asyncssh.KeyImportError as exc:
            raise WommError(f"{folder}: {exc}") from exc


class Listener:
    """Listens on `path`, and gives `link` the newest connection.

    `connected` is called with the control channel of a new connection before anything else can use it;
    `received` with each line of it, without its end; `lost` when the link has lost its connection.
    """

    def __init__(
        self,
        path: Path,
        keys: Keys,
        link: UserLink,
        *,
        connected: Callable[[Lines], None],
        received: Callable[[Lines, bytes], None],
        lost: Callable[[], None],
    ) -> None:
        self._path = path
        self._keys = keys
        self._link = link
        self._connected = connected
        self._received = received
        self._lost = lost
        self._socket: socket.socket | None = None
        self._background = Background()

    def __repr__(self) -> str:
        return f"<Listener {self._path} {self._link!r}>"

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(self._path))
        finally:
            os.umask(before)
        self._socket.listen(16)
        self._background.spawn(self._accept(self._socket), "the user's connections")
        self._background.spawn(self._watch(), "the user's link")

    async def stop(self) -> None:
        await self._background.close()
        old = self._link.drop()
        if old is not None:
            old.abort()
            await old.wait_closed()
        if self._socket is not None:
            self._socket.close()
            self._path.unlink(missing_ok=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as exc:
                log.warning("a connection of the user's side has to wait: %s", exc)
                await asyncio.sleep(RETRY_S)
                continue
            self._background.spawn(self._serve(sock), "a connection of the user's side")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            self._link.check()

    async def _serve(self, sock: socket.socket) -> None:
        connection = Connection(self._received, self._end)
        try:
            await connection.open(sock, self._keys.host, self._keys.client)
        except (OSError, asyncssh.Error, LinkLost, BadMessage) as exc:
            log.info("a connection failed: %s", str(exc) or type(exc).__name__)
            connection.abort()
            sock.close()
            return
        except BaseException:
            connection.abort()
            sock.close()
            raise
        old = self._link.drop()
        if old is not None:
            log.info("replaced by a newer connection")
            old.abort()
        if not connection.channel.dead:
            self._link.take(connection, self._connected)

    def _end(self, connection: Connection) -> None:
        """A connection is of no more use."""
        if self._link.uses(connection):
            log.info("the link is down")
            self._link.drop()
            self._lost()
        connection.abort()
