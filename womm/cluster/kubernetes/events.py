"""From the events of a pod that is being created for long to the reason: nothing else knows it. Pure.

Kubelet cannot mount NFS where the node has no client for it. It says so in the words of mount(8), or of the
kernel, and tries again for ever; here that is one sentence with the node's name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from womm.cluster.kubernetes.advice import NO_NFS_CLIENT, readable
from womm.cluster.kubernetes.manifests import Object

_NFS: Final = re.compile(r"-t nfs\b|\bmount\.nfs4?\b")
_NO_CLIENT: Final = re.compile(
    # no /sbin/mount.nfs, with which mount(8) and busybox pass the file system on to the kernel
    r"you might need a /sbin/mount\.<type> helper|wrong fs type, bad option|unknown filesystem type '?nfs"
    # mount.nfs is there, and the kernel has no nfs
    r"|mount\.nfs4?: (No such device|Protocol not supported|.*kernel.* does not support)"
    r"|fsconfig system call failed: NFS: |failed: No such device"
    # no mount(8) at all, as on nodes without a shell
    r'|"?mount(\.nfs4?)?"?: executable file not found'
)


@dataclass(frozen=True, slots=True)
class Why:
    """Why one pod is not there. `lacks_nfs`: its node, if that has no NFS client."""

    reason: str
    text: str
    lacks_nfs: str = ""


def why(events: Iterable[Object], node: str) -> Why | None:
    """Return what the last of a pod's warnings says; `node` is where it is being created. None: nothing."""
    warnings = sorted(events, key=_time)
    if not warnings:
        return None
    last = warnings[-1]
    message = str(last.get("message") or "")
    lacks_nfs = node if _NFS.search(message) and _NO_CLIENT.search(message) else ""
    return Why(str(last.get("reason") or "Warning"), readable(_mount(message)), lacks_nfs)


def words(found: Iterable[Why], *, copied: bool = False) -> dict[str, str]:
    """The sentence for each reason, of all pods together. `copied`: their share is eager already."""
    texts: dict[str, str] = {}
    lacking: dict[str, set[str]] = {}
    for one in found:
        texts.setdefault(one.reason, one.text)
        if one.lacks_nfs:
            lacking.setdefault(one.reason, set()).add(one.lacks_nfs)
    return texts | {reason: _no_client(sorted(nodes), copied) for reason, nodes in lacking.items()}


def _no_client(nodes: list[str], copied: bool) -> str:
    named = nodes[0] if len(nodes) == 1 else f"{', '.join(nodes[:-1])} and {nodes[-1]}"
    has = "has" if len(nodes) == 1 else "have"
    others = "choose nodes by node-selector"
    choice = f"or {others}" if copied else f"{others}, or --share eager"
    return f"{named} {has} {NO_NFS_CLIENT}: install nfs-common there, {choice}"


def _mount(message: str) -> str:
    """Shorten the message of a failed mount to the volume and the words of mount(8)."""
    found = re.search(r'volume "([^"]+)".*?\nOutput: (.+)', message, re.DOTALL)
    return f"volume {found[1]}: {found[2]}" if found else message


def _time(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
