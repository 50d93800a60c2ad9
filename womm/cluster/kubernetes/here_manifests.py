"""Workers that see this machine's programs (`image = "here"`), as data.

All of them are one NFS volume: kubelet mounts the export once for a pod, and shows each folder of it at its
own path. The image of such a worker lends its root alone. What a Pod Security of `restricted` says of NFS
volumes holds for these, too.
"""

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Final

from womm.cluster.base import ProgramsSpec, TaskSpec
from womm.cluster.kubernetes import share_manifests
from womm.cluster.kubernetes.manifests import Object
from womm.worker import KEPT, SPARE_HOME

VOLUME: Final = "womm-programs"
ARCHITECTURE: Final = "kubernetes.io/arch"
"""A label of every node."""
SCRATCH: Final = ("/tmp", "/var/tmp")
"""Empty folders of each pod: the image may have none."""
_HOME: Final = re.compile(r"(/root|/home/[^/]+)/")


def served(pod: Object, server: str, task: TaskSpec) -> Object:
    """Return a worker's pod (metadata, spec) with all that the task's file server has for it.

    server: an address that nodes reach.
    """
    if task.share is not None:
        mount = share_manifests.Mount(server, task.share, str(task.folder))
        pod = share_manifests.mounted(pod, mount)
    return pod if task.programs is None else with_programs(pod, server, task.programs)


def with_programs(pod: Object, server: str, programs: ProgramsSpec) -> Object:
    """Return a worker's pod (metadata, spec) in which this machine's programs are, and no others.

    Paths and variables that the pod has already stay as they are.
    """
    pod = deepcopy(pod)
    spec = pod["spec"]
    source = {"server": server, "path": programs.export, "readOnly": True}
    spec["volumes"].append({"name": VOLUME, "nfs": source})
    container = spec["containers"][0]
    mounts = container["volumeMounts"]
    taken = {mount["mountPath"] for mount in mounts}
    for mount in programs.mounts:
        if mount.path not in taken:
            where = {"mountPath": mount.path, "subPath": mount.source.lstrip("/")}
            mounts.append({"name": VOLUME, **where, "readOnly": True})
    taken |= {mount.path for mount in programs.mounts}
    for number, path in enumerate(path for path in (*SCRATCH, *_homes(mounts)) if path not in taken):
        name = f"womm-scratch-{number}"
        spec["volumes"].append({"name": name, "emptyDir": {}})
        mounts.append({"name": name, "mountPath": path})
    container["command"][0] = programs.perl
    named = {variable["name"] for variable in container["env"]}
    env = {name: value for name, value in programs.env.items() if not {name, name.removeprefix(KEPT)} & named}
    # Kubernetes would take $(NAME) for another variable's value, and $$ for $.
    given = [{"name": name, "value": value.replace("$", "$$")} for name, value in env.items()]
    if "HOME" not in named:
        given.append({"name": SPARE_HOME, "value": SCRATCH[0]})
    container["env"] = [*given, *container["env"]]
    if programs.machine:
        spec.setdefault("nodeSelector", {}).setdefault(ARCHITECTURE, programs.machine)
    return pod


def _homes(mounts: Iterable[Object]) -> list[str]:
    """Return the homes that something is mounted in.

    They are empty folders that all users may enter: an image's /root is closed to others than root.
    """
    found = (_HOME.match(mount["mountPath"]) for mount in mounts)
    return sorted({home[1] for home in found if home})
