"""What each component of a cluster is told. Nothing here reads or writes: it is all texts and words."""

import json
from pathlib import Path
from typing import Any

from tests.realcluster.network import Network

TAINT = {"key": "womm.test/nfs", "value": "only", "effect": "NoSchedule"}
"""Of the nodes that can mount NFS: each is one slow core, so only pods that ask for them get there."""
NFS_LABEL = f"{TAINT['key']}={TAINT['value']}"
"""Of the same nodes."""
NFS_SETTINGS = {"WOMM_NODE_SELECTOR": NFS_LABEL, "WOMM_TOLERATIONS": TAINT["key"]}
"""With these in the environment womm's workers are on such a node."""

ETCD = "http://127.0.0.1:2379"
CONTAINERD = "/run/containerd/containerd.sock"


def etcd(data: Path) -> list[str]:
    urls = [f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"]
    peers = ["--listen-peer-urls=http://127.0.0.1:2380"]
    # Its data is worth nothing after a crash: no waiting for the disk.
    return ["etcd", f"--data-dir={data}", *urls, *peers, "--unsafe-no-fsync", "--log-level=warn"]


def api_server(network: Network, pki: Path) -> list[str]:
    return [
        "kube-apiserver",
        f"--etcd-servers={ETCD}",
        f"--advertise-address={network.node_address(1)}",
        f"--service-cluster-ip-range={network.services}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.key",
        f"--service-account-signing-key-file={pki}/sa.key",
    ]


def controller_manager(network: Network, kubeconfig: Path, pki: Path) -> list[str]:
    return [
        "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--cluster-cidr={network.pods}",
        "--allocate-node-cidrs=false",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
    ]


def scheduler(kubeconfig: Path) -> list[str]:
    return ["kube-scheduler", f"--kubeconfig={kubeconfig}", "--leader-elect=false"]


def kubelet(network: Network, node: int, config: Path, kubeconfig: Path) -> list[str]:
    return [
        "kubelet",
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override=node{node}",
        f"--node-ip={network.node_address(node)}",
        *([f"--node-labels={NFS_LABEL}"] if node != 1 else []),
    ]


def kube_proxy(node: int, config: Path) -> list[str]:
    return ["kube-proxy", f"--config={config}", f"--hostname-override=node{node}"]


def kubelet_config(network: Network, node: int, pki: Path, cgroup: str) -> str:
    """`cgroup` is the group that kubelet puts pods below."""
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node_address(node),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/node{node}.crt",
        "tlsPrivateKeyFile": f"{pki}/node{node}.key",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "resolvConf": "",
        "clusterDNS": [network.dns],
        "clusterDomain": "cluster.local",
        "maxPods": 250,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
    }
    if node != 1:
        config["registerWithTaints"] = [TAINT]
    return json.dumps(config, indent=1)


def proxy_config(network: Network, kubeconfig: Path, mode: str) -> str:
    # The limits of conntrack belong to the machine, not to a namespace: they stay as they are.
    conntrack = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": network.pods,
        "mode": mode,
        "conntrack": conntrack,
    }
    return json.dumps(config, indent=1)


def cni(network: Network, node: int) -> str:
    """Pods of a node hang on a bridge of their own; other nodes' pods are reached by routes."""
    ranges = [[{"subnet": network.node_pods(node)}]]
    addresses = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}, indent=1)


def containerd(pause_image: str, cni_folder: Path) -> str:
    return f"""version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true  # lowering it needs CAP_SYS_RESOURCE, which a root in a sandbox may lack
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni_folder}"
"""


def registry(port: int, storage: Path) -> str:
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "http": {"addr": f":{port}"},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
    }
    return json.dumps(config)
