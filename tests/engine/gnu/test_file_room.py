"""Jobs wait while too many files are open: with the real limit of this process."""

import os
import resource
from contextlib import contextmanager

from womm.engine.gnu.file_room import SPARE_FILES, FileRoom


@contextmanager
def limit_above(files):
    """Have room for so many more files."""
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + files, hard))
    try:
        yield lowest
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def opened(done, jobs):
    return FileRoom(
        stop=lambda: done.append("stop"),
        go_on=lambda: done.append("go on"),
        has_jobs=lambda: bool(jobs),
        say=done.append,
    )


async def test_jobs_wait_for_room_and_the_user_hears_it_once():
    done: list[str] = []
    jobs = [1]
    room = opened(done, jobs)
    with limit_above(SPARE_FILES + 10) as lowest:
        room.took(lowest)
        assert done == []
        room.took(lowest + 10)
        room.look()
        assert (room.paused, done[0], done[-1]) == (False, "stop", "go on")
        assert "ulimit -n" in done[1] and len(done) == 3
        room.pause()
        assert done[3:] == ["stop"]
    room.close()


async def test_without_room_only_the_end_of_all_jobs_lets_one_in():
    done: list[str] = []
    jobs = [1]
    room = opened(done, jobs)
    with limit_above(SPARE_FILES):
        room.pause()
        room.look()
        assert room.paused
        jobs.clear()
        room.look()
    assert not room.paused and done[-1] == "go on"
