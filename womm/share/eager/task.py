"""An eager share and the task: copied before the first job, brought back after the last.

The file server's pod may move, and its disk with the copy may be lost. While that is in doubt no job starts
and none is done. A lost disk is filled again: jobs without a result run again; the task reports the loss of
the files that other jobs wrote.

Where pods may not mount it (Pod Security `restricted`) there is no store: each worker is filled by itself
before it gets jobs, and the files that jobs write stay in their pod.
"""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

from womm import words
from womm.background import Background, call_exception_handler
from womm.cluster.base import Pod, ShareHost, SharePaths, ShareSpec
from womm.errors import ShareError
from womm.journal.store import TaskStore
from womm.link.frames import User
from womm.settings import EAGER_SYNCBACK
from womm.share.base import SharedFolder, ShareEvents
from womm.share.control import Writable
from womm.share.eager.connection import LOSSES, EagerConnection, store_command
from womm.share.eager.hooks import EagerJobHooks
from womm.share.eager.options import EagerOptions
from womm.share.eager.owner import tell_owner
from womm.share.eager.push import PushResult
from womm.share.eager.report import CopyEvents
from womm.share.eager.state import StoreLost, state_name
from womm.share.eager.syncback import PullResult
from womm.share.ignore import Ignore
from womm.words import shown_bytes

DISK: Final = "disk"
"""A file in the file server's folder of state: it is there while the file server's own disk is."""


class EagerTaskShare:
    """See TaskShare."""

    def __init__(
        self,
        spec: ShareSpec,
        paths: SharePaths,
        working: Path,
        task: str,
        voice: ShareEvents,
        *,
        keep: bool,
        patience_s: float,
    ) -> None:
        self.spec = spec
        self._paths = paths
        self._working = working
        self._task = task
        self._voice = voice
        self._patience_s = patience_s
        self._turn = asyncio.Lock()
        self._told: set[str] = set()
        self._folder = EagerJobHooks(spec.folder, working, self._doubt)
        self.jobs: SharedFolder | None = self._folder
        self.failed = ""
        self.words = ""
        self._host: ShareHost | None = None
        self._owner: User | None = None
        self._owned: asyncio.Task[None] | None = None
        store = f"{paths.store}/{spec.store}" if spec.store else paths.store
        folder = TaskStore.default().root.parent / "shares"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ignore = Ignore(spec.folder)
        self._state = folder / (state_name(spec.folder, store) if spec.store else task)
        self._background = Background(self._task_failed)
        self._checking: asyncio.Task[None] | None = None
        self._doubts = 0
        self._goes = False
        self._back = PullResult()
        self._copied = self._ending = self._is_back = False
        self._files = self._bytes = 0  # copied
        self._lost_results = 0
        self._vain = 0  # losses since a job has ended
        self._lost_at = ""
        # On a volume of the user's it is wherever that is.
        identity = "" if spec.store else f"{paths.state}/{DISK}"
        self._share = EagerConnection(
            spec.folder,
            task,
            store_command(store, identity=identity),
            state=self._state,
            options=EagerOptions(
                syncback=spec.kind == EAGER_SYNCBACK,
                keep=keep or bool(spec.store),
                ignore=self._ignore,
                writable=Writable.only(map(os.fsencode, spec.write)),
                retry_s=patience_s,
            ),
            events=CopyEvents(voice.say, voice.ask, sys.stderr),
        )
        if spec.write and spec.kind != EAGER_SYNCBACK:
            voice.say(f"share-write has no effect with --share {spec.kind}: nothing is brought back")

    async def confirm(self) -> None:
        await self._share.confirm()

    def prepare_pod(self, host: ShareHost, pod: Pod, user: User | None) -> Coroutine[Any, Any, None] | None:
        if pod.pid:
            return None
        if host.copies_into_pods:
            self._folder.pods_have_copies()
            return self._prepare(host, pod)
        if user is None:
            return None
        if self._owner is None:
            self._owner = user
            self._owned = self._background.spawn(self._own(host), "eager share's owner")
        return self._known_owner()

    async def _own(self, host: ShareHost) -> None:
        """All files belong to the user that the first worker runs as. The file server does not know it."""
        if self._owner is None:
            return
        try:
            await tell_owner(host.share_dial, self._paths.state, self._owner)
        except ShareError as exc:
            self._say_once(f"share: {exc.message}")
        self._folder.look_at_first()

    async def _known_owner(self) -> None:
        assert self._owned is not None
        await asyncio.shield(self._owned)

    async def _prepare(self, host: ShareHost, pod: Pod) -> None:
        """Fill one worker after the other: they share one line, and so the first begins soonest."""
        share = EagerConnection(
            self.spec.folder,
            self._task,
            [*self._paths.copy_into_pod, str(self.spec.folder)],
            state=self._state,
            options=EagerOptions(yes=True, ignore=self._ignore, retry_s=self._patience_s),  # asked once
            events=CopyEvents(self._say_once),
        )
        async with self._turn:
            self._tell_copied(await share.push(lambda command: host.copy_dial(pod, command)))

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._voice.say(text)

    async def begin(self, host: ShareHost) -> None:
        if host.copies_into_pods:
            self._voice.say(
                f"namespace {host.where.namespace} refuses NFS volumes (Pod Security `restricted`):"
                " each pod gets a copy of its own, and what jobs write stays there"
            )
            return
        self._host = host
        host.when_share_moves(self._doubt)
        self._tell_copied(await self._share.push(host.share_dial))
        host.before_share_ends(self._end)
        self._copied = True
        if self._doubts:
            self._doubt()

    def _doubt(self, goes: bool = False) -> None:
        """The store may be another one than that which was filled. goes: its disk will be gone soon."""
        self._doubts += 1
        self._goes |= goes
        if not self._copied or self._ending:
            return
        self._folder.in_doubt()
        if self._checking is None:
            self._checking = self._background.spawn(self._check(), "eager share's check")

    async def _check(self) -> None:
        assert self._host is not None
        while True:
            doubts = self._doubts
            if self._goes and self.spec.kind == EAGER_SYNCBACK:
                await self._rescue(self._host)
            self._goes = False
            try:
                await self._share.check(self._host.share_dial)
            except StoreLost:
                await self._fill_again(self._host)
            await self._own(self._host)  # another pod does not know it
            if doubts == self._doubts:
                self._folder.certain()
                self._checking = None  # at once: what is doubted from now on nobody looks at any more
                return

    def _task_failed(self, task: asyncio.Task[Any], error: BaseException) -> None:
        self._ending = True
        self._folder.end()
        if isinstance(error, ShareError):
            self._voice.lost(error.message)
        else:
            call_exception_handler(task, error)

    async def _pull(self, host: ShareHost) -> PullResult:
        """Bring back from the pod that is about to go, if one is; a part counts, too."""
        try:
            return await self._share.pull(partial(host.share_dial, last=True))
        finally:
            self._back += self._share.so_far

    async def _rescue(self, host: ShareHost) -> None:
        """Bring back what jobs have written until now: its disk will be gone soon."""
        try:
            found = await self._pull(host)
        except StoreLost:  # told next
            return
        except ShareError as exc:  # there is no other try: a message names what is missing once it is known
            self._voice.say(f"not all that jobs wrote came back before the file server goes: {exc.message}")
            return
        if not found.refused and not found.kept_changing:
            self._folder.rescued()

    async def _fill_again(self, host: ShareHost) -> None:
        self._voice.say("the file server's disk is lost: the folder is copied again")
        if ended := self._folder.lost():
            self._lost_results += ended
            self._lost_at = time.strftime("%H:%M:%S")
        self._vain = 0 if ended else self._vain + 1
        if self._vain >= LOSSES:
            raise ShareError(
                f"the file server's disk was lost {LOSSES} times, and no job ended in between: is there room"
                " for the folder, and for what jobs write?"
            )
        self._voice.disk_lost()
        self._tell_copied(await self._share.push(host.share_dial))

    def _tell_copied(self, result: PushResult) -> None:
        self._ignore.begun()  # all there is was looked at
        self._files += result.files
        self._bytes += result.size_bytes
        self.words = f"{_files(self._files, self._bytes)} copied"
        self._voice.traffic(self._bytes, 0, 0, 0)

    async def _end(self) -> None:
        await self._stop_checking()
        if self.spec.kind != EAGER_SYNCBACK or self._host is None:
            return
        try:
            found = await self._pull(self._host)
        except ShareError as exc:
            self.failed = f"what jobs wrote is not brought back: {exc.message}"
            return
        self._is_back = True
        self.words += f", {_files(len(set(self._back.brought)), self._back.size_bytes)} brought back"
        self._voice.traffic(self._bytes, 0, self._back.size_bytes, 0)
        left = len(found.refused) + len(found.kept_changing)
        if self._lost_results:
            jobs = words.counted(self._lost_results, "job")
            self.failed = (
                f"the file server's disk was lost, and with it what {jobs} wrote that had ended by"
                f" {self._lost_at}: run them again"
            )
        elif self._back.conflicts:
            self.failed = f"{words.counted(len(self._back.conflicts), 'file')} changed on both sides"
        elif left:
            self.failed = f"{words.counted(left, 'file')} could not be brought back"

    def report(self) -> None:
        """Say that nothing was brought back, when it was not even tried."""
        if self.spec.kind == EAGER_SYNCBACK and self._copied and not self._is_back:
            self.failed = self.failed or "what jobs wrote is not brought back: its end was not reached"

    async def _stop_checking(self) -> None:
        self._ending = True
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait({self._checking})

    async def close(self) -> None:
        self._ending = True
        await self._background.close()
        self._ignore.close()
        if not self.spec.store:  # the store is gone with the task
            await asyncio.to_thread(self._share.forget)


def _files(count: int, size_bytes: int) -> str:
    return f"{words.counted(count, 'file')} ({shown_bytes(size_bytes)})"
