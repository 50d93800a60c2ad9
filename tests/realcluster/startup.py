"""How a cluster is started: keys, network, node1 with everything in it, nodes that can mount NFS.

Nothing waits that need not: images are pushed and kernels boot while the API server comes up.
"""

import json
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.realcluster import cgroups, configs, images, uml
from tests.realcluster.api import Api
from tests.realcluster.cache import CACHE
from tests.realcluster.daemons import ClusterError, Daemons
from tests.realcluster.debian import node_disk
from tests.realcluster.instances import BASE, Instance
from tests.realcluster.pki import Authority

KUBE = CACHE / "kube"
TIMEOUT_S = 240.0

# $1: the cluster's folder, $2: the folder of all clusters. Both stay where they are below the new /var/lib.
_HOLD_NODE1 = """set -e
lib="$1/node1/lib"
mkdir -p "$lib/${2#/var/lib/}" "$1/node1/log" "$1/node1/run"
mount --rbind "$2" "$lib/${2#/var/lib/}"
mount --rbind "$lib" /var/lib
mount --bind "$1/node1/log" /var/log
mount --bind "$1/node1/run" /run
mount --make-rshared /
touch /run/held
exec sleep 2147483647
"""


@dataclass(frozen=True, slots=True)
class Startup:
    instance: Instance
    daemons: Daemons
    authority: Authority
    api: Api

    def start(self, nfs_nodes: range) -> None:
        """Start everything in an empty folder and wait until it is ready."""
        network = self.instance.network
        for folder in (self.daemons.folder, self.daemons.logs, self._folder / "node1"):
            folder.mkdir(parents=True, exist_ok=True)
        cgroups.make(self.instance.group)
        network.up()
        self._make_keys()
        self._hold_node1()
        self._component(*configs.etcd(self._folder / "etcd"))
        self._component(*configs.api_server(network, self.authority.folder))
        self._start_registry()
        self._start_containerd()
        pause = self._folder / "pause.tar"
        pause.write_bytes(images.pause(self._pause_image))
        with ThreadPoolExecutor() as pool:
            imported = pool.submit(self._import_when_up, pause)
            pushed = pool.submit(self._push_images)
            for node in nfs_nodes:
                self.start_nfs_node(node)
            self.daemons.wait(self.api.is_ready, "the API server", "kube-apiserver", TIMEOUT_S)
            self._start_controllers()
            imported.result()
            self._start_kubelet()
            self.wait_ready()
            pushed.result()
        has_account = partial(self.api.has_account, "default")
        self.daemons.wait(has_account, "the first service account", "kube-controller-manager", TIMEOUT_S)

    def wait_ready(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the API server answers and all nodes are ready."""
        self.daemons.wait(self.api.is_ready, "the API server", "kube-apiserver", timeout_s)
        for node in self.daemons.names():
            if node.startswith("node"):
                log = "kubelet" if node == "node1" else node
                self.daemons.wait(partial(self.api.is_node_ready, node), node, log, timeout_s)

    def start_nfs_node(self, number: int) -> None:
        network, name = self.instance.network, f"node{number}"
        folder = self._folder / name
        folder.mkdir()
        self._make_node_key(number)
        uml.prepare(
            network,
            number,
            folder / "config",
            pki=self.authority.folder,
            kubeconfigs=self._folder,
            kube=KUBE.resolve(),
            pause=self._folder / "pause.tar",
        )
        network.add_tap(number)
        files = {"config": folder / "config", "disk": node_disk(), "changes": folder / "disk"}
        self.daemons.start(name, [*network.inside(), *uml.command(network, number, **files)])

    def import_image(self, archive: Path) -> None:
        """Import what `docker save` wrote to node1."""
        ctr = ["ctr", f"--address={self._containerd}", "--namespace=k8s.io", "images", "import", str(archive)]
        result = subprocess.run(ctr, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ClusterError(f"ctr images import: {result.stderr.strip()}")

    @property
    def _folder(self) -> Path:
        return self.instance.folder

    @property
    def _containerd(self) -> Path:
        """The socket of node1's containerd, as seen from outside."""
        return self._folder / "node1/run/containerd/containerd.sock"

    @property
    def _pause_image(self) -> str:
        return f"{self.instance.network.registry}/pause:1"

    def _make_keys(self) -> None:
        network = self.instance.network
        self.authority.make()
        own = f"IP:{network.node_address(1)},IP:127.0.0.1,IP:{network.first_service}"
        service = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
        self.authority.issue("apiserver", "/CN=kube-apiserver", f"{own},{service}")
        subjects = {
            "admin": "/O=system:masters/CN=admin",
            "controller-manager": "/CN=system:kube-controller-manager",
            "scheduler": "/CN=system:kube-scheduler",
            "proxy": "/CN=system:kube-proxy",
        }
        for name, subject in subjects.items():
            self.authority.issue(name, subject)
            self.authority.kubeconfig(name, self._kubeconfig(name))
        self._make_node_key(1)

    def _make_node_key(self, number: int) -> None:
        name, address = f"node{number}", self.instance.network.node_address(number)
        self.authority.issue(name, f"/O=system:nodes/CN=system:node:{name}", f"IP:{address},DNS:{name}")
        self.authority.kubeconfig(name, self._kubeconfig(name))

    def _kubeconfig(self, name: str) -> Path:
        return self._folder / f"{name}.kubeconfig"

    def _hold_node1(self) -> None:
        unshared = [*self.instance.network.inside(), "unshare", "--mount", "--propagation", "private"]
        hold = ["sh", "-c", _HOLD_NODE1, "hold", str(self._folder), str(BASE)]
        self.daemons.start("node1", [*unshared, *hold])
        self.daemons.wait((self._folder / "node1/run/held").exists, "node1", "node1", 10)

    def _component(self, *words: str) -> None:
        self._on_node1(words[0], KUBE.resolve(), *words)

    def _on_node1(self, name: str, *command: str | Path) -> None:
        holder = self.daemons.find("node1")
        if holder is None:
            raise ClusterError("node1 does not run")
        self.daemons.start(name, ["nsenter", f"--target={holder.pid}", "--net", "--mount", *command])

    def _start_registry(self) -> None:
        network = self.instance.network
        port = network.registry_port
        config = self._folder / "registry.yml"
        config.write_text(configs.registry(port, self._folder / "registry"))
        self._on_node1("registry", "docker-registry", "serve", config)
        listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"
        self.daemons.start("registry-user", ["socat", listen, f"TCP:{network.node_address(1)}:{port}"])

    def _start_containerd(self) -> None:
        cni = self._folder / "cni"
        cni.mkdir()
        (cni / "10-bridge.conflist").write_text(configs.cni(self.instance.network, 1))
        config = self._folder / "containerd.toml"
        config.write_text(configs.containerd(self._pause_image, cni))
        self._on_node1("containerd", "containerd", "--config", config)

    def _start_controllers(self) -> None:
        manager, pki = self._kubeconfig("controller-manager"), self.authority.folder
        self._component(*configs.controller_manager(self.instance.network, manager, pki))
        self._component(*configs.scheduler(self._kubeconfig("scheduler")))

    def _start_kubelet(self) -> None:
        network, pki = self.instance.network, self.authority.folder
        config = self._folder / "kubelet.json"
        config.write_text(configs.kubelet_config(network, 1, pki, f"/{self.instance.group}"))
        self._component(*configs.kubelet(network, 1, config, self._kubeconfig("node1")))
        proxy = self._folder / "proxy.json"
        proxy.write_text(configs.proxy_config(network, self._kubeconfig("proxy"), "nftables"))
        self._component(*configs.kube_proxy(1, proxy))

    def _import_when_up(self, archive: Path) -> None:
        def imports() -> bool:
            with suppress(ClusterError):
                self.import_image(archive)
                return True
            return False

        self.daemons.wait(self._containerd.exists, "containerd", "containerd", TIMEOUT_S)
        self.daemons.wait(imports, "containerd", "containerd", TIMEOUT_S)

    def _push_images(self) -> None:
        registry = self.instance.network.registry

        def answers() -> bool:
            with suppress(OSError), urllib.request.urlopen(f"http://{registry}/v2/", timeout=2):
                return True
            return False

        self.daemons.wait(answers, "the registry", "registry", TIMEOUT_S)
        pushed = images.worker_images(registry)
        noted = {name: {"tagged": image.tagged, "digest": image.digest} for name, image in pushed.items()}
        (self._folder / "images.json").write_text(json.dumps(noted, indent=1))
