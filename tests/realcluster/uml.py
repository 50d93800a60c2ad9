"""A node with a kernel of its own: user-mode Linux, which needs no virtualisation.

It is there for its NFS client: kubelet mounts a pod's `nfs:` volumes with the kernel of the node, and this
machine's may have none. Pods of one node share one client and its caches, so tests of sharing want two
nodes. It is one slow core; it has control groups of version 2, whatever this machine has. Its disk is the
one in the cache, with what it writes in a file of its own; its configuration and programs are a folder of
this machine (hostfs).
"""

import shutil
from pathlib import Path

from tests import usermode
from tests.realcluster import configs
from tests.realcluster.network import Network

MEMORY = "1G"
_CONFIG = Path("/etc/womm")

_INIT = """#!/bin/bash
exec >/dev/console 2>&1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp; mount -t cgroup2 cgroup /sys/fs/cgroup
mount --make-rshared /; hostname {name}
# kubelet insists on a clock speed.
(cat /proc/cpuinfo; echo "cpu MHz : 2000.000") >/run/cpuinfo; mount --bind /run/cpuinfo /proc/cpuinfo
modprobe -a overlay veth bridge br_netfilter nfs nfsv4 ip_tables iptable_nat iptable_filter iptable_mangle \\
  xt_comment xt_conntrack xt_MASQUERADE xt_statistic xt_mark xt_nat xt_addrtype xt_multiport nf_conntrack
update-alternatives --set iptables /usr/sbin/iptables-legacy >/dev/null
update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy >/dev/null
ip link set lo up; ip addr add {address}/24 dev vec0; ip link set vec0 up; ip route add default via {gateway}
echo 1 >/proc/sys/net/ipv4/ip_forward
socat TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr TCP:{gateway}:{port} &
containerd --config /etc/womm/containerd.toml &
until ctr -n k8s.io images import /etc/womm/pause.tar >/dev/null 2>&1; do sleep 0.2; done
/etc/womm/kube {proxy} &
/etc/womm/kube {kubelet} &
wait
"""


def prepare(
    network: Network, node: int, folder: Path, *, pki: Path, kubeconfigs: Path, kube: Path, pause: Path
) -> None:
    """Write what the node finds as /etc/womm."""
    name = f"node{node}"
    folder.mkdir()
    for file in (pki / "ca.crt", pki / f"{name}.crt", pki / f"{name}.key", pause):
        shutil.copy(file, folder)
    for file in (kubeconfigs / f"{name}.kubeconfig", kubeconfigs / "proxy.kubeconfig"):
        shutil.copy(file, folder)
    # A link, or a copy where the cache is on another file system.
    try:
        (folder / "kube").hardlink_to(kube)
    except OSError:
        shutil.copy(kube, folder / "kube")
    (folder / "kubelet.json").write_text(configs.kubelet_config(network, node, _CONFIG, "/"))
    (folder / "proxy.json").write_text(
        configs.proxy_config(network, _CONFIG / "proxy.kubeconfig", "iptables")
    )
    (folder / "10-bridge.conflist").write_text(configs.cni(network, node))
    (folder / "containerd.toml").write_text(configs.containerd(f"{network.registry}/pause:1", _CONFIG))
    kubelet = configs.kubelet(network, node, _CONFIG / "kubelet.json", _CONFIG / f"{name}.kubeconfig")
    init = folder / "init"
    init.write_text(
        _INIT.format(
            name=name,
            address=network.node_address(node),
            gateway=network.gateway(node),
            port=network.registry_port,
            proxy=" ".join(configs.kube_proxy(node, _CONFIG / "proxy.json")),
            kubelet=" ".join(kubelet),
        )
    )
    init.chmod(0o755)


def command(network: Network, node: int, *, config: Path, disk: Path, changes: Path) -> list[str]:
    """Return the words that start the node; `changes` is the file for what it writes."""
    return [
        *usermode.words(),
        f"mem={MEMORY}",
        f"umid={network.namespace}-{node}",
        f"ubd0={changes},{disk}",
        "root=/dev/ubda",
        "rw",
        "init=/sbin/womm-init",
        f"hostfs={config}",  # the one folder of this machine that root in it can mount
        f"vec0:transport=tap,ifname={network.tap(node)},depth=128,gro=1",
        "con=null",
        "con0=fd:0,fd:1",
    ]
