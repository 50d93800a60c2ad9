"""The folder of a task in its pods: what is to be done before the first job, around each, and at the end.

On this machine there is nothing to do. A lazy share is asked before each job to forget what has changed
here, and after each whether what it wrote has come; an eager one is only asked whether it is still there.
"""

from collections.abc import Callable
from pathlib import Path

from womm import words
from womm.errors import ShareError, UsageError
from womm.settings import KUBERNETES, LAZY, NO_SHARE, Settings
from womm.share.base import ShareEvents, TaskShare
from womm.share.nfs_secret import nfs_secret
from womm.task.clusters import share_spec


async def make_share(settings: Settings, folder: Path, task: str, voice: ShareEvents) -> TaskShare | None:
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
            from womm.share.lazy.task import LazyTaskShare

            return LazyTaskShare(spec, voice, task=task, working=folder)
        from womm.cluster.kubernetes.paths import SHARE_PATHS
        from womm.share.eager.task import EagerTaskShare

        eager = EagerTaskShare(
            spec, SHARE_PATHS, folder, task, voice, keep=settings.keep, patience_s=settings.ready_timeout_s
        )
        await eager.confirm()
        return eager
    except OSError as exc:
        raise ShareError(f"{spec.folder} cannot be shared: {exc.strerror}", f"ls -ld {spec.folder}") from exc


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
