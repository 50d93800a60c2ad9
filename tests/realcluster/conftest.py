from tests.realcluster.fixtures import kube_cluster, kube_namespace, nfs_nodes

__all__ = ["kube_cluster", "kube_namespace", "nfs_nodes"]
