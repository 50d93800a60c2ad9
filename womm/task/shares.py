"""Which share a task gets: made here from the settings, for a new task. Pods on this machine need none.

A share's module is imported only when it is wanted: the ssh library costs 0.3 s.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from womm import places, project
from womm.cluster.base import Pod, ServerSpec, ShareHost, ShareSpec
from womm.errors import ShareError, UsageError
from womm.journal.observe import this_host, this_user
from womm.link.frames import User
from womm.named import lies_in
from womm.settings import (
    KUBERNETES,
    LAZY,
    NO_SHARE,
    Settings,
    check_share,
    writable_by_pods,
)
from womm.share.base import SharedFolder, ShareEvents, TaskShare
from womm.wire.secret import nfs_secret


async def make_share(
    settings: Settings, folder: Path, task: str, events: ShareEvents, *, trial: bool = False
) -> TaskShare | None:
    """Return the share that the settings name; None: pods need none. It may ask the user.

    trial: an eager share is mounted, and copies nothing; nothing is learned.
    Raises ShareError, SettingsError, UsageError.
    """
    if settings.cluster != KUBERNETES or settings.share == NO_SHARE:
        return None
    if settings.keep and settings.share != LAZY and not settings.share_volume and not trial:
        raise UsageError(
            "--keep: what an eager share has copied goes with its pod, unless it is on a volume",
            "share-volume = NAME in .womm (kubectl get pvc lists them), or leave --keep out",
        )
    spec = share_spec(settings, folder, nfs_secret())
    assert spec is not None
    try:
        if settings.share == LAZY:
            from womm.share.lazy.task import LazyTaskShare
            from womm.share.learned import LearnedFile

            learned = None if trial else LearnedFile.of(spec.folder, LAZY)
            return LazyTaskShare(spec, events, task=task, working=folder, learned=learned)
        if trial:
            return _MountedShare(spec)
        from womm.cluster.kubernetes.paths import SHARE_PATHS
        from womm.share.eager.task import EagerTaskShare

        eager = EagerTaskShare(
            spec, SHARE_PATHS, folder, task, events, keep=settings.keep, patience_s=settings.ready_timeout_s
        )
        await eager.confirm()
        return eager
    except OSError as exc:
        raise ShareError(f"{spec.folder} cannot be shared: {exc.strerror}", f"ls -ld {spec.folder}") from exc


class _MountedShare:
    """The share of a trial: its workers mount an empty folder. See TaskShare. It touches no user's volume."""

    def __init__(self, spec: ShareSpec) -> None:
        self.spec = replace(spec, claim="", store="")
        self.jobs: SharedFolder | None = None
        self.failed = self.words = ""

    def prepare_pod(self, host: ShareHost, pod: Pod, user: User | None) -> None:
        return None

    async def begin(self, host: ShareHost) -> None:
        pass

    def report(self) -> None:
        pass

    async def close(self) -> None:
        pass


def share_spec(settings: Settings, folder: Path, secret: Mapping[str, bytes]) -> ShareSpec | None:
    """Return the share that the settings name for a task in `folder`; None: its pods get none, or need none.

    secret: see ShareSpec; `export` among them. Raises SettingsError, ShareError.
    """
    if settings.cluster != KUBERNETES or settings.share == NO_SHARE:
        return None
    shared = settings.project or folder
    verdict, why = project.sharing(shared, places.home() or Path("/"), project.mounts())
    # `womm setup` has asked the user who put a `.womm` there.
    if verdict is project.Sharing.NEVER or (verdict is project.Sharing.ASK and settings.project is None):
        raise ShareError(f"{why}: it is not shared", "a folder below it, with `womm setup`, or --share none")
    check_share(settings.share_readonly, settings.share_write)
    _keep_out(settings, shared)
    return ShareSpec(
        kind=settings.share,
        folder=shared,
        secret=secret,
        cache_bytes=settings.share_cache_bytes,
        read_only=settings.share_readonly,
        write=settings.share_write,
        claim=settings.share_volume,
        store=_store(shared) if settings.share_volume else "",
    )


def server_spec(settings: Settings) -> ServerSpec:
    """Return the program of a file server: womm's own image if the settings name one, else any python's."""
    if settings.fileserver_image:
        return ServerSpec(settings.fileserver_image)
    from womm.image.bundle import WommBundles
    from womm.image.digests import ImageDigests

    folder, image = places.cache_folder(), settings.fileserver_python
    digests = ImageDigests(folder / "digests" if folder is not None else None)
    bundles = WommBundles(folder / "bundles" if folder is not None else None)
    return ServerSpec(image, bundles, digests.known(image), digests)


def shared_folder(settings: Settings, folder: Path) -> Path | None:
    """Return the folder that pods see of this machine; None: none."""
    shares = settings.cluster == KUBERNETES and settings.share != NO_SHARE
    return (settings.project or folder) if shares else None


def _keep_out(settings: Settings, shared: Path) -> None:
    """Raise ShareError if pods could write the user's settings, journals or acceptances."""
    written = writable_by_pods(
        shared, {field.name: getattr(settings, field.name) for field in fields(settings)}
    )
    for own in filter(None, (places.config_folder(), places.state_folder(), places.cache_folder())):
        if any(lies_in(own, folder) or lies_in(folder, own) for folder in written):
            raise ShareError(
                f"{own}, where womm keeps what is yours, lies in {shared}, which pods can write",
                "a folder below it, with `womm setup`, or --share-readonly",
            )


def _store(folder: Path) -> str:
    """The place of a folder's copy in a volume that many tasks use, perhaps of many people."""
    name = f"{this_user()}@{this_host()}:{folder}"
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]
