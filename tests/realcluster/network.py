"""The addresses and the network of a cluster.

node1 is a network namespace, joined to this machine's own network by a pair of virtual links: this side
plays the user's machine, and cutting the link plays a user's network that fails. Each node with a kernel of
its own hangs on a tap device of that namespace. Cluster N has 10.(90+N).0.0/16 for all it needs, and
localhost:(5000+N) as its registry, by the same name on every host.
"""

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

INSTANCES = range(10)


@dataclass(frozen=True, slots=True)
class Network:
    instance: int

    @property
    def namespace(self) -> str:
        return f"womm-{self.instance}"

    @property
    def link(self) -> str:
        """The end of the pair on the user's side."""
        return f"womm{self.instance}"

    @property
    def range(self) -> str:
        return f"{self._prefix}.0.0/16"

    @property
    def user_address(self) -> str:
        return f"{self._prefix}.0.1"

    def node_address(self, node: int) -> str:
        return f"{self._prefix}.{node - 1}.2"

    def gateway(self, node: int) -> str:
        """The other end of a node's link: the user's machine for node1, node1 for the others."""
        return f"{self._prefix}.{node - 1}.1"

    def tap(self, node: int) -> str:
        return f"tap{node}"

    @property
    def pods(self) -> str:
        return f"{self._prefix}.64.0/18"

    def node_pods(self, node: int) -> str:
        return f"{self._prefix}.{64 + node}.0/24"

    @property
    def services(self) -> str:
        return f"{self._prefix}.128.0/18"

    @property
    def first_service(self) -> str:
        """The API server's address for pods."""
        return f"{self._prefix}.128.1"

    @property
    def dns(self) -> str:
        """Where pods are told to look names up. Nothing listens there: womm needs no names."""
        return f"{self._prefix}.128.10"

    @property
    def api(self) -> str:
        return f"https://{self.node_address(1)}:6443"

    @property
    def registry_port(self) -> int:
        return 5000 + self.instance

    @property
    def registry(self) -> str:
        return f"localhost:{self.registry_port}"

    @property
    def _prefix(self) -> str:
        return f"10.{90 + self.instance}"

    def inside(self) -> list[str]:
        """Return the words that run a command in node1's network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def up(self) -> None:
        """Make the namespace and the links between node1 and the user's machine."""
        _ip("netns", "add", self.namespace)
        _ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _ip("addr", "add", f"{self.user_address}/24", "dev", self.link)
        _ip("link", "set", self.link, "up")
        self.ip("addr", "add", f"{self.node_address(1)}/24", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")
        self.ip("link", "set", "lo", "up")
        self.ip("route", "add", "default", "via", self.user_address)
        # /proc/sys/net shows the network of who looks.
        forward = "echo 1 >/proc/sys/net/ipv4/ip_forward"
        subprocess.run([*self.inside(), "sh", "-c", forward], check=True)

    def add_tap(self, node: int) -> None:
        """Make the link to a node with a kernel of its own."""
        tap = self.tap(node)
        self.ip("tuntap", "add", tap, "mode", "tap")
        self.ip("addr", "add", f"{self.gateway(node)}/24", "dev", tap)
        self.ip("link", "set", tap, "up")
        self.ip("route", "add", self.node_pods(node), "via", self.node_address(node))

    def ip(self, *words: str) -> None:
        """Run `ip` in node1's network."""
        _ip("-n", self.namespace, *words)

    def down(self) -> None:
        """Remove everything, where it is there."""
        if self.link in _links():
            _ip("link", "del", self.link)
        if self.namespace in namespaces():
            _ip("netns", "del", self.namespace)

    def is_there(self) -> bool:
        return self.link in _links() or self.namespace in namespaces()

    @contextmanager
    def cut(self, node: int) -> Iterator[None]:
        """Cut a node's link for the time being: node1's leads to the user, the others' to node1."""
        self.set_link(node, up=False)
        try:
            yield
        finally:
            self.set_link(node, up=True)

    def set_link(self, node: int, *, up: bool) -> None:
        """Cut a node's link, or mend it. What is sent over a cut link is lost, and nobody is told.

        The link itself stays up: a user-mode Linux does not survive a tap device that goes down.
        """
        device = "eth0" if node == 1 else self.tap(node)
        table = f"inet womm-cut-{node}"
        rules = f"""table {table} {{
            chain in {{ type filter hook prerouting priority -400; iifname {device} drop; }}
            chain out {{ type filter hook postrouting priority 400; oifname {device} drop; }}
        }}"""
        nft = [*self.inside(), "nft", "-f", "-"]
        subprocess.run(nft, input=f"delete table {table}" if up else rules, text=True, check=True)


def collides(network: Network) -> bool:
    """Return whether this machine has a route of its own into the range."""
    wanted = ipaddress.ip_network(network.range)
    for route in json.loads(_ip("-json", "-4", "route", "show")):
        destination = route["dst"]
        if destination != "default" and wanted.overlaps(ipaddress.ip_network(destination, strict=False)):
            return True
    return False


def namespaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line]


def _links() -> list[str]:
    return [link["ifname"] for link in json.loads(_ip("-json", "link", "show"))]


def _ip(*words: str) -> str:
    result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {result.stderr.strip()}")
    return result.stdout
