"""The task's jobs and this machine's programs: `JobsWithPrograms`."""

from womm.link.frames import RunRequest
from womm.share.base import SharedFolder
from womm.share.programs.share import ProgramsShare


class JobsWithPrograms:
    """See SharedFolder: programs, and the folder that jobs share with this machine. None: they share none."""

    def __init__(self, programs: ProgramsShare, folder: SharedFolder | None) -> None:
        self._programs = programs
        self._folder = folder

    @property
    def is_current(self) -> bool:
        return self._programs.is_current and (self._folder is None or self._folder.is_current)

    async def refresh(self) -> None:
        await self._programs.refresh()
        if self._folder is not None:
            await self._folder.refresh()

    def revalidate(self, request: RunRequest, job: int, pod: str) -> RunRequest:
        return request if self._folder is None else self._folder.revalidate(request, job, pod)

    def sync(self) -> RunRequest | None:
        return None if self._folder is None else self._folder.sync()

    def reconnected(self) -> None:
        if self._folder is not None:
            self._folder.reconnected()

    async def wait_written(self, job: int, pod: str) -> str:
        return "" if self._folder is None else await self._folder.wait_written(job, pod)
