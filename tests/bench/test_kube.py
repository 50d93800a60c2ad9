"""What the benchmarks say of a cluster that cannot run them."""

import json
import shutil
from pathlib import Path

import pytest

from bench.kube import NFS_TAINT, Kube, Unable
from tests.realcluster import requirements
from tests.realcluster.kubectl import Kubectl


def kube(tmp_path: Path, *nodes: dict[str, object]) -> Kube:
    """A cluster of which kubectl says that it has these nodes."""
    (tmp_path / "nodes").write_text(json.dumps({"items": nodes}))
    program = (shutil.which("sh") or "sh", "-c", f"cat {tmp_path}/nodes", "kubectl")
    return Kube(Kubectl(program, tmp_path / "config", tmp_path), "image", own=False, registry="")


def node(name: str, taint: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"taints": [{"key": taint}]}}


def test_nodes_that_mount_nfs_are_those_with_the_taint(tmp_path: Path) -> None:
    if requirements.lacking_for_nfs():
        pytest.skip("this machine runs no nodes with kernels of their own")
    found = kube(tmp_path, node("b", NFS_TAINT), node("a", NFS_TAINT), node("c", "other"))
    assert found.nfs_nodes(2) == ["a", "b"]
    with pytest.raises(Unable, match="3 nodes with the taint"):
        found.nfs_nodes(3)
