"""Following a collection of objects: a list, then a watch; a list again when the watch has lost its place."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Protocol

from womm.cluster.kubernetes.client import ApiError
from womm.cluster.kubernetes.manifests import Object
from womm.cluster.kubernetes.removal import RETRY_DELAYS_S
from womm.errors import ClusterError

log = logging.getLogger(__name__)


class Source(Protocol):
    """As much of a KubeClient as a watch needs."""

    async def list(self, path: str, *, labels: str = "") -> tuple[list[Object], str]: ...

    def watch(self, path: str, version: str, *, labels: str = "") -> AsyncIterator[tuple[str, Object]]: ...


class Watcher(Protocol):
    """Hears of the objects of one collection. Calls must not block."""

    def replace(self, items: list[Object]) -> None:
        """These are all the objects that there are: at first, and after a watch has lost its place."""

    def event(self, kind: str, item: Object) -> None:
        """One object has changed. kind: ADDED, MODIFIED or DELETED."""

    def refused(self, message: str) -> None:
        """The API server does not let us watch, in its words."""


async def follow(source: Source, path: str, labels: str, watcher: Watcher) -> None:
    """List and watch, for ever. A cluster that is away is tried again, later each time."""
    failures, version = 0, ""
    while True:
        try:
            if not version:
                items, version = await source.list(path, labels=labels)
                watcher.replace(items)
            async for kind, item in source.watch(path, version, labels=labels):
                version, failures = item["metadata"]["resourceVersion"], 0
                if kind != "BOOKMARK":
                    watcher.event(kind, item)
        except ApiError as exc:
            log.debug("watch of %s: %s", path, exc)
            version = ""
            if exc.code == 403:
                watcher.refused(exc.message)
        except ClusterError as exc:
            log.debug("watch of %s: %s", path, exc)
        if failures > 0:
            await asyncio.sleep(RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S)) - 1])
        failures += 1
