"""Whether this machine's programs can run on the nodes of a cluster: their architecture and their kernel.

To read nodes is a right that few have. Where it lacks, the pods' own words say it.
"""

import re
from collections.abc import Iterable
from typing import Final

from womm.cluster.base import ProgramsSpec
from womm.cluster.kubernetes.client import ApiError, KubeClient
from womm.cluster.kubernetes.here_manifests import ARCHITECTURE, architecture
from womm.cluster.kubernetes.manifests import Object, WorkerSpec
from womm.errors import ClusterError

_PATH: Final = "/api/v1/nodes"
_NODES: Final = 50
"""So many are looked at. In a large cluster, these stand for all."""
_HINT: Final = "womm setup --image NAME: pods with the programs of an image"


async def check_nodes(client: KubeClient, spec: WorkerSpec, programs: ProgramsSpec) -> None:
    """Raise ClusterError if no node can run this machine's programs."""
    mine = architecture(programs.machine)
    wanted = ((spec.template.get("spec") or {}).get("nodeSelector") or {}).get(ARCHITECTURE, mine)
    if mine and wanted != mine:
        raise ClusterError(
            f"this machine's programs are for {mine}, and its pods are to be on nodes of {wanted}", _HINT
        )
    if not mine:
        return
    try:
        same = await _nodes(client, [("labelSelector", f"{ARCHITECTURE}={mine}"), ("limit", str(_NODES))])
        others = [] if same else await _nodes(client, [("limit", str(_NODES))])
    except ApiError as exc:
        if exc.code in {401, 403, 404}:
            return
        raise
    if refusal := why_none(same, others, mine, programs.least_kernel):
        raise ClusterError(refusal, _HINT)


def why_none(same: Iterable[Object], others: Iterable[Object], mine: str, least: tuple[int, ...]) -> str:
    """Return why none of these nodes can run programs of this architecture; empty: one can, or none is known.

    same: nodes of this architecture. least: the oldest kernel that will do.
    """
    kernels = [_kernel(_info(node)) for node in same]
    if kernels and least and all(kernel and kernel < least for kernel in kernels):
        newest = ".".join(map(str, max(kernels)))
        needed = ".".join(map(str, least))
        return f"this machine's C library needs Linux {needed}, and the cluster's nodes have {newest}"
    found = sorted({str(_info(node).get("architecture") or "another architecture") for node in others})
    if not kernels and found:
        return f"this machine's programs are for {mine}, and the cluster's nodes are {' and '.join(found)}"
    return ""


async def _nodes(client: KubeClient, query: list[tuple[str, str]]) -> list[Object]:
    answer = await client.request("GET", _PATH, query=query)
    return list(answer.get("items") or [])


def _info(node: Object) -> Object:
    return (node.get("status") or {}).get("nodeInfo") or {}


def _kernel(info: Object) -> tuple[int, ...]:
    """A node's kernel, as "6.1.0-25-amd64"; empty: it does not say."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", str(info.get("kernelVersion") or ""))
    return tuple(int(part or 0) for part in found.groups()) if found else ()
