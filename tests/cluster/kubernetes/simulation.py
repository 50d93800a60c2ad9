"""Nodes that are but objects, and pods on them that say they run: many pods without a machine, as KWOK has.

    python -m tests.cluster.kubernetes.simulation --kubeconfig FILE --namespace NAME --nodes 20 --socket PATH

Nodes are called fake-0 and so on, carry the label and the taint of `POD_SPEC`, and stay ready. Pods that get
to one of them, by the scheduler or as `create` makes them, run at once; those that are deleted go. The socket
is the agent of all of them: each connection is a new one that ends its jobs at once, with exit status 0.

Commands are lines on stdin, each answered by one line of JSON on stdout; the end of stdin is its end:

    create COUNT LABEL=VALUE,...    make pods with nodes; answers with the count when all run
    remove LABEL=VALUE,...          remove pods; answers when they have gone
    times                           when each pod's status was sent: {name: seconds since the epoch}
"""

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.cluster.kubernetes.fakeagent import FakeAgent
from womm.cluster.kubernetes.client import MERGE, ApiError, KubeClient, Target
from womm.cluster.kubernetes.manifests import WORKER, Object
from womm.errors import ClusterError

_MARK: Final = "womm.test/fake"
POD_SPEC: Final = {
    "nodeSelector": {_MARK: "node"},
    "tolerations": [{"key": _MARK, "operator": "Exists"}],
}
"""What brings a pod to the nodes of the simulation, and only there."""
_NODES: Final = "/api/v1/nodes"
_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_RENEW_S: Final = 10.0
_LEASE_S: Final = 40
_AT_ONCE: Final = 8
_REMOVE_S: Final = 120.0


class Simulation:
    """The nodes and pods; `client` is an administrator of the cluster, its namespace that of the pods."""

    def __init__(self, client: KubeClient, nodes: int) -> None:
        self._client = client
        self._nodes = [f"fake-{number}" for number in range(nodes)]
        self._pods = f"/api/v1/namespaces/{client.namespace}/pods"
        self._work: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        self._settled: set[str] = set()  # uids whose status is told; those on their way out, with a mark
        self._made = 0
        self.times: dict[str, float] = {}
        """When each pod's status was sent, as seconds since the epoch."""
        self._ran = asyncio.Event()

    async def run(self) -> None:
        """Keep nodes and pods alive until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            group.create_task(self._follow())
            for _ in range(_AT_ONCE):
                group.create_task(self._serve())

    async def make_nodes(self) -> None:
        for name in self._nodes:
            await self._make_node(name)

    async def create(self, count: int, labels: dict[str, str]) -> None:
        """Make pods that have a node already; returns when all of them run."""
        numbers = iter(range(self._made, self._made + count))
        self._made += count
        names: list[str] = []

        async def make() -> None:
            for number in numbers:
                pod = _pod(number, labels, self._nodes[number % len(self._nodes)])
                names.append(pod["metadata"]["name"])
                await self._client.request("POST", self._pods, body=pod)

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(make())
        while not all(name in self.times for name in names):
            self._ran.clear()
            await self._ran.wait()

    async def remove(self, labels: str) -> None:
        """Remove pods without a moment's grace; returns when they have gone."""
        query, body = [("labelSelector", labels)], {"gracePeriodSeconds": 0}
        while (await self._client.list(self._pods, labels=labels))[0]:
            await self._client.request("DELETE", self._pods, query=query, body=body, timeout_s=_REMOVE_S)

    async def remove_nodes(self) -> None:
        """Pods that are still on them go with them."""
        for path in [f"{collection}/{name}" for name in self._nodes for collection in (_NODES, _LEASES)]:
            with suppress(ApiError):
                await self._client.request("DELETE", path)

    async def _make_node(self, name: str) -> None:
        taints = [{"key": _MARK, "value": "node", "effect": "NoSchedule"}]
        labels = {_MARK: "node", "kubernetes.io/hostname": name}
        node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        await self._client.request("POST", _NODES, body={**node, "spec": {"taints": taints}})
        room = {"cpu": "1k", "memory": "1Ti", "pods": "1k"}
        now = _now()
        ready = {"type": "Ready", "status": "True", "reason": "Simulated", "lastTransitionTime": now}
        status = {"capacity": room, "allocatable": room, "conditions": [{**ready, "lastHeartbeatTime": now}]}
        path = f"{_NODES}/{name}/status"
        await self._client.request("PATCH", path, body={"status": status}, content_type=MERGE)
        spec = {"holderIdentity": name, "leaseDurationSeconds": _LEASE_S, "renewTime": _now(micro=True)}
        lease: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}}
        await self._client.request("POST", _LEASES, body={**lease, "spec": spec})

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            for name in self._nodes:
                body = {"spec": {"renewTime": _now(micro=True)}}
                await self._client.request("PATCH", f"{_LEASES}/{name}", body=body, content_type=MERGE)

    async def _follow(self) -> None:
        version = ""
        while True:
            with suppress(ApiError):
                if not version:
                    items, version = await self._client.list(self._pods)
                    for item in items:
                        self._saw(item)
                async for kind, item in self._client.watch(self._pods, version):
                    version = item["metadata"]["resourceVersion"]
                    if kind in {"ADDED", "MODIFIED"}:
                        self._saw(item)
                continue
            version = ""

    def _saw(self, item: Object) -> None:
        metadata = item["metadata"]
        uid, leaving = metadata["uid"], "deletionTimestamp" in metadata
        mark = uid + " leaves" if leaving else uid
        if item["spec"].get("nodeName", "").startswith("fake-") and mark not in self._settled:
            self._settled.add(mark)
            self._work.put_nowait(("remove" if leaving else "run", item))

    async def _serve(self) -> None:
        while True:
            what, item = await self._work.get()
            name = item["metadata"]["name"]
            with suppress(ApiError):  # it may have gone in between
                if what == "run":
                    self.times[name] = time.time()
                    path = f"{self._pods}/{name}/status"
                    body = {"status": _running(item)}
                    await self._client.request("PATCH", path, body=body, content_type=MERGE)
                    self._ran.set()
                else:
                    how: Object = {"gracePeriodSeconds": 0}
                    how["preconditions"] = {"uid": item["metadata"]["uid"]}
                    await self._client.request("DELETE", f"{self._pods}/{name}", body=how)


def _pod(number: int, labels: dict[str, str], node: str) -> Object:
    container: Object = {"name": WORKER, "image": "none", "resources": {"requests": {"cpu": "1m"}}}
    spec: Object = {"containers": [container], "nodeName": node, "automountServiceAccountToken": False}
    spec["tolerations"] = POD_SPEC["tolerations"]
    metadata: Object = {"name": f"pod-{number}", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _running(item: Object) -> Object:
    now = _now()
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": now}},
        }
        for container in item["spec"]["containers"]
    ]
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds]
    return {"phase": "Running", "startTime": now, "conditions": conditions, "containerStatuses": containers}


def _now(*, micro: bool = False) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


async def _main(options: argparse.Namespace) -> None:
    target = Target(namespace=options.namespace, kubeconfig=str(options.kubeconfig))
    client = await KubeClient.connect(target)
    try:
        simulation = Simulation(client, options.nodes)
        await simulation.make_nodes()
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(FakeAgent, options.socket, backlog=1000)
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, lines), sys.stdin)
        running = asyncio.ensure_future(simulation.run())
        print(json.dumps(options.nodes), flush=True)
        while line := (await lines.readline()).decode().split():
            print(json.dumps(await _answer(simulation, line)), flush=True)
        server.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await simulation.remove_nodes()
    finally:
        await client.close()


async def _answer(simulation: Simulation, words: list[str]) -> Any:
    if words[0] == "create":
        labels = dict(pair.split("=", 1) for pair in words[2].split(","))
        await simulation.create(int(words[1]), labels)
        return int(words[1])
    if words[0] == "remove":
        await simulation.remove(words[1])
    return simulation.times


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.kubernetes.simulation", description=__doc__
    )
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--socket", required=True)
    try:
        asyncio.run(_main(parser.parse_args()))
    except (ClusterError, OSError) as exc:
        print(f"simulation: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
