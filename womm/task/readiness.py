"""Waiting for the workers of a task: for the first one, for those that come with it, for none any more."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from womm import words
from womm.cluster.base import Cluster
from womm.dispatch.dispatcher import Dispatcher
from womm.errors import ClusterError
from womm.settings import Settings
from womm.task.session import OpenTask
from womm.waiting import first_of
from womm.words import duration

COMPANY_S = 0.3
FIRST_NOTICE_S = 3.0


class Waiting(Protocol):
    """Something that waits for workers: a dispatcher, or the doctor's probe."""

    def waiting_for(self) -> str:
        """Return why they are not there; empty: they are, or nobody knows."""


def where(cluster: Cluster, pods: int, settings: Settings) -> str:
    """Return the words for where a task's jobs run; for this machine also why, when no project chose it."""
    place = cluster.where
    if place.namespace:
        inside = f" of {place.context}" if place.context else " of this cluster"
        return f"{words.counted(pods, 'pod')} in namespace {place.namespace}{inside}"
    chosen = settings.project is not None
    line = f"{words.counted(pods, 'worker process', 'worker processes')} on this machine"
    return line + ("" if chosen else " (no .womm here: the built-in local cluster)")


async def say_what_is_missing(waiting: Waiting, say: Callable[[str], None]) -> None:
    """Say why there is no worker, when the reason changes. A reason of a moment stays unsaid."""
    told = ""
    while True:
        await asyncio.sleep(FIRST_NOTICE_S)
        why = waiting.waiting_for()
        if why and why != told:
            told = why
            say(f"waiting for a worker: {why}")


@asynccontextmanager
async def saying_what_is_missing(
    waiting: Waiting, say: Callable[[str], None]
) -> AsyncIterator["asyncio.Task[None]"]:
    """As `say_what_is_missing`, while the body runs or until it cancels the task that it gets."""
    notices = asyncio.create_task(say_what_is_missing(waiting, say))
    try:
        yield notices
    finally:
        notices.cancel()
        await asyncio.wait([notices])


async def first_worker(task: OpenTask, timeout_s: float, stop: asyncio.Event, stuck: asyncio.Event) -> bool:
    """Wait until a worker is ready, and a moment for the others. False: `stop` was set first.

    `stuck` is set, by this or by others, when no worker can come. Raises ClusterError: none is ready.
    """
    dispatcher, ready = task.dispatcher, asyncio.Event()

    def changed() -> None:
        if dispatcher.pool.slots:
            ready.set()
        elif dispatcher.workers.places_left == 0:
            stuck.set()

    dispatcher.follow(changed)
    changed()
    done = False
    while not done:
        done = await first_of(timeout_s, ready.wait(), stop.wait(), stuck.wait())
        if not dispatcher.workers.preparing:
            break
    if stop.is_set():
        return False
    if ready.is_set():
        await _company(dispatcher, task.jobslots, stop)
        return True
    why = dispatcher.workers.waiting_for() or "no reason known"
    when = f"after {duration(timeout_s)}" if not done else "and none will be"
    raise ClusterError(f"no worker is ready {when}: {why}", task.cluster.advice())


async def _company(dispatcher: Dispatcher, wanted: int, stop: asyncio.Event) -> None:
    """Give the other workers a moment: GNU parallel looks only once a second how many there are."""
    until = time.monotonic() + COMPANY_S
    while dispatcher.pool.slots < wanted and time.monotonic() < until:
        changed = asyncio.Event()
        dispatcher.follow(changed.set)
        await first_of(until - time.monotonic(), changed.wait(), stop.wait())
        if stop.is_set():
            return


async def none_left(dispatcher: Dispatcher, timeout_s: float) -> str:
    """Return the reason when jobs have waited for so long without a worker, or when none can come."""
    since: float | None = None
    while True:
        await asyncio.sleep(1.0)
        if dispatcher.pool.slots or dispatcher.workers.preparing or not dispatcher.pool.queued:
            since = None
            continue
        since = since or time.monotonic()
        if dispatcher.workers.places_left == 0 or time.monotonic() - since > timeout_s:
            return dispatcher.workers.waiting_for() or "every one has left the pool"
