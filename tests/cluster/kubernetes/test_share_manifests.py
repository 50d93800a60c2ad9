"""The objects of a share as data, what is told of its file server, and the way to its socket."""

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubernetes.test_manifests import ROOT, TEMPLATE, spec
from tests.link.wires import run
from womm.cluster.base import ShareSpec
from womm.cluster.kubernetes import manifests, share_manifests
from womm.cluster.kubernetes.advice import advice_for, readable
from womm.cluster.kubernetes.channel import ExecTransport
from womm.cluster.kubernetes.manifests import Object
from womm.cluster.kubernetes.server import GREETING, FileServerPods, greeted
from womm.errors import ShareError

EXPORT = "0123456789abcdef" * 2


def share(**changes: Any) -> ShareSpec:
    values: dict[str, Any] = {
        "kind": "lazy",
        "folder": Path("/home/au drey/proj"),
        "image": "registry/files@sha256:2",
        "secret": {"host_key.pub": b"ssh-ed25519 x", "client_key": b"\x00key", "export": EXPORT.encode()},
        "cache_bytes": 1 << 30,
    }
    return ShareSpec(**{**values, **changes})


def server_pod(template: Any = None, **changes: Any) -> tuple[Object, Object]:
    made = share_manifests.file_server(spec(template=template or {}), share(**changes), ROOT)
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def test_everything_of_a_share_goes_with_the_root() -> None:
    made = [
        share_manifests.secret(spec(), share(), ROOT),
        share_manifests.service(spec(), ROOT),
        share_manifests.file_server(spec(), share(), ROOT),
    ]
    for item in made:
        assert item["metadata"]["ownerReferences"][0]["uid"] == "u-1"
        assert item["metadata"]["labels"]["womm/task"] == "abcdefgh"
        assert item["metadata"]["labels"]["app.kubernetes.io/component"] == "fileserver"
    names = {item["kind"]: item["metadata"]["name"] for item in made}
    assert names["Secret"] == names["Service"] == "womm-task-abcdefgh"
    assert names["Deployment"] not in (names["Service"], manifests.workers(spec(), ROOT)["metadata"]["name"])


def test_secret_holds_the_bytes_and_the_share_does_not_show_them() -> None:
    data = share_manifests.secret(spec(), share(), ROOT)["data"]
    assert base64.b64decode(data["client_key"]) == b"\x00key"
    assert set(data) == {"host_key.pub", "client_key", "export"}
    assert EXPORT not in repr(share())
    assert "key" not in repr(share())
    deployment = share_manifests.file_server(spec(), share(), ROOT)
    assert EXPORT not in json.dumps([deployment, share_manifests.service(spec(), ROOT)])


def test_service_leads_to_the_one_file_server_also_when_it_is_not_ready() -> None:
    service = share_manifests.service(spec(), ROOT)["spec"]
    template = share_manifests.file_server(spec(), share(), ROOT)["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert service["publishNotReadyAddresses"] is True
    assert service["ports"][0]["port"] == 2049
    workers = manifests.workers(spec(), ROOT)["spec"]["template"]["metadata"]["labels"]
    assert not service["selector"].items() <= workers.items()


def test_file_server_is_one_without_any_rights_and_with_time_to_end() -> None:
    deployment = share_manifests.file_server(spec(), share(), ROOT)["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    pod, container = server_pod()
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["terminationGracePeriodSeconds"] == 60
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/womm/bin", "/womm/run", "/womm/secret", "/womm/state", "/womm/cache"} <= mounted
    assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_lazy_file_server_has_a_cache_of_its_size_and_room_beside() -> None:
    pod, container = server_pod(cache_bytes=1000, read_only=True)
    assert "--lazy /womm/run/share --cache /womm/cache --cache-bytes 1000" in " ".join(container["args"])
    assert container["args"][-1] == "--read-only"
    assert server_pod(TEMPLATE)[1]["args"][-2:] == ["--uid", "5"]
    (limit,) = [v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if v["name"] == "womm-cache"]
    assert int(limit) > 1000


@pytest.mark.parametrize(
    ("claim", "source"),
    [("", {"emptyDir": {}}), ("data", {"persistentVolumeClaim": {"claimName": "data"}})],
)
def test_eager_file_server_has_a_store(claim: str, source: Object) -> None:
    pod, container = server_pod(kind="eager-syncback", claim=claim, store="abc" if claim else "")
    words = " ".join(container["args"])
    assert "--lazy" not in words
    assert ("--local /womm/store/abc" if claim else "--local /womm/store") in words
    assert {"name": "womm-store", **source} in pod["volumes"]


def test_file_server_takes_of_a_template_what_holds_for_any_pod() -> None:
    selector = {"gpu": "yes", "kubernetes.io/arch": "arm64"}
    template = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "nodeSelector": selector}}
    pod, container = server_pod(template)
    assert pod["tolerations"] == TEMPLATE["spec"]["tolerations"]
    assert pod["priorityClassName"] == "low"
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    assert container["image"] == "registry/files@sha256:2"
    assert "/data" not in json.dumps(pod)


def test_workers_mount_the_export_by_address_at_the_folder_and_start_in_theirs() -> None:
    template = manifests.workers(spec(template=TEMPLATE), ROOT)["spec"]["template"]
    before = json.dumps(template)
    pod = share_manifests.mounted(
        template, share_manifests.Mount("10.1.2.3", share(), "/home/au drey/proj/sub")
    )
    assert json.dumps(template) == before
    (volume,) = [v for v in pod["spec"]["volumes"] if "nfs" in v]
    assert volume["nfs"] == {"server": "10.1.2.3", "path": f"/womm-{EXPORT}", "readOnly": False}
    worker, sidecar = pod["spec"]["containers"]
    assert {"name": volume["name"], "mountPath": "/home/au drey/proj", "readOnly": False} in worker[
        "volumeMounts"
    ]
    assert worker["workingDir"] == "/home/au drey/proj/sub"
    assert "workingDir" not in sidecar


def test_words_of_the_cluster_lose_the_exports_path() -> None:
    told = f"mount.nfs: access denied by server while mounting 10.1.2.3:/womm-{EXPORT}"
    assert readable(told) == "mount.nfs: access denied by server while mounting 10.1.2.3:/womm-..."
    assert advice_for(["file server: ImagePullBackOff (not found)"]).startswith("check the image")


# ---- which pod it is in


def pod(name: str, **status: Any) -> Object:
    running = {"name": "fileserver", "restartCount": 0, "state": {"running": {}}}
    made = {"phase": "Running", "containerStatuses": [running], **status}
    return {"metadata": {"name": name}, "spec": {"nodeName": "n"}, "status": made}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def test_file_server_is_ready_when_its_pod_says_so() -> None:
    async def main() -> None:
        server = FileServerPods()
        assert server.reasons() == {"starting": ""}
        waiting = {"name": "fileserver", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}
        server.apply(pod("a", phase="Pending", containerStatuses=[waiting]))
        assert server.reasons() == {"ImagePullBackOff": "no"}
        server.apply(pod("a"))
        assert (server.pod, server.is_ready) == ("a", False)
        ready = asyncio.ensure_future(server.until_ready())
        await asyncio.sleep(0)
        assert not ready.done()
        server.apply(pod("a", **READY))
        await ready
        assert server.reasons() == {}

    run(main())


def test_file_server_that_is_replaced_is_the_new_pod() -> None:
    async def main() -> None:
        server = FileServerPods()
        server.apply(pod("a", **READY))
        server.apply(leaving("a"))
        assert not server.is_ready
        server.remove("a")
        found = asyncio.ensure_future(server.live_pod())
        await asyncio.sleep(0)
        assert not found.done()
        server.replace([pod("b")])
        assert await found == "b"

    run(main())


def leaving(name: str) -> dict[str, Any]:
    found = pod(name, **READY)
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return found


def test_file_server_that_moves_is_told_and_its_disk_asked_for_once_it_is_alone() -> None:
    async def main() -> None:
        server = FileServerPods()
        moves: list[tuple[str | None, bool]] = []
        server.when_it_moves(lambda goes: moves.append((server.staying, goes)))
        server.apply(pod("a", **READY))
        assert moves == []  # the first one
        server.apply(leaving("a"))
        assert moves == [(None, True)]
        alone = asyncio.ensure_future(server.live_pod(alone=True))
        await asyncio.sleep(0)
        assert not alone.done()
        assert await server.oldest_pod() == "a"
        server.apply(pod("b", **READY))
        assert moves == [(None, True), ("b", False)]
        assert (await server.live_pod(), await server.oldest_pod()) == ("b", "a")
        await asyncio.sleep(0)
        assert not alone.done()  # clients are still with the other one
        server.remove("a")
        assert await alone == "b"
        again = {"name": "fileserver", "restartCount": 1, "state": {"running": {}}}
        server.apply(pod("b", **READY, containerStatuses=[again]))
        assert len(moves) == 2  # its disk is still there
        server.replace([pod("c")])
        assert moves[2:] == [("c", False)]

    run(main())


def test_file_server_that_was_removed_is_not_waited_for() -> None:
    async def main() -> None:
        server = FileServerPods()
        server.apply(pod("a", **READY))
        server.deployment_gone("removed by somebody")
        assert await server.live_pod() == "a"
        server.remove("a")
        with pytest.raises(ShareError, match="the file server is removed by somebody"):
            await server.live_pod()

    run(main())


# ---- the way to its socket


class Socket:
    """What an exec brings, as a websocket: stdout in pieces, then nothing until it is closed."""

    def __init__(self, *pieces: bytes, ends: bool = False) -> None:
        self._pieces = list(pieces)
        self._ends = ends
        self._response = io.BytesIO()  # something to close

    def __aiter__(self) -> "Socket":
        return self

    async def __anext__(self) -> Any:
        import aiohttp

        if self._pieces:
            return aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"\x01" + self._pieces.pop(0), None)
        if self._ends:
            raise StopAsyncIteration
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


class Heard(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


@pytest.mark.parametrize(
    "pieces", [[GREETING + b"SSH"], [GREETING, b"SSH"], [GREETING[:3], GREETING[3:] + b"S", b"SH"]]
)
def test_dial_hands_over_what_follows_the_greeting(pieces: list[bytes]) -> None:
    async def main() -> None:
        async def bridge(factory: Any) -> object:
            socket: Any = Socket(*pieces)
            return ExecTransport(socket, factory())

        transport = await greeted(bridge, Heard)
        protocol = transport._protocol
        assert isinstance(protocol, Heard)
        while protocol.data != b"SSH":
            await asyncio.sleep(0.001)
        transport.abort()
        await asyncio.sleep(0.01)

    run(main())


def test_dial_of_a_bridge_that_finds_no_socket_fails_as_a_connection_does() -> None:
    async def main() -> None:
        for pieces in ([], [b"hello"]):

            async def bridge(factory: Any, pieces: list[bytes] = pieces) -> object:
                socket: Any = Socket(*pieces, ends=True)
                return ExecTransport(socket, factory())

            with pytest.raises(OSError, match="bridge"):
                await greeted(bridge, Heard)
        await asyncio.sleep(0.01)

    run(main())
