"""The user's side of the link: it dials the file server, and again after every cut."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from womm.errors import ShareError
from womm.link.client import RETRY_DELAYS_S, Dial
from womm.share.lazy import ssh
from womm.share.lazy.control import Conversation
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.ssh import TaskKeys
from womm.waiting import first_of
from womm.wire import login

log = logging.getLogger(__name__)

HELLO_TIMEOUT_S: Final = 30.0


class Redial:
    """The connections of one export, one after the other. Every method is for the event loop's thread.

    `give_up` hears why there will be no server any more. `greeted` is called on each connection on which the
    file server has said hello. keepalive_s: the time between two questions to a server that is silent.
    """

    def __init__(
        self,
        keys: TaskKeys,
        export: ExportedFolder,
        conversation: Conversation,
        *,
        give_up: Callable[[str], None],
        greeted: Callable[[], None] = lambda: None,
        keepalive_s: float = login.KEEPALIVE_S,
    ) -> None:
        self._keys = keys
        self._export = export
        self._conversation = conversation
        self._give_up = give_up
        self._greeted = greeted
        self._keepalive_s = keepalive_s
        self._connection: ssh.Connection | None = None
        self._stopped = False

    def __repr__(self) -> str:
        return f"<Redial {self._connection!r}>"

    def stop(self) -> None:
        """Dial no more."""
        self._stopped = True

    def hang_up(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.abort()

    async def run(self, dial: Dial) -> None:
        """Serve the export until `stop`, or until there is no going on."""
        attempt = 0
        while not self._is_over():
            if await self._connect(dial):
                attempt = 0
            if self._is_over():
                return
            await asyncio.sleep(RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S) - 1)])
            attempt += 1

    async def _connect(self, dial: Dial) -> bool:
        """Dial, and serve until the connection is cut; return whether the file server has greeted."""
        connection = None
        greeted = False
        try:
            connection = self._connection = await ssh.connect(
                dial, self._keys, self._export, self._conversation.open, keepalive_s=self._keepalive_s
            )
            # Python 3.11's wait_for, which asyncssh uses, may swallow a cancellation.
            if self._is_over():
                return False
            if not await first_of(HELLO_TIMEOUT_S, self._conversation.up.wait(), connection.lost.wait()):
                raise TimeoutError
            greeted = self._conversation.up.is_set()
            if greeted:
                self._greeted()
            await connection.lost.wait()
            log.debug("the share's connection is cut: %s", connection.reason)
        except ShareError as exc:
            self._give_up(exc.message)
        except (OSError, TimeoutError) as exc:
            log.debug("the share is not connected: %r", exc)
        finally:
            self._connection = None
            self._conversation.disconnected()
            if connection is not None:
                connection.abort()
                with suppress(OSError):
                    await connection.wait_closed()
        return greeted

    def _is_over(self) -> bool:
        return self._stopped or bool(self._conversation.lost)
