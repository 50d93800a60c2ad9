"""What a worker's reason to wait means for `womm doctor`. Its questions to a cluster: test_cli_doctor."""

from womm.cluster.kubernetes.advice import NO_NFS_CLIENT
from womm.cluster.kubernetes.checkup import hint_for, hopeless


def test_node_without_an_nfs_client_is_hopeless_and_says_what_to_do():
    error = hopeless(["Pending", f"{NO_NFS_CLIENT} on n1"])
    assert error is not None
    assert error.message == f"none will come: {NO_NFS_CLIENT} on n1"
    assert "nfs-common" in (error.hint or "")


def test_other_reasons_are_waited_for():
    assert hopeless(["ContainerCreating", "Unschedulable"]) is None


def test_hint_is_for_known_reasons_only():
    assert "--kube-cpu" in hint_for("Unschedulable (0/2 nodes: insufficient cpu)")
    assert hint_for("something else") == ""
