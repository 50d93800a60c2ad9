"""The coordinator's side of a task's keeper."""

import logging
import secrets

from womm.link.client import Dial, Link

log = logging.getLogger(__name__)


class Keeper:
    """The link to a keeper: its pings are the task's heartbeat, and nothing else goes over it."""

    def __init__(self, name: str, dial: Dial) -> None:
        self._link = Link(name, dial, secrets.token_bytes(16), self, give_up_after_s=float("inf"))
        self._started = False

    def start(self) -> None:
        if not self._started:
            self._started = True
            self._link.start()

    async def close(self) -> None:
        await self._link.close()

    def link_up(self, link: Link) -> None:
        log.debug("keeper %s hears", link.name)

    def link_cut(self, link: Link, reason: str) -> None:
        log.debug("keeper %s: link cut: %s", link.name, reason)

    def link_lost(self, link: Link, reason: str) -> None:
        log.debug("keeper %s: link lost: %s", link.name, reason)

    def link_frame(self, link: Link, kind: int, job: int, payload: memoryview | bytes) -> None:
        pass
