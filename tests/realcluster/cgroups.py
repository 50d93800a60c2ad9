"""The control group of a cluster: every process that belongs to it, however far it has wandered.

Daemons are started inside it, pods are put below it by kubelet (`cgroupRoot`), and nothing can leave it by
forking, by a session of its own or by clearing its environment: so all of a cluster can be found and ended
after any crash, and nothing else is ever touched. Two kubelets with one root would remove each other's
pods.

Both layouts of the kernel are known: one hierarchy with all controllers (version 2), or one for each
controller, with or without an empty one of version 2 beside them (version 1).
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from womm import process

_CGROUPS = Path("/sys/fs/cgroup")
_END_TIMEOUT_S = 20.0


def hierarchies() -> list[Path]:
    """Return where the hierarchies are mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split()[0] in {"cgroup", "cgroup2"}:
            found.append(Path(fields.split()[4]))
    return found


def daemons_file(name: str) -> Path:
    """Return the file that a daemon of the group writes its pid to."""
    return _home() / name / "daemons" / "cgroup.procs"


def make(name: str) -> None:
    """Make the group, in all hierarchies."""
    if (_CGROUPS / "cgroup.controllers").exists():
        _enable_controllers(_CGROUPS)
        (_CGROUPS / name).mkdir(exist_ok=True)
        _enable_controllers(_CGROUPS / name)
    for hierarchy in hierarchies():
        group = hierarchy / name
        (group / "daemons").mkdir(parents=True, exist_ok=True)
        for folder in (group, group / "daemons"):
            # A new group of version 1 may use no processor before it is told which.
            for key in ("cpuset.cpus", "cpuset.mems"):
                file = folder / key
                if hierarchy != _CGROUPS and file.exists() and not file.read_text().strip():
                    file.write_text((folder.parent / key).read_text())


def members(name: str) -> list[process.ProcessIdentity]:
    """Return the processes of the group."""
    found = []
    for folder, _, _ in os.walk(_home() / name):
        with suppress(OSError):  # the group went meanwhile
            for pid in (Path(folder) / "cgroup.procs").read_text().split():
                identity = process.identify(int(pid))
                if identity and process.is_alive(identity) and _is_member(int(pid), name):
                    found.append(identity)
    return found


def pod_members(name: str, uid: str) -> list[process.ProcessIdentity]:
    """Return the processes of a pod below the group, the one that holds its namespaces among them."""
    for folder in (_home() / name).glob(f"kubepods/**/pod{uid}"):
        return members(str(folder.relative_to(_home())))
    return []


def exists(name: str) -> bool:
    """Whether the group is there, with processes or without."""
    return any((hierarchy / name).exists() for hierarchy in hierarchies())


def end(name: str) -> None:
    """Kill all processes of the group and remove it."""
    deadline = time.monotonic() + _END_TIMEOUT_S
    while True:
        alive = members(name)
        if not alive and _remove(name):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"control group {name} does not end: {[one.pid for one in alive]}")
        for identity in alive:
            process.kill(identity, signal.SIGKILL)
        time.sleep(0.02)


def _home() -> Path:
    """Return the hierarchy that daemons are in: all of them where there is one, else that of the pids."""
    mounted = hierarchies()
    return next((path for path in mounted if path.name == "pids"), mounted[0])


def _is_member(pid: int, name: str) -> bool:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return False
    return any(f"{line}/".split(":", 2)[2].startswith(f"/{name}/") for line in lines)


def _remove(name: str) -> bool:
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            with suppress(OSError):  # a dead process takes a moment to leave
                Path(folder).rmdir()
    return not exists(name)


def _enable_controllers(group: Path) -> None:
    for controller in (group / "cgroup.controllers").read_text().split():
        with suppress(OSError):  # one that cannot be handed on is not needed
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
