"""Jobs wait for the programs, and for the folder where there is one."""

from womm.link.frames import RunRequest
from womm.share.programs.jobs import JobsWithPrograms


class Parts:
    """Programs, or a folder: notes what it is asked."""

    def __init__(self, current=True):
        self.is_current = current
        self.asked: list[str] = []

    async def refresh(self):
        self.asked.append("refresh")

    def revalidate(self, request, job, pod):
        return RunRequest(b"again")

    def sync(self):
        return RunRequest(b"sync")

    def reconnected(self):
        self.asked.append("reconnected")

    async def wait_written(self, job, pod):
        return "a full disk"


def both(programs, folder):
    return JobsWithPrograms(programs, folder)


async def test_jobs_without_a_folder_wait_for_the_programs_alone():
    programs, request = Parts(current=False), RunRequest(b"true")
    jobs = both(programs, None)
    assert not jobs.is_current
    await jobs.refresh()
    jobs.reconnected()
    assert programs.asked == ["refresh"]
    assert (jobs.revalidate(request, 1, "pod"), jobs.sync()) == (request, None)
    assert await jobs.wait_written(1, "pod") == ""


async def test_jobs_with_a_folder_wait_for_both():
    programs, folder = Parts(), Parts(current=False)
    jobs = both(programs, folder)
    assert not jobs.is_current and both(Parts(), Parts()).is_current
    await jobs.refresh()
    jobs.reconnected()
    assert (programs.asked, folder.asked) == (["refresh"], ["refresh", "reconnected"])
    assert jobs.revalidate(RunRequest(b"true"), 1, "pod") == RunRequest(b"again")
    assert jobs.sync() == RunRequest(b"sync") and await jobs.wait_written(1, "pod") == "a full disk"
