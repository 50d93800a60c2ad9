"""An eager share and the task: copied before the first job, brought back after the last."""

import asyncio
import sys
from typing import Final

from womm.cluster.base import Cluster, ShareSpec
from womm.coordinator.job import SharedFolder
from womm.coordinator.shares import Voice
from womm.errors import ShareError
from womm.journal.store import TaskStore
from womm.settings import EAGER_SYNCBACK
from womm.share.eager import EagerShare, state_name
from womm.share.ignore import Ignore

STORE: Final = "/womm/store"


class Eager:
    """See TaskShare."""

    def __init__(self, spec: ShareSpec, task: str, voice: Voice, *, keep: bool, patience_s: float) -> None:
        self.spec = spec
        self.jobs: SharedFolder | None = None
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

    async def begin(self, cluster: Cluster) -> None:
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

    async def close(self) -> None:
        self._ignore.close()
        if not self.spec.store:  # the store is gone with the task
            await asyncio.to_thread(self._share.forget)
