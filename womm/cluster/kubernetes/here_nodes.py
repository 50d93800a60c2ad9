"""Whether this machine's programs can run on the nodes of a cluster: their architecture and their kernel.

To read nodes is a right that few have. Where it lacks, the pods' own words say it.
"""

from typing import Final

from womm.cluster.base import ProgramsSpec
from womm.cluster.kubernetes.client import ApiError, KubeClient
from womm.cluster.kubernetes.here_manifests import ARCHITECTURE
from womm.cluster.kubernetes.manifests import Object, WorkerSpec
from womm.errors import ClusterError
from womm.here.machine import Machine, why_not

_PATH: Final = "/api/v1/nodes"
_NODES: Final = 50
"""So many are looked at: in a large cluster, they stand for all."""
_HINT: Final = "womm setup --image NAME: pods with the programs of an image"


async def check_nodes(client: KubeClient, spec: WorkerSpec, programs: ProgramsSpec) -> None:
    """Raise ClusterError if no node can run this machine's programs."""
    mine = Machine(programs.machine, programs.least_kernel)
    if not mine.architecture:
        return
    wanted = ((spec.template.get("spec") or {}).get("nodeSelector") or {}).get(ARCHITECTURE, "")
    if refusal := why_not(mine, "the pod template's node", wanted, ""):
        raise ClusterError(refusal, _HINT)
    try:
        nodes = await _nodes(client, [("labelSelector", f"{ARCHITECTURE}={mine.architecture}")])
        nodes = nodes or await _nodes(client, [])
    except ApiError as exc:
        if exc.code in {401, 403, 404}:
            return
        raise
    refusals = [_why_not(mine, node) for node in nodes]
    if refusals and all(refusals):
        raise ClusterError(f"no node of the cluster will do: {refusals[0]}", _HINT)


async def _nodes(client: KubeClient, query: list[tuple[str, str]]) -> list[Object]:
    answer = await client.request("GET", _PATH, query=[*query, ("limit", str(_NODES))])
    return list(answer.get("items") or [])


def _why_not(mine: Machine, node: Object) -> str:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    architecture, kernel = str(info.get("architecture") or ""), str(info.get("kernelVersion") or "")
    return why_not(mine, str(node["metadata"]["name"]), architecture, kernel)
