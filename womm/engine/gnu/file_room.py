"""Room for the files of one more job: without it, the next jobs wait where they come in."""

import asyncio
import os
from collections.abc import Callable
from typing import Final

from womm.process import file_limit

SPARE_FILES: Final = 40
"""So many more files may be open than there are jobs': links and workers that start again, kept stdin."""
LOOK_AGAIN_S: Final = 0.5


class FileRoom:
    """Pauses what takes jobs in, while too many files are open.

    stop: take in no jobs; go_on: take them in again. has_jobs: is a job there whose end can make room? say:
    one line for the user.
    """

    def __init__(
        self,
        *,
        stop: Callable[[], None],
        go_on: Callable[[], None],
        has_jobs: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self.paused = False
        self._stop = stop
        self._go_on = go_on
        self._has_jobs = has_jobs
        self._say = say
        self._told = False

    def __repr__(self) -> str:
        return f"<FileRoom{' paused' if self.paused else ''}>"

    def took(self, fd: int) -> None:
        """A file of a job has this number: pause if there is no room for the files of another."""
        if fd >= file_limit() - SPARE_FILES:
            self.pause()

    def pause(self) -> None:
        """Too many files are open: the next jobs wait until one here has ended."""
        self.paused = True
        self._stop()
        asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look_again)
        if not self._told:
            self._told = True
            limit = file_limit()
            self._say(f"no more than {limit} files may be open here: jobs wait for each other (ulimit -n)")

    def look(self) -> None:
        """A job has ended: go on if there is room, or if no job is there that could make some."""
        if self.paused and (not self._has_jobs() or _is_there()):
            self.paused = False
            self._go_on()

    def close(self) -> None:
        """No job is taken in any more."""
        self.paused = False

    def _look_again(self) -> None:
        """Others may have closed files, too."""
        self.look()
        if self.paused:
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look_again)


def _is_there() -> bool:
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(lowest)
    return lowest < file_limit() - SPARE_FILES
