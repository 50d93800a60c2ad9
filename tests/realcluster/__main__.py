"""A Kubernetes on this machine for trying things out; tests start one of their own."""

import argparse
import os
import sys
from pathlib import Path

from tests.realcluster import requirements
from tests.realcluster.cluster import MAX_NFS_NODES, Cluster, remove
from tests.realcluster.configs import NFS_SETTINGS
from tests.realcluster.daemons import ClusterError
from tests.realcluster.instances import Instance, claim
from tests.realcluster.kubectl import KubectlError
from tests.realcluster.network import INSTANCES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.realcluster", description=__doc__)
    parser.add_argument("--instance", type=int, default=0, choices=INSTANCES, help="which one (0)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start it; what a crash has left of it is removed first")
    nodes = range(MAX_NFS_NODES + 1)
    up.add_argument("--nfs-nodes", type=int, default=0, choices=nodes, help="nodes that can mount NFS (0)")
    verbs.add_parser("down", help="end it, and leave nothing")
    verbs.add_parser("status", help="what runs")
    archive = verbs.add_parser("import", help="give node1 an image that `docker save` has written")
    archive.add_argument("archive", type=Path)
    for verb in ("kill", "start", "restart", "freeze", "thaw"):
        verbs.add_parser(verb, help="a daemon or a node").add_argument("name")
    kubectl = verbs.add_parser("kubectl", help="as the administrator")
    kubectl.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    lacking = requirements.lacking()
    if lacking:
        sys.exit(f"cluster: {lacking}")
    try:
        return _run(options, Cluster(Instance(options.instance)))
    except (ClusterError, KubectlError, RuntimeError) as error:
        sys.exit(f"cluster: {error}")


def _run(options: argparse.Namespace, cluster: Cluster) -> int:
    match options.verb:
        case "up":
            _up(cluster, options.nfs_nodes)
        case "down":
            cluster.down()
        case "status":
            return _status(cluster)
        case "import":
            cluster.import_image(options.archive)
        case "kill":
            cluster.kill(options.name)
        case "start":
            cluster.start(options.name)
        case "restart":
            cluster.restart(options.name)
        case "freeze":
            cluster.freeze(options.name)
        case "thaw":
            cluster.thaw(options.name)
        case "kubectl":
            words = cluster.kubectl.words(*options.words)
            os.execv(words[0], words)
    return 0


def _up(cluster: Cluster, nfs_nodes: int) -> None:
    if cluster.instance.is_owned:
        raise ClusterError(f"cluster {cluster.instance.number} is a test run's")
    if cluster.is_running():
        print(f"cluster: it is up; KUBECONFIG={cluster.kubeconfig}")
        return
    cluster.down()
    instance = claim(cluster.instance.number, remove)
    try:
        took_s = cluster.up(nfs_nodes)
    except BaseException:
        cluster.down()
        raise
    instance.disown()
    print(f"cluster: up in {took_s:.1f} s; KUBECONFIG={cluster.kubeconfig}")
    for image in cluster.images.values():
        print(f"cluster: image {image.tagged}")
    if nfs_nodes:
        words = " ".join(f"{name}={value}" for name, value in NFS_SETTINGS.items())
        print(f"cluster: workers get to the nodes that can mount NFS with: export {words}")


def _status(cluster: Cluster) -> int:
    names = cluster.daemons.names()
    if not names:
        print("cluster: down")
        return 1
    for name in names:
        found = cluster.daemons.find(name)
        print(f"{name}: {f'runs as {found.pid}' if found else 'ended'}")
    print(cluster.kubectl.run("get", "nodes,pods", "-A", "-o", "wide", check=False).stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
