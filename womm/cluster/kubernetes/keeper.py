"""The user's side of a task's keeper: a link whose pings are the task's heartbeat."""

import asyncio
import logging
import re
import secrets
from collections.abc import Iterable
from typing import Final

from womm.background import Background
from womm.cluster.kubernetes.execs import Execs
from womm.cluster.kubernetes.manifests import KEEPER, Object
from womm.link.client import Dial, Link

log = logging.getLogger(__name__)

_NO_PERL: Final = re.compile(
    r"""\bperl\W{1,3}executable file not found|executable file ["'`]?perl["'`]? not found"""
)
"""runc's words, and crun's."""


def lacks_perl(item: Object) -> bool:
    """Whether a keeper could not start since its image has no perl."""
    for container in (item.get("status") or {}).get("containerStatuses") or ():
        for state in (container.get("state") or {}).values():
            if _NO_PERL.search(str((state or {}).get("message") or "")):
                return True
    return False


class Keepers:
    """The keepers of a task: one, or two for a moment, when a lost one is replaced.

    `replace` and `apply` take what the watch says of their pods. changed: is set when one has gone.
    """

    def __init__(self, execs: Execs, changed: asyncio.Event) -> None:
        self._execs = execs
        self._changed = changed
        self._keepers: dict[str, Keeper] = {}
        self._gone: list[Keeper] = []
        """Their links may not have closed yet."""
        self._closing = Background()
        self._draining = False

    def __repr__(self) -> str:
        return f"<Keepers {self.names}>"

    @property
    def names(self) -> list[str]:
        return list(self._keepers)

    def replace(self, items: Iterable[Object]) -> None:
        found = {item["metadata"]["name"]: item for item in items}
        for name in set(self._keepers) - set(found):
            self._remove(name)
        for item in found.values():
            self.apply("MODIFIED", item)

    def apply(self, kind: str, item: Object) -> None:
        name, phase = item["metadata"]["name"], (item.get("status") or {}).get("phase")
        if kind == "DELETED" or (name in self._keepers and phase in {"Failed", "Succeeded"}):
            self._remove(name)
            return
        if name not in self._keepers:
            dial = self._execs.dial(name, KEEPER, lambda: not self._draining)
            self._keepers[name] = Keeper(name, dial)
        if phase == "Running" and "deletionTimestamp" not in item["metadata"]:
            self._keepers[name].start()

    def drain(self) -> None:
        """Connect to none of them any more."""
        self._draining = True

    async def close(self) -> None:
        await self._closing.close()
        for keeper in [*self._keepers.values(), *self._gone]:
            await keeper.close()

    def _remove(self, name: str) -> None:
        keeper = self._keepers.pop(name, None)
        if keeper is not None:
            self._gone.append(keeper)
            self._closing.spawn(keeper.close())
            self._changed.set()


class Keeper:
    """The link to one keeper. It carries pings and no jobs."""

    def __init__(self, name: str, dial: Dial) -> None:
        self._link = Link(name, dial, secrets.token_bytes(16), self, give_up_after_s=float("inf"))
        self._started = False

    def __repr__(self) -> str:
        return f"<Keeper {self._link!r}>"

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
