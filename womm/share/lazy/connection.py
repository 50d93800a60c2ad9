"""A folder shared lazily: nothing is copied ahead, the file server in the pod asks for what is used.

`LazyConnection` dials the file server again after every cut, serves the folder on each connection, and asks
over the control channel: see `control`, `barriers` and `flushes`.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from womm.background import Background, call_exception_handler
from womm.link.client import Dial
from womm.memory import keep_memory
from womm.process import raise_file_limit
from womm.share.control import Writable
from womm.share.fence import Fence
from womm.share.ignore import Ignore
from womm.share.lazy.barriers import Barriers
from womm.share.lazy.control import Conversation
from womm.share.lazy.exported_folder import ExportedFolder, Traffic
from womm.share.lazy.flushes import Flushes, FlushResult
from womm.share.lazy.guard import Guard
from womm.share.lazy.learning import Learning
from womm.share.lazy.names import NamesLog
from womm.share.lazy.redial import Redial
from womm.share.lazy.ssh import TaskKeys
from womm.share.lazy.unsent import MissingFiles
from womm.share.lazy.versions import Versions
from womm.share.lazy.watch import Watcher
from womm.share.learned import LearnedFile
from womm.wire import login
from womm.wire.control import AskStats, Finish, Owned, SetOwner, ShareStats, Written

log = logging.getLogger(__name__)

ABSORB_EVERY_S: Final = 0.5
"""inotify's queue has room for 16,384 events. And a job that waits for a change here sees it so soon."""


@dataclass(frozen=True, slots=True)
class LazyOptions:
    """How a folder is shared.

    read_only: pods change nothing. writable: the paths that they may change; None: all. task: a file that the
    user changes while jobs write to it is kept as NAME.womm-TASK. learned: what earlier tasks have read.
    keepalive_s: the time between two questions to a server that is silent.
    """

    read_only: bool = False
    writable: Writable | None = None
    task: str = "share"
    learned: LearnedFile | None = None
    keepalive_s: float = login.KEEPALIVE_S


class LazyConnection:
    """The share of one folder for one task. Every method is for the event loop's thread.

    `on_disk_lost` is called each time that another file server takes the place of one whose disk is lost:
    what that one had not written yet is gone. What is asked for waits, and the new one answers. `on_lost` is
    called once, with the reason, when there will be no server (to dial raises ShareError), and without
    `on_disk_lost` for a lost disk, too. From then on every call raises ShareError. `on_kept` hears of each
    file of which the user's version is kept beside it: the file, and its copy (by os.fsdecode). `say` tells
    the user a line. Raises OSError when the folder cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        options: LazyOptions = LazyOptions(),
        *,
        on_lost: Callable[[str], None],
        on_disk_lost: Callable[[], None] | None = None,
        on_kept: Callable[[str, str], None] | None = None,
        say: Callable[[str], None],
    ) -> None:
        self.keys = TaskKeys.make()
        self._on_disk_lost = on_disk_lost
        self._folder = folder
        self._on_lost = on_lost
        self._on_kept = on_kept
        self._say = say
        self._loop = asyncio.get_running_loop()
        fence = Fence(folder)
        self._ignore = Ignore(fence)
        guard = Guard(fence, self._ignore, options.writable, self._say_from_thread)
        self._watcher = Watcher(fence, self._ignore, control=guard.note)
        self._export = ExportedFolder(
            fence,
            guard=guard,
            read_only=options.read_only,
            own=self._watcher,
            versions=Versions(fence, options.task, self._kept_from_thread),
        )
        self._names = NamesLog(os.stat(folder).st_dev)
        self._conversation = Conversation(
            self._names, replaced=self._replaced, give_up=self._give_up, cut=self._hang_up
        )
        self._redial = Redial(
            self.keys,
            self._export,
            self._conversation,
            give_up=self._give_up,
            keepalive_s=options.keepalive_s,
        )
        self._barriers = Barriers(self._watcher, self._conversation)
        self._flushes = Flushes(self._conversation)
        self.learning = Learning(self._conversation, options.learned)
        self._background = Background(self._task_failed)
        self._watching: asyncio.Future[None] | None = None
        self._closed = False
        self._stats = self._stats_before = ShareStats(0, 0, 0, 0, 0)
        """As the file server reported them last, and as servers that are gone did."""

    def __repr__(self) -> str:
        state = "closed" if self._closed else repr(self._conversation)
        return f"<LazyConnection {self._folder} {state}, {self._barriers!r}>"

    @property
    def connected(self) -> bool:
        return self._conversation.up.is_set()

    @property
    def traffic(self) -> Traffic:
        """What went through this side."""
        return self._export.traffic

    @property
    def unsent(self) -> MissingFiles:
        """What pods have written that is not in the folder, as far as the file server has told; in
        `on_disk_lost`: what was lost."""
        return self._conversation.unsent.now

    @property
    def heard_s(self) -> float:
        """When the file server was heard of last, in seconds since 1970; 0: never."""
        return self._conversation.heard_s

    def start(self, dial: Dial) -> None:
        """Dial, and again after every cut, until `close`."""
        keep_memory()
        raise_file_limit()  # each file that a pod has open to write it is open here

        def look_around() -> None:
            """Before pods can see anything: what is hidden is so until the end."""
            self._watcher.start()
            self._ignore.begun()

        self._watching = self._loop.run_in_executor(None, look_around)
        self._background.spawn(self._run(dial, self._watching), "lazy share")
        self._background.spawn(self._absorb(), "lazy share's watch")

    async def close(self) -> None:
        """Drop the connection and close the folder. The file server is not told."""
        if self._closed:
            return
        self._closed = True
        self._redial.stop()
        await self._background.close()
        if self._watching is not None:
            await asyncio.wait([self._watching])
        self._conversation.fail("the share is closed")
        await self._barriers.settle()
        await self._flushes.settle()
        self._watcher.close()
        self._names.close()
        await asyncio.to_thread(self._export.close)

    async def ready(self) -> None:
        """Wait until the file server is there for the first time. Raises ShareError."""
        await self._conversation.ready()

    # -- requests to the file server --------------------------------------------------------------
    @property
    def quiet(self) -> bool:
        """Nothing has changed here that the file server does not know: `barrier` has nothing to do."""
        return self._barriers.quiet

    async def barrier(self) -> list[str]:
        """Have the file server know what has changed here; return the paths (relative, by os.fsdecode).

        Nothing that it remembers of them is served any more when this returns. [""] says that anything may
        have changed. Mostly nothing did, and this costs one system call. Raises ShareError.
        """
        found = await self._barriers.join()
        return [""] if found.all else sorted(os.fsdecode(path) for path in found.paths)

    async def flush(self) -> FlushResult:
        """Wait until everything that jobs believe written is in the folder. Raises ShareError."""
        return await self._flushes.join()

    async def stats(self) -> ShareStats:
        """Return the traffic of all file servers so far. Raises ShareError."""
        now = await self._conversation.ask(AskStats(), ShareStats)
        self._stats = sum_of(self._stats_before, now)
        return self._stats

    async def own(self, uid: int, gid: int) -> bool:
        """Have all files belong to this user in pods, here too after a restart of the file server.

        Returns whether they did not before. On this machine they stay the user's.
        """
        return (await self._conversation.ask(SetOwner(uid, gid), Owned)).changed

    async def finish(self, timeout_s: float) -> None:
        """Have the file server write all, and wait for its clients to leave, so long at most."""
        await self._conversation.ask(Finish(timeout_s), Written)

    # -- the connection ----------------------------------------------------------------------------
    async def _run(self, dial: Dial, watching: "asyncio.Future[None]") -> None:
        await asyncio.shield(watching)
        if self._watcher.why_all:
            self._say(
                f"changes in {self._folder} cannot be watched ({self._watcher.why_all}): "
                "every job's start asks again for all that is used"
            )
        await self._redial.run(dial)

    async def _absorb(self) -> None:
        while True:
            await asyncio.sleep(ABSORB_EVERY_S)
            self._barriers.absorb()

    def _say_from_thread(self, line: str) -> None:
        self._loop.call_soon_threadsafe(self._say, line)

    def _kept_from_thread(self, path: bytes, copy: bytes) -> None:
        if self._on_kept is not None:
            self._loop.call_soon_threadsafe(self._on_kept, os.fsdecode(path), os.fsdecode(copy))

    # -- ends --------------------------------------------------------------------------------------
    def _replaced(self) -> str:
        """Another server: nobody knows any more what clients have changed since the last flush."""
        if self._on_disk_lost is None:
            return "the file server has lost its disk: it is another one than before"
        log.info("the file server has lost its disk")
        self._barriers.forget()
        self._stats_before = self._stats
        self._on_disk_lost()
        return ""

    def _task_failed(self, task: asyncio.Task[Any], error: BaseException) -> None:
        """A share that nobody runs any more would hang its callers: a bug must end the task."""
        self._conversation.fail(f"{task.get_name()} has failed: {error!r}")
        call_exception_handler(task, error)

    def _give_up(self, reason: str) -> None:
        if not self._conversation.lost:
            self._conversation.fail(reason)
            self._hang_up()
            self._on_lost(reason)

    def _hang_up(self) -> None:
        """Without its control channel a connection is of no use."""
        self._redial.hang_up()


def sum_of(before: ShareStats, now: ShareStats) -> ShareStats:
    """Return the traffic of a server and of those before it; only this one has something unwritten."""
    return ShareStats(
        before.fetched + now.fetched,
        before.cached + now.cached,
        before.written + now.written,
        now.unwritten,
        before.reads + now.reads,
        before.guessed + now.guessed,
        before.used + now.used,
        before.wasted + now.wasted,
    )
