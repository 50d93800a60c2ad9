"""Whether a cluster has nodes on which this machine's programs run."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubernetes.apiserver import ApiServer, connected
from tests.cluster.kubernetes.test_here_manifests import programs
from tests.cluster.kubernetes.test_manifests import spec
from womm.cluster.kubernetes.here_nodes import check_nodes
from womm.errors import ClusterError


def node(architecture: str, kernel: str = "6.1.0-25-amd64") -> Any:
    status = {"nodeInfo": {"architecture": architecture, "kernelVersion": kernel}}
    return {"metadata": {"name": "n1"}, "status": status}


async def refusal(folder: Path, nodes: list[Any] | int, template: Any = None, **changes: Any) -> str:
    """Return what is said of these nodes. A number: the answer to a user without the right."""

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        assert path.startswith("/api/v1/nodes?")
        if isinstance(nodes, int):
            return nodes, {"message": "nodes is forbidden"}
        same = [n for n in nodes if n["status"]["nodeInfo"]["architecture"] == "amd64"]
        return 200, {"items": same if "labelSelector" in path else nodes}

    async with connected(ApiServer(answer), folder) as client:
        try:
            await check_nodes(client, spec(template=template or {}), programs(**changes))
        except ClusterError as exc:
            assert "womm setup --image NAME" in (exc.hint or "")
            return exc.message
    return ""


@pytest.mark.parametrize(
    "nodes",
    [[node("amd64")], [node("arm64"), node("amd64")], [], 403],
    ids=["same", "mixed", "none", "hidden"],
)
async def test_cluster_that_may_have_a_node_for_the_programs_is_taken(tmp_path: Path, nodes: Any) -> None:
    assert await refusal(tmp_path, nodes, least_kernel=(3, 2, 0)) == ""


async def test_cluster_of_another_architecture_is_refused(tmp_path: Path) -> None:
    assert await refusal(tmp_path, [node("arm64"), node("s390x")]) == (
        "no node of the cluster will do: this machine's programs are for amd64, and n1 is arm64"
    )


async def test_template_that_wants_another_architecture_is_refused(tmp_path: Path) -> None:
    template = {"spec": {"nodeSelector": {"kubernetes.io/arch": "arm64"}}}
    assert "node is arm64" in await refusal(tmp_path, 403, template)


async def test_cluster_whose_kernels_are_all_too_old_is_refused(tmp_path: Path) -> None:
    nodes = [node("amd64", "3.10.0-1160.el7.x86_64"), node("amd64", "3.2.1")]
    assert await refusal(tmp_path, nodes, least_kernel=(4, 0, 0)) == (
        "no node of the cluster will do: this machine's C library needs Linux 4.0.0 or newer, and n1 has"
        " 3.10.0-1160.el7.x86_64"
    )
    assert await refusal(tmp_path, [*nodes, node("amd64")], least_kernel=(4, 0, 0)) == ""
    assert await refusal(tmp_path, [node("amd64", "?")], least_kernel=(4, 0, 0)) == ""
