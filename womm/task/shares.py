"""The folder of a task in its pods: what is to be done before the first job, around each, and at the end.

On this machine there is nothing to do. A lazy share is asked before each job to forget what has changed
here, and after each whether what it wrote has come; an eager one is only asked whether it is still there.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from womm import words
from womm.cluster.base import Cluster, Pod, ShareSpec
from womm.dispatch.job import SharedFolder
from womm.errors import ShareError, UsageError
from womm.journal.events import ShareKept, ShareUnsent
from womm.link.frames import RunRequest, User
from womm.settings import KUBERNETES, LAZY, NO_SHARE, Settings
from womm.share.nfs_secret import nfs_secret
from womm.task.clusters import share_spec

SYNC: Final = (
    b"my %nr = ('x86_64' => 306, 'aarch64' => 267);"  # syncfs(2)
    b"my $nr = $nr{(split ' ', `uname -m`)[0]};"
    b"open my $folder, '<', $ARGV[0];"
    b"$nr ? syscall($nr, fileno $folder) : system 'sync'"
)


@dataclass(frozen=True, slots=True)
class Voice:
    """How a share speaks to the user, and to the task. `ask`: None where there is no terminal."""

    say: Callable[[str], None]
    lost: Callable[[str], None]
    """The share is lost for good: the task must end."""
    disk_lost: Callable[[], bool]
    """Another file server has come with an empty disk: what was not written yet is lost. Returns whether
    some of it is not written again."""
    ask: Callable[[str], bool] | None
    traffic: Callable[[int, int, int, int], None]
    """Hears of bytes: fetched, cached, written, unwritten. See ShareTraffic."""
    unsent: Callable[[ShareUnsent | ShareKept], None]
    """Hears which files of the jobs' are not in the folder, and which the user has changed under them."""


class TaskShare(Protocol):
    """The share of one task: `begin`, then `close`, whatever happens in between."""

    spec: ShareSpec
    jobs: SharedFolder | None
    failed: str
    """Why the task is no success, although its jobs may be."""
    words: str
    """What went over the share; known when the cluster has stopped."""

    def fill(self, cluster: Cluster, pod: Pod, user: User | None) -> Coroutine[Any, Any, None] | None:
        """What is to be done for a worker before it gets jobs, which run as `user`; None: nothing.

        Raises ShareError.
        """

    async def begin(self, cluster: Cluster) -> None:
        """Once the cluster has started: return when jobs may. Raises ShareError."""

    def report(self) -> None:
        """Once the cluster has stopped, however: tell what of the jobs' files is not in the folder."""

    async def close(self) -> None: ...


async def make_share(settings: Settings, folder: Path, task: str, voice: Voice) -> TaskShare | None:
    """Return the share that the settings name; None: pods need none. Asks what is to be asked.

    Raises ShareError, SettingsError, UsageError.
    """
    if settings.cluster != KUBERNETES or settings.share == NO_SHARE:
        return None
    if settings.keep and settings.share != LAZY and not settings.share_volume:
        raise UsageError(
            "--keep: what an eager share has copied goes with its pod, unless it is on a volume",
            "share-volume = NAME in .womm (kubectl get pvc lists them), or leave --keep out",
        )
    spec = share_spec(settings, folder, nfs_secret())
    assert spec is not None
    try:
        if settings.share == LAZY:  # imported only when it is wanted: the ssh library costs 0.3 s
            from womm.share.lazy.task import Lazy

            return Lazy(spec, voice, task=task, working=folder)
        from womm.share.eager.task import Eager

        eager = Eager(spec, folder, task, voice, keep=settings.keep, patience_s=settings.ready_timeout_s)
        await eager.confirm()
        return eager
    except OSError as exc:
        raise ShareError(f"{spec.folder} cannot be shared: {exc.strerror}", f"ls -ld {spec.folder}") from exc


def way_down(folder: bytes, working: bytes) -> list[bytes]:
    """Return what a pod's kernel has seen before any job: the directories down to where jobs run."""
    found = [folder]
    if working.startswith(folder + b"/"):
        for name in working[len(folder) + 1 :].split(b"/"):
            found.append(found[-1] + b"/" + name)
    return found


def sync_request(folder: bytes) -> RunRequest:
    """What has a pod's kernel write all that it holds of a folder."""
    return RunRequest(None, argv=[b"perl", b"-e", SYNC, folder])


def ask_terminal() -> Callable[[str], bool] | None:
    """Return what asks a question at the terminal; None: there is none. stdin may be the jobs' input."""
    try:
        with open("/dev/tty", "rb"):
            pass
    except OSError:
        return None

    def ask(question: str) -> bool:
        with open("/dev/tty", "r+b", buffering=0) as terminal:
            lines = "\n".join(map(words.line, question.split("\n")))
            terminal.write(f"womm: {lines} [y/N] ".encode())
            return terminal.readline().strip().lower() in {b"y", b"yes"}

    return ask
