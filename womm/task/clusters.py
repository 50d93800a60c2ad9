"""Which cluster a task runs on: made here from the settings, for `womm parallel` and `womm shell` alike.

The Kubernetes driver is imported only when it is wanted: it costs 0.4 s.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from womm import places, project
from womm.cluster.base import Cluster, ShareSpec, TaskSpec
from womm.cluster.both import BothClusters
from womm.cluster.local import LocalCluster
from womm.errors import SettingsError, ShareError
from womm.journal.observe import this_host, this_user
from womm.named import lies_in
from womm.settings import EAGER, KUBERNETES, NO_SHARE, Settings, check_share, writable_by_pods
from womm.task.listing import target_of


@dataclass(frozen=True, slots=True)
class Origin:
    """Who starts a task, with what words, and from where."""

    kind: str
    argv: tuple[str, ...]

    @property
    def host(self) -> str:
        return this_host()

    @property
    def user(self) -> str:
        return this_user()


async def make_cluster(settings: Settings, runtime: Path, perl: str, origin: Origin) -> Cluster:
    """Return the cluster that the settings name, not started: nothing is made, nothing is sent.

    To be stopped, started or not. Raises SettingsError, ClusterError.
    """
    local = LocalCluster(runtime, perl)
    if settings.cluster != KUBERNETES:
        return local
    from womm.cluster.kubernetes.client import KubeClient
    from womm.cluster.kubernetes.cluster import KubernetesCluster, PodOptions
    from womm.cluster.kubernetes.manifests import About

    if not settings.image:
        raise SettingsError(
            "which image do the pods run? The project names none",
            "womm setup --image NAME --share none --yes",
        )

    def about(spec: TaskSpec) -> About:
        return About(
            kind=origin.kind,
            argv=origin.argv,
            folder=str(spec.folder),
            host=origin.host,
            user=origin.user,
            pods=spec.pods,
            procs_per_pod=spec.slots,
            cpu=spec.cpu,
            mem=spec.mem,
            started=time.time(),
        )

    options = PodOptions(
        image=settings.image,
        pull_secret=settings.pull_secret,
        service_account=settings.service_account,
        template=pod_template(settings),
    )
    remote = KubernetesCluster(await KubeClient.connect(target_of(settings), runtime), options, about)
    return BothClusters(remote, local) if settings.local_procs else remote


def share_spec(settings: Settings, folder: Path, secret: Mapping[str, bytes]) -> ShareSpec | None:
    """Return the share that the settings name for a task in `folder`; None: its pods get none, or need none.

    secret: see ShareSpec; `export` among them. Raises SettingsError, ShareError.
    """
    if settings.cluster != KUBERNETES or settings.share == NO_SHARE:
        return None
    shared = settings.project or folder
    verdict, why = project.sharing(shared, places.home() or Path("/"), project.mounts())
    # Who has put a `.womm` there, or any other project, has been asked by womm setup.
    if verdict is project.Sharing.NEVER or (verdict is project.Sharing.ASK and settings.project is None):
        raise ShareError(f"{why}: it is not shared", "a folder below it, with `womm setup`, or --share none")
    check_share(settings.share_readonly, settings.share_write)
    _keep_out(settings, shared)
    # Whether an eager share needs one, the namespace tells.
    if not settings.fileserver_image and settings.share != EAGER:
        raise SettingsError(
            f"which image does the file server run? The project names none, and share is {settings.share}",
            f"womm setup --prefix REGISTRY/NAME/ --share {settings.share} --yes",
        )
    return ShareSpec(
        kind=settings.share,
        folder=shared,
        image=settings.fileserver_image,
        secret=secret,
        cache_bytes=settings.share_cache_bytes,
        read_only=settings.share_readonly,
        write=settings.share_write,
        claim=settings.share_volume,
        store=_store(shared) if settings.share_volume else "",
    )


def shared_folder(settings: Settings, folder: Path) -> Path | None:
    """Return the folder that pods see of this machine; None: none."""
    shares = settings.cluster == KUBERNETES and settings.share != NO_SHARE
    return (settings.project or folder) if shares else None


def _keep_out(settings: Settings, shared: Path) -> None:
    """Raise ShareError if pods could write what womm goes by: the user's settings, journals, acceptances."""
    written = writable_by_pods(
        shared, {field.name: getattr(settings, field.name) for field in fields(settings)}
    )
    for own in filter(None, (places.config_folder(), places.state_folder())):
        if any(lies_in(own, folder) or lies_in(folder, own) for folder in written):
            raise ShareError(
                f"{own}, where womm keeps what is yours, lies in {shared}, which pods can write",
                "a folder below it, with `womm setup`, or --share-readonly",
            )


def _store(folder: Path) -> str:
    """The place of a folder's copy in a volume that many tasks use, perhaps of many people."""
    name = f"{this_user()}@{this_host()}:{folder}"
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]


def pod_template(settings: Settings) -> Mapping[str, Any]:
    """Return the pod that the project wants laid under womm's. Raises SettingsError."""
    from womm.cluster.kubernetes.manifests import read_template

    template: dict[str, Any] = {}
    if settings.pod_template:
        base = settings.project or Path()
        path = base / os.path.expanduser(settings.pod_template)
        try:
            template = read_template(path)
        except ValueError as exc:
            raise SettingsError(f"the pod template {path} {exc}", f"ls -l {path}") from exc
    pod = template.setdefault("spec", {})
    if settings.node_selector:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **settings.node_selector}
    if settings.tolerations:
        pod["tolerations"] = [*pod.get("tolerations", []), *map(dict, settings.tolerations)]
    if settings.gpus:
        containers = pod.setdefault("containers", [{}])
        resources = containers[0].setdefault("resources", {})
        for kind in ("requests", "limits"):
            resources.setdefault(kind, {})[settings.gpu_resource] = str(settings.gpus)
    return template
