"""An eager share and the task: copied before the first job, brought back after the last.

Where pods may not mount it (Pod Security `restricted`) there is no store: each worker is filled by itself
before it gets jobs, and what jobs write stays in their pod.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from womm.cluster.base import Cluster, Pod, ShareSpec
from womm.coordinator.job import SharedFolder
from womm.coordinator.shares import Voice
from womm.errors import ShareError
from womm.journal.store import TaskStore
from womm.link.frames import RunRequest
from womm.settings import EAGER_SYNCBACK
from womm.share.eager import EagerShare, state_name
from womm.share.ignore import Ignore

STORE: Final = "/womm/store"
FILL: Final = ("perl", "/womm/bin/fill.pl")


class Eager:
    """See TaskShare."""

    def __init__(
        self, spec: ShareSpec, working: Path, task: str, voice: Voice, *, keep: bool, patience_s: float
    ) -> None:
        self.spec = spec
        self._working = working
        self._task = task
        self._voice = voice
        self._patience_s = patience_s
        self._turn = asyncio.Lock()
        self._told: set[str] = set()
        self._in_pods = FilledFolder(working)
        self.jobs: SharedFolder | None = self._in_pods
        self.failed = ""
        self.words = ""
        self._cluster: Cluster | None = None
        store = f"{STORE}/{spec.store}" if spec.store else STORE
        folder = TaskStore.default().root.parent / "shares"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ignore = Ignore(spec.folder)
        self._state = folder / (state_name(spec.folder, store) if spec.store else task)
        self._share = EagerShare(
            spec.folder,
            task,
            state=self._state,
            store=store,
            syncback=spec.kind == EAGER_SYNCBACK,
            keep=keep or bool(spec.store),
            ask=voice.ask,
            say=voice.say,
            progress=sys.stderr,
            ignore=self._ignore,
            retry_s=patience_s,
        )

    async def confirm(self) -> None:
        await self._share.confirm()

    def fill(self, cluster: Cluster, pod: Pod) -> Coroutine[Any, Any, None] | None:
        if not cluster.fills or pod.pid:
            return None
        self._in_pods.filled = True
        return self._fill(cluster, pod)

    async def _fill(self, cluster: Cluster, pod: Pod) -> None:
        """One after the other: all come over the same line, and so the first begins soonest."""
        share = EagerShare(
            self.spec.folder,
            self._task,
            state=self._state,
            command=[*FILL, str(self.spec.folder)],
            yes=True,  # asked once
            say=self._say_once,
            ignore=self._ignore,
            retry_s=self._patience_s,
        )
        async with self._turn:
            await share.push(lambda command: cluster.fill_dial(pod, command))

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._voice.say(text)

    async def begin(self, cluster: Cluster) -> None:
        if cluster.fills:
            self._voice.say(
                f"namespace {cluster.where.namespace} refuses NFS volumes (Pod Security `restricted`):"
                " each pod gets a copy of its own, and what jobs write stays there"
            )
            return
        await self._share.push(cluster.share_dial)
        self._cluster = cluster
        cluster.before_share_ends(self._end)

    async def _end(self) -> None:
        if self.spec.kind != EAGER_SYNCBACK or self._cluster is None:
            return
        try:
            found = await self._share.pull(self._cluster.share_dial)
        except ShareError as exc:
            self.failed = f"what jobs wrote is not brought back: {exc.message}"
            return
        self.words = f"{len(found.brought)} files brought back"
        left = len(found.refused) + len(found.kept_changing)
        if found.conflicts:
            self.failed = f"{len(found.conflicts)} files changed on both sides"
        elif left:
            self.failed = f"{left} files could not be brought back"

    def report(self) -> None:
        """What is not brought back is told when it is tried."""

    async def close(self) -> None:
        self._ignore.close()
        if not self.spec.store:  # the store is gone with the task
            await asyncio.to_thread(self._share.forget)


class FilledFolder:
    """See SharedFolder. Of workers with a folder of their own: jobs run where the user is in it."""

    quiet = True

    def __init__(self, working: Path) -> None:
        self.filled = False
        self._working = os.fsencode(working)

    async def refresh(self) -> None:
        """What has changed here since the copy is not seen there."""

    def renew(self, request: RunRequest, job: int, pod: str) -> RunRequest:
        if not self.filled or request.folder is not None:
            return request
        return replace(request, folder=self._working)

    def sync(self) -> None:
        """It has no kernel's pages to be written anywhere."""

    async def settle(self, job: int, pod: str) -> str:
        return ""
