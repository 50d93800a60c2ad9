"""Small programs of womm's own in pods, beside the jobs.

One of them makes a pod's kernel flush the shared folder (syncfs) after a job was killed. Else the kernel may
write the killed job's pages long after it: over what its next attempt wrote meanwhile in another pod.
"""

import asyncio

from womm.link.client import Link
from womm.link.frames import RunRequest, encode_run


class HelperJobs:
    """The helper jobs of one task."""

    def __init__(self) -> None:
        self._waits: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._number = 1 << 32

    def __repr__(self) -> str:
        return f"<HelperJobs {len(self._waits)} under way>"

    async def run(self, link: Link, request: RunRequest) -> None:
        """Run one, under a number that no job has; return when it has ended, or its pod."""
        done = asyncio.get_running_loop().create_future()
        self._number -= 1
        number = self._number
        self._waits[number] = link.name, done
        link.send(encode_run(number, request))
        try:
            await done
        finally:
            self._waits.pop(number, None)

    def ended(self, number: int) -> None:
        known = self._waits.get(number)
        if known is not None and not known[1].done():
            known[1].set_result(None)

    def lost(self, pod: str) -> None:
        for number, (where, _) in list(self._waits.items()):
            if where == pod:
                self.ended(number)
