"""What an eager share does around jobs: none starts and none is done while its store may be another one."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from womm.errors import ShareError
from womm.link.frames import RunRequest
from womm.share.base import sync_request, way_down


class EagerJobHooks:
    """See SharedFolder. Jobs do not see changes that were made on this machine after the copy.

    `doubt` is called when the store may be another one than that which was filled. Jobs run in `working`.
    """

    def __init__(self, folder: Path, working: Path, doubt: Callable[[], object]) -> None:
        self._own_copies = False
        self._folder = os.fsencode(folder)
        self._working = os.fsencode(working)
        self._doubt = doubt
        self._sure = asyncio.Event()
        self._sure.set()
        self._is_over = False
        self._losses = 0
        self._known: dict[str, int] = {}  # by pod: how many losses its kernel knows of
        self._looking: dict[int, int] = {}  # by job: how many it will know of by that job's end
        self._ended = 0  # jobs, since the last loss
        self._first: list[bytes] = []

    def __repr__(self) -> str:
        return f"<EagerJobHooks {'sure' if self._sure.is_set() else 'in doubt'}, {self._losses} losses>"

    def pods_have_copies(self) -> None:
        """Each worker is filled by itself: there is no store that all of them mount."""
        self._own_copies = True

    @property
    def is_current(self) -> bool:
        return self._sure.is_set()

    async def refresh(self) -> None:
        while not self._sure.is_set():  # also again, when it was for a moment only
            await self._sure.wait()
        if self._is_over:
            raise ShareError("the share is lost")

    def revalidate(self, request: RunRequest, job: int, pod: str) -> RunRequest:
        if request.folder is None and (self._own_copies or self._losses):
            # By its path: what the agent itself is in may be a folder of the lost disk.
            request = replace(request, folder=self._working)
        self._looking[job] = self._losses
        if self._own_copies or self._known.get(pod, 0) == self._losses:
            fresh = [] if self._own_copies or pod in self._known else self._first
            return replace(request, fresh=fresh) if fresh else request
        return replace(request, fresh_tree=self._folder)

    def look_at_first(self) -> None:
        """The directories that pods' kernels have seen before any job have changed since."""
        self._first = way_down(self._folder, self._working)

    def sync(self) -> RunRequest:
        return sync_request(self._folder)

    def reconnected(self) -> None:
        self._doubt()

    async def wait_written(self, job: int, pod: str) -> str:
        looked = self._looking.pop(job, 0)
        self._known[pod] = max(self._known.get(pod, 0), looked)
        losses = self._losses
        await self.refresh()
        self._ended += losses == self._losses
        return ""

    def in_doubt(self) -> None:
        self._sure.clear()

    def certain(self) -> None:
        self._sure.set()

    def end(self) -> None:
        """The share is lost: jobs that end from now on have no result."""
        self._is_over = True
        self._sure.set()

    def rescued(self) -> None:
        """The files of all jobs that have ended are on this machine, too."""
        self._ended = 0

    def lost(self) -> int:
        """Note that the store is empty; return how many jobs have ended since it was filled."""
        self._losses += 1
        ended, self._ended = self._ended, 0
        return ended
