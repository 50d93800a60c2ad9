"""Which cluster a task runs on: made here from the settings, for `womm parallel` and `womm shell` alike.

The Kubernetes driver is imported only when it is wanted: it costs 0.4 s.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from womm.cluster.base import Cluster, TaskSpec
from womm.cluster.both import BothClusters
from womm.cluster.local import LocalCluster
from womm.errors import SettingsError
from womm.journal.observe import this_host, this_user
from womm.settings import KUBERNETES, Settings
from womm.task.targets import target_of


@dataclass(frozen=True, slots=True)
class Origin:
    """The start of a task: by which command of womm's, with which words, on which machine, by which user."""

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
            "--image here: this machine's programs; or an image: womm setup --image NAME --share none --yes",
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
        image=settings.here_image if settings.shows_programs else settings.image,
        pull_secret=settings.pull_secret,
        service_account=settings.service_account,
        template=pod_template(settings),
    )
    remote = KubernetesCluster(await KubeClient.connect(target_of(settings), runtime), options, about)
    return BothClusters(remote, local) if settings.local_procs else remote


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
