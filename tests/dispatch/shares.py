"""A SharedFolder whose calls return when the test says so."""

import asyncio

from womm.link.frames import RunRequest


class HeldShare:
    """`patient`: its calls wait for `release`."""

    def __init__(self) -> None:
        self.is_current = False
        self.patient = True
        self.waits: list[asyncio.Future[str]] = []

    async def refresh(self) -> None:
        await self._wait()

    async def wait_written(self, job: int, pod: str) -> str:
        return await self._wait()

    def revalidate(self, request: RunRequest, job: int, pod: str) -> RunRequest:
        return request

    def sync(self) -> RunRequest:
        return RunRequest(b"sync")

    def reconnected(self) -> None:
        pass

    def release(self, which: int = 0, why: str = "") -> None:
        """Let one of the calls return; `why`: what a job wrote is not in the folder."""
        if self.waits:
            self.waits.pop(which % len(self.waits)).set_result(why)

    async def _wait(self) -> str:
        if not self.patient:
            return ""
        self.waits.append(asyncio.get_running_loop().create_future())
        return await self.waits[-1]
