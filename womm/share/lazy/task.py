"""A lazy share and the task's jobs: fresh before each of them, settled after it."""

import asyncio
import os
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from womm import words
from womm.cluster.base import Pod, ShareHost, ShareSpec
from womm.errors import ShareError
from womm.link.frames import RunRequest, User
from womm.share.base import SharedFolder, ShareEvents, sync_request, way_down
from womm.share.control import Writable
from womm.share.lazy.connection import LazyConnection, LazyOptions
from womm.share.lazy.kept_report import KeptReport
from womm.share.lazy.unsent_report import NOT_SENT, UnsentReport
from womm.share.learned import LearnedFile
from womm.wire.control import ShareStats
from womm.words import duration, shown_bytes

FINISH_S: Final = 40.0
TRAFFIC_S: Final = 10.0
END_S: Final = 120.0
"""A cut link is waited for so long, for the last bytes that jobs have written."""
REFRESHED_BYTES: Final = 262144
"""Of paths for one job to look at again; with more it looks at everything."""


class LazyTaskShare:
    """See TaskShare."""

    def __init__(
        self,
        spec: ShareSpec,
        voice: ShareEvents,
        *,
        task: str = "share",
        working: Path | None = None,
        learned: LearnedFile | None = None,
        end_s: float = END_S,
    ) -> None:
        self._kept = KeptReport(voice.say, voice.unsent)
        self._share = LazyConnection(
            spec.folder,
            LazyOptions(
                read_only=spec.read_only,
                writable=Writable.only(map(os.fsencode, spec.write)),
                task=task,
                learned=learned,
            ),
            on_lost=self._lost,
            on_disk_lost=self._disk_lost,
            on_kept=self._kept.add,
            say=voice.say,
        )
        self.spec = replace(spec, secret=self._share.keys.secret())
        self._folder = LazyJobHooks(
            self._share, spec.folder, working or spec.folder, writable=not spec.read_only
        )
        self.jobs: SharedFolder | None = self._folder
        self.failed = ""
        self.words = ""
        self._end_s = end_s
        self._say = voice.say
        self._unsent = UnsentReport(voice.say, voice.unsent)
        self._refused: dict[str, str] = {}
        """Why files were not written, by their paths."""
        self._settled = False
        self._unsettled = ""
        """Why not, once it is known."""
        self._ending = False
        self._traffic = voice.traffic
        self._owner: User | None = None
        self._owned: asyncio.Future[None] | None = None
        self._task_ends = voice.lost
        self._jobs_lose = voice.disk_lost
        self._watch: asyncio.Task[None] | None = None
        self._learning: asyncio.Task[None] | None = None
        self._told: ShareStats | None = None

    def prepare_pod(self, host: ShareHost, pod: Pod, user: User | None) -> Coroutine[Any, Any, None] | None:
        """Every worker mounts the share. All files belong to the user that the first one runs as."""
        if user is None or pod.pid:
            return None
        if self._owner is None:
            self._owner = user
            self._owned = asyncio.ensure_future(self._own(user))
        elif user != self._owner:
            self._say(
                f"worker {pod.name} runs as uid {user.uid}, and the share's files belong to uid"
                f" {self._owner.uid}: workers of one task have one user"
            )
        return self._known_owner()

    async def _own(self, user: User) -> None:
        if await self._share.own(user.uid, user.gid):
            self._folder.look_at_first()

    async def _known_owner(self) -> None:
        assert self._owned is not None
        await asyncio.shield(self._owned)

    async def begin(self, host: ShareHost) -> None:
        self._share.start(host.share_dial())
        host.before_share_ends(self._end)
        self._watch = asyncio.create_task(self._watch_traffic())
        self._learning = asyncio.create_task(self._learn())

    async def _learn(self) -> None:
        with suppress(ShareError):
            await self._share.learning.run()

    def _lost(self, reason: str) -> None:
        if not self._ending:
            self._task_ends(reason)

    def _disk_lost(self) -> None:
        self._folder.forget()
        if not self.spec.read_only and self._jobs_lose():
            self._unsent.lost(self._share.unsent, "the file server's disk was lost")

    async def _end(self) -> None:
        """Before the file server goes: all is here, and what went over the link is known."""
        self._ending = True
        try:
            async with asyncio.timeout(self._end_s):
                await self._settle()
        except TimeoutError:
            self.failed = self.failed or f"the file server did not end within {self._end_s:.0f} s"
        except ShareError as exc:
            self.failed = self.failed or exc.message
        finally:
            if not self._settled:
                self._unsettled = self._why_unsettled()
        if self._settled:
            await self._share.learning.learn_last()

    async def _settle(self) -> None:
        if not self.spec.read_only:
            found = await self._share.flush()
            self._refused = found.failed
        stats = await self._stats()
        self.words = (
            f"{shown_bytes(stats.fetched)} fetched, {shown_bytes(stats.cached)} from the cache,"
            f" {shown_bytes(stats.written)} written back"
        )
        await self._share.finish(FINISH_S)
        self._settled = True

    def _why_unsettled(self) -> str:
        if self._share.connected:
            return NOT_SENT
        ago = duration(max(0.0, time.time() - self._share.heard_s))
        return f"the file server was last heard of {ago} ago; what was written after that is not known"

    def report(self) -> None:
        if self.spec.read_only or not self._share.heard_s:
            return
        why = "" if self._settled else self._unsettled or self._why_unsettled()
        missing = self._unsent.end(self._share.unsent, self._refused, why)
        if missing:
            files = words.counted(missing, "file is", "files are")
            self.failed = self.failed or f"{files} not in the folder as jobs wrote them"
        elif why and why != NOT_SENT:
            self._say(f"what jobs wrote is in the folder, as far as is known: {why}")
        both = self._kept.end()
        self.failed = self.failed or both

    async def _stats(self) -> ShareStats:
        stats = await self._share.stats()
        if stats != self._told:
            self._told = stats
            ahead = stats.guessed, stats.used, stats.wasted
            self._traffic(stats.fetched, stats.cached, stats.written, stats.unwritten, *ahead)
        return stats

    async def _watch_traffic(self) -> None:
        with suppress(ShareError):
            while True:
                await asyncio.sleep(TRAFFIC_S)
                if not self.spec.read_only:
                    self._unsent.look(self._share.unsent)  # first: the link may be down
                await self._stats()

    async def close(self) -> None:
        tasks = [task for task in (self._watch, self._learning, self._owned) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._share.close()


class LazyJobHooks:
    """See SharedFolder. Remembers what has changed, and up to where the kernel under each pod knows it."""

    def __init__(self, share: LazyConnection, folder: Path, working: Path, *, writable: bool) -> None:
        self._share = share
        self._folder = os.fsencode(folder)
        self._working = os.fsencode(working)
        self._first: list[bytes] = []
        self._writable = writable
        self._changed: dict[bytes, int] = {}  # when, counted in changes; the last are the latest
        self._count = 0
        self._known: dict[str, int] = {}  # by pod
        self._looking: dict[int, int] = {}  # by job: what it looks at
        self._lost: dict[str, tuple[int, str]] = {}  # paths, when the report came, and why
        self._busy = 0

    def __repr__(self) -> str:
        return f"<LazyJobHooks {self._count} changes>"

    @property
    def is_current(self) -> bool:
        return not self._busy and self._share.quiet

    async def refresh(self) -> None:
        self._busy += 1
        try:
            self._note(await self._share.barrier())
        finally:
            self._busy -= 1

    def look_at_first(self) -> None:
        """What pods' kernels have seen since they mounted the share, before any job, is no longer true."""
        self._first = way_down(self._folder, self._working)

    def revalidate(self, request: RunRequest, job: int, pod: str) -> RunRequest:
        known = self._known.get(pod, 0)
        fresh = [] if pod in self._known else list(self._first)
        size = 0
        self._looking[job] = self._count
        for path, when in reversed(self._changed.items()):
            if when <= known:
                break
            fresh.append(self._folder + b"/" + path if path else self._folder)
            size += len(fresh[-1])
            if not path or size > REFRESHED_BYTES:
                return replace(request, fresh_tree=self._folder)
        return replace(request, fresh=fresh) if fresh else request

    def sync(self) -> RunRequest | None:
        return sync_request(self._folder) if self._writable else None

    def reconnected(self) -> None:
        """Whatever it reports, each job asks the file server itself."""

    async def wait_written(self, job: int, pod: str) -> str:
        looked = self._looking.pop(job, 0)
        self._known[pod] = max(self._known.get(pod, 0), looked)
        if not self._writable:
            return ""
        found = await self._share.flush()
        self._note(found.changed)
        for path in found.lost:
            self._count += 1
            self._lost[path] = self._count, found.failed.get(path, "")
        # Nobody knows which of the jobs that ran then has written what is lost.
        failed = {path: why for path, (when, why) in self._lost.items() if when > looked} | found.failed
        if failed:
            path, why = next(iter(failed.items()))
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            return f"what jobs wrote is not in the folder: {words.name(path)}: {why}{more}"
        return ""

    def forget(self) -> None:
        """Anything may have changed: pods know what was written to a disk that is lost."""
        self._note([""])

    def _note(self, paths: list[str]) -> None:
        for path in paths:
            name = os.fsencode(path)
            self._changed.pop(name, None)
            self._count += 1
            self._changed[name] = self._count
