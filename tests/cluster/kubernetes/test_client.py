"""Requests, lists and watches of a real API server, with the credentials that users have."""

import asyncio
import base64
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kubernetes.proxy import proxied
from tests.conftest import Home
from tests.faults.tasks import environment
from tests.loop import run
from tests.realcluster.fixtures import KubeCluster
from womm.cluster.kubernetes.client import ApiError, KubeClient, Target
from womm.errors import ClusterError

pytestmark = pytest.mark.slow


def asked(target: Target, place: Path, work: Callable[[KubeClient], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        client = await KubeClient.connect(target, place)
        try:
            return await work(client)
        finally:
            await client.close()

    result = run(main())
    assert not list(place.glob("womm-kube-*"))
    return result


async def version(client: KubeClient) -> str:
    return str((await client.request("GET", "/version"))["gitVersion"])


async def user(client: KubeClient) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
    return str(answer["status"]["userInfo"]["username"])


def admin(kube: KubeCluster) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(kube.kubeconfig.read_text())
    return loaded


def written(path: Path, config: Any) -> Path:
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def renamed(config: dict[str, Any], context: str, namespace: str = "") -> dict[str, Any]:
    """The same cluster and user under another context."""
    (named,) = config["contexts"]
    inner = {**named["context"], **({"namespace": namespace} if namespace else {})}
    return {**config, "contexts": [{"name": context, "context": inner}], "current-context": context}


# ---- which cluster


def test_current_context_is_the_first_files_and_others_are_found_by_name(
    kube_cluster: KubeCluster, womm_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As kubectl has it; the official client takes the last one's."""
    config = admin(kube_cluster)
    first = written(tmp_path / "first", renamed(config, "one", "place-one"))
    second = written(tmp_path / "second", renamed(config, "two"))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{first}:{second}")
    place = womm_home.runtime

    async def where(client: KubeClient) -> tuple[str, str]:
        assert await version(client)
        return client.context, client.namespace

    assert asked(Target(), place, where) == ("one", "place-one")
    assert asked(Target(context="two"), place, where) == ("two", "default")
    assert asked(Target(context="two", namespace="mine"), place, where) == ("two", "mine")
    assert asked(Target(kubeconfig=str(second)), place, where) == ("two", "default")
    with pytest.raises(ClusterError, match="no context 'three'") as caught:
        asked(Target(context="three"), place, where)
    assert caught.value.hint == "kubectl config get-contexts"


def test_default_kubeconfig_is_that_of_the_home_folder(kube_cluster: KubeCluster, womm_home: Home) -> None:
    (womm_home.home / ".kube").mkdir()
    written(womm_home.home / ".kube/config", admin(kube_cluster))
    assert asked(Target(), womm_home.runtime, user) == "admin"


def test_no_kubeconfig_at_all_is_said(womm_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(ClusterError, match="no cluster is configured"):
        asked(Target(), womm_home.runtime, version)
    with pytest.raises(ClusterError, match="there is no kubeconfig /no/such"):
        asked(Target(kubeconfig="/no/such"), womm_home.runtime, version)


SECRET = "c2VjcmV0LXRva2Vu"
BROKEN: dict[str, Any] = {
    "empty": "",
    "not YAML": "clusters: [",
    "a list": "- 1\n",
    "no clusters": {"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "c"}}]},
    "no current context": {"contexts": [], "clusters": [], "users": []},
    "contexts are text": {"current-context": "a", "contexts": "a"},
    "keys are not base64": {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"client-certificate-data": "%", "client-key-data": SECRET}}],
    },
    "keys are no keys": {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"client-certificate-data": SECRET, "client-key-data": SECRET}}],
    },
    "plugin without a version": {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": {"command": "true"}, "password": SECRET}}],
    },
    "login without a client": {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [
            {
                "name": "u",
                "user": {"auth-provider": {"name": "oidc", "config": {"refresh-token": SECRET}}},
            }
        ],
    },
}


@pytest.mark.parametrize("config", BROKEN.values(), ids=list(BROKEN))
def test_broken_kubeconfig_is_one_clear_line_without_secrets(
    womm_home: Home, tmp_path: Path, config: Any
) -> None:
    path = written(tmp_path / "kubeconfig", config)
    with pytest.raises(ClusterError) as caught:
        asked(Target(kubeconfig=str(path)), womm_home.runtime, version)
    assert "kubeconfig" in caught.value.message or "context a" in caught.value.message
    assert "\n" not in caught.value.message
    assert SECRET not in caught.value.message
    assert "secret" not in caught.value.message


def test_unreadable_kubeconfig_is_said(womm_home: Home, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="Is a directory"):
        asked(Target(kubeconfig=str(tmp_path)), womm_home.runtime, version)


def test_keys_are_files_that_nobody_else_reads_and_two_clients_have_their_own(
    kube_cluster: KubeCluster, womm_home: Home
) -> None:
    target = Target(kubeconfig=str(kube_cluster.kubeconfig))

    async def both(first: KubeClient) -> None:
        second = await KubeClient.connect(target, womm_home.runtime)
        files = [path for path in womm_home.runtime.rglob("*.pem") if path.is_file()]
        assert len(files) >= 6
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        await first.close()
        assert await version(second)
        await second.close()

    asked(target, womm_home.runtime, both)
    assert asked(target, womm_home.runtime, version)


def test_unreachable_server_is_one_clear_line(
    womm_home: Home, kube_cluster: KubeCluster, tmp_path: Path
) -> None:
    config = admin(kube_cluster)
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = written(tmp_path / "kubeconfig", config)
    with pytest.raises(ClusterError, match=r"cannot reach the cluster at https://127.0.0.1:1: ") as caught:
        asked(Target(kubeconfig=str(path)), womm_home.runtime, version)
    assert "cluster-info" in (caught.value.hint or "")


def test_server_of_another_name_is_refused_unless_it_is_told(
    womm_home: Home, kube_cluster: KubeCluster, kube_namespace: str, tmp_path: Path
) -> None:
    """For requests and for execs alike: both fail or both work."""
    kube_cluster.kubectl.run_pod(kube_namespace, "one", kube_cluster.images["worker"].pinned, "sleep", "1000")
    kube_cluster.kubectl.wait_ready(kube_namespace, "one")
    with proxied(kube_cluster.kubeconfig, tmp_path) as (proxy, _):
        config = admin(kube_cluster)
        cluster = config["clusters"][0]["cluster"]
        cluster["server"] = f"https://localhost:{proxy.port}"
        path = written(tmp_path / "kubeconfig", config)
        with pytest.raises(ClusterError, match=r"certificate|Hostname"):
            asked(Target(kubeconfig=str(path)), womm_home.runtime, version)
        cluster["tls-server-name"] = "kubernetes"
        written(path, config)

        async def both(client: KubeClient) -> bytes:
            assert await version(client)
            return await said(client, "one", "main", "echo", "heard")

        target = Target(kubeconfig=str(path), namespace=kube_namespace)
        assert asked(target, womm_home.runtime, both) == b"heard\n"


async def said(client: KubeClient, pod: str, container: str, *command: str) -> bytes:
    """What a command in a pod prints."""
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Listener(asyncio.Protocol):
        heard = b""

        def data_received(self, data: bytes) -> None:
            self.heard += data

        def connection_lost(self, exc: Exception | None) -> None:
            ended.set_result(self.heard)

    await client.exec(pod, container, command, Listener)
    return await asyncio.wait_for(ended, 60)


# ---- credentials that expire


PLUGIN = """#!/bin/sh
echo run >>{folder}/runs
[ ! -e {folder}/broken ] || {{ echo 'no ticket today' >&2; exit 3; }}
cat <<END
{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
  "status": {{"token": "$(cat {folder}/token)"}}}}
END
"""


def plugin_config(kube: KubeCluster, folder: Path) -> dict[str, Any]:
    plugin = folder / "plugin"
    plugin.write_text(PLUGIN.format(folder=folder))
    plugin.chmod(0o755)
    config = admin(kube)
    version = "client.authentication.k8s.io/v1"
    exec_ = {"apiVersion": version, "command": str(plugin), "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": exec_}
    return config


def test_credential_plugin_runs_again_when_its_token_is_refused_and_cuts_no_stream(
    womm_home: Home, kube_cluster: KubeCluster, kube_namespace: str, tmp_path: Path
) -> None:
    kubectl = kube_cluster.kubectl
    kubectl.run("create", "serviceaccount", "tester", "-n", kube_namespace)
    grant = ["rolebinding", "tester", "--clusterrole=edit", f"--serviceaccount={kube_namespace}:tester"]
    kubectl.run("create", *grant, "-n", kube_namespace)
    token = kubectl.text("create", "token", "tester", "-n", kube_namespace).strip()
    path = written(tmp_path / "kubeconfig", plugin_config(kube_cluster, tmp_path))
    (tmp_path / "token").write_text(token)
    runs = tmp_path / "runs"

    async def main(client: KubeClient) -> None:
        name = f"system:serviceaccount:{kube_namespace}:tester"
        assert await user(client) == name
        assert runs.read_text().count("run") == 1
        _, at = await client.list(f"/api/v1/namespaces/{kube_namespace}/configmaps")
        watch = client.watch(f"/api/v1/namespaces/{kube_namespace}/configmaps", at)
        # The API server forgets this one: expired, as far as the client can tell.
        client._client().configuration.api_key["BearerToken"] = "Bearer expired"
        assert await asyncio.gather(*(user(client) for _ in range(5))) == [name] * 5
        assert runs.read_text().count("run") == 2
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}}
        await client.request("POST", f"/api/v1/namespaces/{kube_namespace}/configmaps", body=made)
        kind, item = await asyncio.wait_for(anext(watch), 30)
        assert (kind, item["metadata"]["name"]) == ("ADDED", "made")
        await watch.aclose()  # type: ignore[attr-defined]
        (tmp_path / "token").write_text("no-such-token")
        client._client().configuration.api_key["BearerToken"] = "Bearer expired"
        with pytest.raises(ApiError) as caught:
            await user(client)
        assert caught.value.code == 401
        assert caught.value.hint

    asked(Target(kubeconfig=str(path), namespace=kube_namespace), womm_home.runtime, main)


def test_credential_plugin_that_fails_is_told_and_nobody_goes_on_without(
    womm_home: Home, kube_cluster: KubeCluster, tmp_path: Path
) -> None:
    config = plugin_config(kube_cluster, tmp_path)
    path = written(tmp_path / "kubeconfig", config)
    (tmp_path / "broken").touch()
    with pytest.raises(ClusterError, match=r"credential plugin .*/plugin failed: .*no ticket today"):
        asked(Target(kubeconfig=str(path)), womm_home.runtime, version)
    config["users"][0]["user"]["exec"]["command"] = "/no/such-plugin"
    config["users"][0]["user"]["exec"]["installHint"] = "get it from IT"
    written(path, config)
    with pytest.raises(ClusterError, match=r"/no/such-plugin: No such file or directory \(get it from IT\)"):
        asked(Target(kubeconfig=str(path)), womm_home.runtime, version)


def test_service_account_of_a_pod_is_used_within_a_cluster(
    kube_cluster: KubeCluster, kube_namespace: str, womm_home: Home, tmp_path: Path
) -> None:
    """Its files lie where kubelet mounts them, in a mount namespace of the test's own."""
    kubectl, config = kube_cluster.own.kubectl, admin(kube_cluster)
    token = kubectl.text("create", "token", "default", "-n", kube_namespace).strip()
    cluster = config["clusters"][0]["cluster"]
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text(token)
    (account / "namespace").write_text(kube_namespace)
    authority = cluster.get("certificate-authority")
    (account / "ca.crt").write_bytes(
        Path(authority).read_bytes() if authority else base64.b64decode(cluster["certificate-authority-data"])
    )
    program = """
import asyncio, sys
from pathlib import Path
from womm.cluster.kubernetes.client import KubeClient, Target
async def main():
    client = await KubeClient.connect(Target(), Path(sys.argv[1]))
    try:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = await client.request("POST", path, body=body)
        print(answer["status"]["userInfo"]["username"], client.namespace, repr(client.context))
    finally:
        await client.close()
asyncio.run(main())
"""
    place = "/run/secrets/kubernetes.io/serviceaccount"
    script = 'mount -t tmpfs t /run && mkdir -p "$1" && cp "$2"/* "$1" && exec "$3" -c "$4" "$5"'
    words = ["sh", "-c", script, "sh", place, str(account), sys.executable, program, str(womm_home.runtime)]
    env = environment(KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT=port, KUBECONFIG=None)
    result = subprocess.run(
        ["unshare", "--mount", *words], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [f"system:serviceaccount:{kube_namespace}:default", kube_namespace, "''"]


# ---- lists and watches


def test_list_in_pages_is_the_whole_list(
    kube_cluster: KubeCluster, kube_namespace: str, womm_home: Home
) -> None:
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{n}", "labels": {"mine": "yes"}}}
        for n in range(7)
    ]
    kube_cluster.kubectl.apply(kube_namespace, *maps)
    path = f"/api/v1/namespaces/{kube_namespace}/configmaps"

    async def main(client: KubeClient) -> None:
        for page in (1, 2, 3, 7, 100):
            items, at = await client.list(path, labels="mine=yes", page=page)
            assert [item["metadata"]["name"] for item in items] == [f"m{n}" for n in range(7)]
            assert at.isdecimal()

    asked(Target(kubeconfig=str(kube_cluster.kubeconfig)), womm_home.runtime, main)


def test_watch_from_a_version_that_is_too_old_says_so(
    kube_cluster: KubeCluster, kube_namespace: str, womm_home: Home
) -> None:
    # A kind of our own: what the API server remembers of it begins later than version 1.
    group = f"{kube_namespace}.example.com"
    schema = {"openAPIV3Schema": {"type": "object"}}
    kind = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Thing", "plural": "things"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }

    path = f"/apis/{group}/v1/namespaces/{kube_namespace}/things"

    async def main(client: KubeClient) -> None:
        code = 429  # it has not listed them yet
        while code == 429:
            with pytest.raises(ApiError) as caught:
                async for _ in client.watch(path, "1"):
                    pass
            code = caught.value.code
        assert code == 410

    kube_cluster.kubectl.apply(kube_namespace, kind)
    try:
        kube_cluster.kubectl.run("wait", "--for=condition=Established", f"crd/things.{group}")
        asked(Target(kubeconfig=str(kube_cluster.kubeconfig)), womm_home.runtime, main)
    finally:
        kube_cluster.kubectl.run("delete", "crd", f"things.{group}")


def test_refusal_is_the_servers_sentence_with_the_way_to_the_admin(
    kube_cluster: KubeCluster, kube_namespace: str, womm_home: Home
) -> None:
    kubeconfig = kube_cluster.own.user_kubeconfig("bob", kube_namespace)

    async def main(client: KubeClient) -> None:
        assert client.namespace == kube_namespace
        with pytest.raises(ApiError, match='User "bob" cannot list resource "pods"') as caught:
            await client.list(f"/api/v1/namespaces/{kube_namespace}/pods")
        assert (caught.value.code, caught.value.reason) == (403, "Forbidden")
        line = f"womm cluster-setup -n {kube_namespace} --user bob | kubectl apply -f -"
        assert caught.value.hint == f"an admin: {line}"

    asked(Target(kubeconfig=str(kubeconfig)), womm_home.runtime, main)


def test_exec_in_a_pod_that_is_not_there_is_an_error_of_connections(
    kube_cluster: KubeCluster, kube_namespace: str, womm_home: Home
) -> None:
    async def main(client: KubeClient) -> None:
        with pytest.raises(OSError, match="404"):
            await said(client, "nobody", "main", "true")

    asked(Target(kubeconfig=str(kube_cluster.kubeconfig), namespace=kube_namespace), womm_home.runtime, main)
