"""The share of a task: the task's folder in its pods, before, between and after the jobs.

A lazy share refreshes the pods before each job and waits for its writes after it; an eager share only checks
that it is still there. On this machine there is nothing to do.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from womm.cluster.base import Pod, ShareHost, ShareSpec
from womm.journal.events import ShareKept, ShareUnsent
from womm.link.frames import RunRequest, User

SYNC: Final = (
    b"my %nr = ('x86_64' => 306, 'aarch64' => 267);"  # syncfs(2)
    b"my $nr = $nr{(split ' ', `uname -m`)[0]};"
    b"open my $folder, '<', $ARGV[0];"
    b"$nr ? syscall($nr, fileno $folder) : system 'sync'"
)


class TellTraffic(Protocol):
    """Hears of bytes: the fields of ShareTraffic after the time, in their order; the last ones may miss."""

    def __call__(self, *count_bytes: int) -> None: ...


@dataclass(frozen=True, slots=True)
class ShareEvents:
    """How a share speaks to the user, and to the task. `ask`: None where there is no terminal."""

    say: Callable[[str], None]
    lost: Callable[[str], None]
    """The share is lost for good: the task must end."""
    disk_lost: Callable[[], bool]
    """Another file server has come with an empty disk: unwritten bytes are lost. Returns whether some of
    them are not written again."""
    ask: Callable[[str], bool] | None
    traffic: TellTraffic
    unsent: Callable[[ShareUnsent | ShareKept], None]
    """Hears which files of the jobs' are not in the folder, and which the user has changed under them."""
    programs_traffic: TellTraffic = lambda *count_bytes: None
    """As `traffic`, with the fields of ProgramsTraffic."""


class SharedFolder(Protocol):
    """The folder that jobs in pods share with this machine: fresh when they start, whole when they end.

    Raises ShareError when it is lost, which ends the task.
    """

    @property
    def is_current(self) -> bool:
        """Nothing has changed: `refresh` would return at once."""

    async def refresh(self) -> None:
        """Return when no pod is served anything older than this call."""

    def revalidate(self, request: RunRequest, job: int, pod: str) -> RunRequest:
        """Have the job's kernel look again at what has changed since it did so last."""

    def sync(self) -> RunRequest | None:
        """Return the request that makes a pod's kernel flush the folder (syncfs); None: it holds nothing."""

    def reconnected(self) -> None:
        """A pod was out of reach: its messages may come before the cluster's news of that time."""

    async def wait_written(self, job: int, pod: str) -> str:
        """Return "" when all that the job wrote is in the folder; otherwise the reason, in words."""


class TaskShare(Protocol):
    """The share of one task: `begin`, then `close`, whatever happens in between."""

    spec: ShareSpec
    jobs: SharedFolder | None
    failed: str
    """Why the task is no success, although its jobs may be."""
    words: str
    """What went over the share; known when the cluster has stopped."""

    def prepare_pod(self, host: ShareHost, pod: Pod, user: User | None) -> Coroutine[Any, Any, None] | None:
        """Return the work that makes a worker ready for jobs, which run as `user`; None: it is ready.

        Raises ShareError.
        """

    async def begin(self, host: ShareHost) -> None:
        """The cluster has started: return when jobs may start. Raises ShareError."""

    def report(self) -> None:
        """The cluster has stopped, in whatever way: say which of the jobs' files are not in the folder."""

    async def close(self) -> None: ...


def way_down(folder: bytes, working: bytes) -> list[bytes]:
    """Return the directories down to where jobs run: a pod's kernel has seen these before any job."""
    found = [folder]
    if working.startswith(folder + b"/"):
        for name in working[len(folder) + 1 :].split(b"/"):
            found.append(found[-1] + b"/" + name)
    return found


def sync_request(folder: bytes) -> RunRequest:
    """Return the request that makes a pod's kernel flush a folder (syncfs)."""
    return RunRequest(None, argv=[b"perl", b"-e", SYNC, folder])
