"""The objects of a share as data."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_contract import SPEC
from tests.cluster.kubernetes.test_manifests import ROOT, TEMPLATE, spec
from womm.cluster.base import ProgramsSpec, ServerSpec, ShareSpec, TaskSpec
from womm.cluster.kubernetes import manifests, share_manifests
from womm.cluster.kubernetes.advice import advice_for, readable
from womm.cluster.kubernetes.manifests import Object

IMAGE = "registry/files@sha256:2"
EXPORT = "0123456789abcdef" * 2


def share(**changes: Any) -> ShareSpec:
    values: dict[str, Any] = {
        "kind": "lazy",
        "folder": Path("/home/au drey/proj"),
        "secret": {"host_key.pub": b"ssh-ed25519 x", "client_key": b"\x00key", "export": EXPORT.encode()},
        "cache_bytes": 1 << 30,
    }
    return ShareSpec(**{**values, **changes})


def task(shared: ShareSpec | None = None, programs: ProgramsSpec | None = None) -> TaskSpec:
    """A task with these in pods, and a file server for them."""
    return replace(SPEC, task="abcdefgh", share=shared, server=ServerSpec(IMAGE), programs=programs)


def server_pod(template: Any = None, **changes: Any) -> tuple[Object, Object]:
    made = share_manifests.file_server(spec(template=template or {}), task(share(**changes)), ROOT)
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def test_everything_of_a_share_goes_with_the_root() -> None:
    made = [
        share_manifests.secret(spec(), task(share()), ROOT),
        share_manifests.service(spec(), ROOT),
        share_manifests.file_server(spec(), task(share()), ROOT),
    ]
    for item in made:
        assert item["metadata"]["ownerReferences"][0]["uid"] == "u-1"
        assert item["metadata"]["labels"]["womm/task"] == "abcdefgh"
        assert item["metadata"]["labels"]["app.kubernetes.io/component"] == "fileserver"
    names = {item["kind"]: item["metadata"]["name"] for item in made}
    assert names["Secret"] == names["Service"] == "womm-task-abcdefgh"
    assert names["Deployment"] not in (names["Service"], manifests.workers(spec(), ROOT)["metadata"]["name"])


def test_secret_holds_the_bytes_and_the_share_does_not_show_them() -> None:
    data = share_manifests.secret(spec(), task(share()), ROOT)["data"]
    assert base64.b64decode(data["client_key"]) == b"\x00key"
    assert set(data) == {"host_key.pub", "client_key", "export"}
    assert EXPORT not in repr(share())
    assert "key" not in repr(share())
    deployment = share_manifests.file_server(spec(), task(share()), ROOT)
    assert EXPORT not in json.dumps([deployment, share_manifests.service(spec(), ROOT)])


def test_service_leads_to_the_one_file_server_also_when_it_is_not_ready() -> None:
    service = share_manifests.service(spec(), ROOT)["spec"]
    template = share_manifests.file_server(spec(), task(share()), ROOT)["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert service["publishNotReadyAddresses"] is True
    assert service["ports"][0]["port"] == 2049
    workers = manifests.workers(spec(), ROOT)["spec"]["template"]["metadata"]["labels"]
    assert not service["selector"].items() <= workers.items()


def test_file_server_is_one_without_any_rights_and_with_time_to_end() -> None:
    deployment = share_manifests.file_server(spec(), task(share()), ROOT)["spec"]
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


def test_file_server_is_of_the_image_by_its_digest_once_that_is_known() -> None:
    made = replace(task(share()), server=ServerSpec(IMAGE, by_digest="known@sha256:00"))
    (container,) = share_manifests.file_server(spec(), made, ROOT)["spec"]["template"]["spec"]["containers"]
    assert (container["image"], share_manifests.server_image(made)) == ("known@sha256:00", IMAGE)


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
