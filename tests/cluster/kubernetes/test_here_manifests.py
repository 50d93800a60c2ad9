"""Workers that see this machine's programs, as data."""

import base64
import json
from typing import Any

from tests.cluster.kubernetes.test_manifests import ROOT, TEMPLATE, spec
from tests.cluster.kubernetes.test_share_manifests import share, task
from womm.cluster.base import ProgramMount, ProgramsSpec
from womm.cluster.kubernetes import manifests, share_manifests
from womm.cluster.kubernetes.here_manifests import served, with_programs

DIGITS = "fedcba9876543210" * 2
MOUNTS = (("/bin", "/usr/bin"), ("/etc", "/etc"), ("/opt/x y", "/opt/x y"), ("/usr", "/usr"))


def programs(**changes: Any) -> ProgramsSpec:
    values: dict[str, Any] = {
        "mounts": tuple(ProgramMount(*mount) for mount in MOUNTS),
        "secret": {"client_key": b"\x00key", "export": DIGITS.encode()},
        "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        "perl": "/usr/bin/perl5",
        "cache_bytes": 1 << 20,
        "machine": "amd64",
    }
    return ProgramsSpec(**{**values, **changes})


def worker(template: Any = None, **changes: Any) -> tuple[Any, Any]:
    """A worker's pod with programs, and its container."""
    pod = manifests.worker_pod(spec(template=template or {}))
    made = with_programs(pod, "10.1.2.3", programs(**changes))["spec"]
    return made, made["containers"][0]


def variables(container: Any) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def test_programs_are_one_volume_whose_folders_are_at_their_own_paths() -> None:
    pod, container = worker()
    (volume,) = [volume for volume in pod["volumes"] if "nfs" in volume]
    assert volume["nfs"] == {"server": "10.1.2.3", "path": f"/womm-{DIGITS}", "readOnly": True}
    mounted = [mount for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
    assert [(mount["mountPath"], "/" + mount["subPath"]) for mount in mounted] == list(MOUNTS)
    assert all(mount["readOnly"] for mount in mounted)
    assert {"/tmp", "/var/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= {v["name"] for v in pod["volumes"]}


def test_homes_that_hold_a_mount_are_folders_that_any_user_may_enter() -> None:
    roots = ("/root/.pyenv/versions/3", "/home/me/.cargo", "/home/me/x", "/homes/y", "/opt/home/z")
    pod = manifests.worker_pod(spec())
    mounts = tuple(ProgramMount(root, root) for root in roots)
    made = served(pod, "10.1.2.3", task(share(), programs(mounts=mounts)))["spec"]
    empty = {volume["name"] for volume in made["volumes"] if "emptyDir" in volume} - {"womm-run"}
    paths = {m["mountPath"] for m in made["containers"][0]["volumeMounts"] if m["name"] in empty}
    assert paths == {"/tmp", "/var/tmp", "/root", "/home/me", "/home/au drey"}


def test_agent_runs_by_this_machines_perl_and_on_nodes_like_this_machine() -> None:
    pod, container = worker()
    assert container["command"][:2] == ["/usr/bin/perl5", "/womm/bin/agent.pl"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert "nodeSelector" not in worker(machine="")[0]


def test_variables_that_the_template_or_womm_sets_stay() -> None:
    given = {"spec": {"containers": [{"name": "worker", "env": [{"name": "LANG", "value": "de"}]}]}}
    env = {"PATH": "/usr/bin", "LANG": "C", "WOMM_TASK": "other", "PS1": "$(pwd) $$ $HOME"}
    container = worker(given, env=env)[1]
    names = [variable["name"] for variable in container["env"]]
    assert len(set(names)) == len(names)
    found = variables(container)
    assert (found["LANG"], found["WOMM_TASK"], found["PATH"]) == ("de", "abcdefgh", "/usr/bin")
    # Kubernetes makes $(pwd) of it, and no variable's value; and $ of each $$.
    assert found["PS1"] == "$$(pwd) $$$$ $$HOME"


def test_variables_of_the_template_are_not_replaced_by_those_kept_for_jobs() -> None:
    given = {"spec": {"containers": [{"name": "worker", "env": [{"name": "PERL5LIB", "value": "/theirs"}]}]}}
    env = {"PATH": "/usr/bin", "WOMM_KEPT_PERL5LIB": "/mine", "WOMM_KEPT_LD_LIBRARY_PATH": "/l"}
    found = variables(worker(given, env=env)[1])
    assert found["PERL5LIB"] == "/theirs" and "WOMM_KEPT_PERL5LIB" not in found
    assert found["WOMM_KEPT_LD_LIBRARY_PATH"] == "/l"


def test_a_folder_of_the_programs_at_a_scratch_folder_is_mounted_once() -> None:
    _, container = worker(mounts=(*(ProgramMount(*mount) for mount in MOUNTS), ProgramMount("/tmp", "/tmp")))
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(set(paths)) == len(paths)


def test_paths_and_node_selector_of_the_template_stay() -> None:
    mount = {"name": "theirs", "mountPath": "/tmp"}
    other = {"name": "theirs", "mountPath": "/etc"}
    given = {
        "spec": {
            "containers": [{"name": "worker", "volumeMounts": [mount, other]}],
            "volumes": [{"name": "theirs", "emptyDir": {}}],
            "nodeSelector": {"kubernetes.io/arch": "arm64", "disk": "fast"},
        }
    }
    pod, container = worker(given)
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(set(paths)) == len(paths)
    assert mount in container["volumeMounts"] and other in container["volumeMounts"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64", "disk": "fast"}


def test_share_and_programs_are_two_exports_of_one_server() -> None:
    pod = manifests.worker_pod(spec(template=TEMPLATE))
    made = served(pod, "10.1.2.3", task(share(), programs()))["spec"]
    exports = [volume["nfs"]["path"] for volume in made["volumes"] if "nfs" in volume]
    assert exports == [share().export, programs().export]
    assert served(pod, "10.1.2.3", task()) == pod


def test_file_server_has_the_programs_secret_and_cache_beside_the_shares() -> None:
    shared = task(share(), programs())
    data = share_manifests.secret(spec(), shared, ROOT)["data"]
    assert base64.b64decode(data["programs.export"]) == DIGITS.encode()
    assert base64.b64decode(data["export"]) == share().secret["export"]
    deployment = share_manifests.file_server(spec(), shared, ROOT)
    assert DIGITS not in json.dumps(deployment)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    line = " ".join(container["args"])
    assert "--programs /womm/run/programs --programs-secret /womm/programs-secret" in line
    assert f"--programs-cache /womm/programs-cache --programs-cache-bytes {1 << 20}" in line
    assert "--lazy /womm/run/share" in line
    keys = {volume["name"]: volume["secret"]["items"] for volume in pod["volumes"] if "secret" in volume}
    assert {"key": "programs.export", "path": "export"} in keys["womm-programs-secret"]
    assert {item["key"] for item in keys["womm-secret"]} == set(share().secret)
    (limit,) = [v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if v["name"] == "womm-programs-cache"]
    assert int(limit) > 1 << 20


def test_file_server_of_programs_alone_has_nothing_of_a_share() -> None:
    deployment = share_manifests.file_server(spec(), task(programs=programs()), ROOT)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert not {"--secret", "--lazy", "--local", "--cache"} & set(container["args"])
    assert not {"womm-secret", "womm-cache", "womm-store"} & {volume["name"] for volume in pod["volumes"]}
    assert set(share_manifests.secret(spec(), task(programs=programs()), ROOT)["data"]) == {
        "programs.client_key",
        "programs.export",
    }


def test_export_of_programs_is_not_shown() -> None:
    assert DIGITS not in repr(programs()) and "key" not in repr(programs())
