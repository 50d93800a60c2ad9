"""The cluster that other tests rely on: it works, can be broken on purpose, and leaves nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes
from tests.realcluster import cgroups, network, requirements
from tests.realcluster.cluster import Cluster, remove
from tests.realcluster.daemons import ClusterError, boot_id
from tests.realcluster.fixtures import KubeCluster, own_cluster
from tests.realcluster.instances import Instance, claim
from tests.realcluster.kubectl import Kubectl, KubectlError
from womm import process

pytestmark = pytest.mark.slow

IMAGES = ["worker", "worker-user", "worker-noperl"]


def _run_pod(
    kube: KubeCluster, namespace: str, name: str = "one", image: str = "worker", **spec: object
) -> None:
    kube.kubectl.run_pod(namespace, name, kube.images[image].pinned, "sleep", "1000", **spec)
    kube.kubectl.wait_ready(namespace, name)


def _restarts(kubectl: Kubectl, namespace: str, pod: str) -> int:
    status = kubectl.json("get", "pod", pod, "-n", namespace)["status"]["containerStatuses"][0]
    return int(status["restartCount"])


def _left_of(instance: Instance) -> list[str]:
    """Return everything on this machine that belongs to a cluster."""
    left = [str(identity) for identity in cgroups.members(instance.group)]
    left += [str(path) for path in (instance.folder,) if path.exists()]
    left += [str(h / instance.group) for h in cgroups.hierarchies() if (h / instance.group).exists()]
    left += [name for name in network.namespaces() if name == instance.network.namespace]
    left += [line for line in Path("/proc/net/dev").read_text().splitlines() if instance.network.link in line]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    words = (str(instance.folder), f"/netns/{instance.network.namespace}")
    return left + [line for line in mounts if any(word in line for word in words)]


@pytest.mark.parametrize("image", IMAGES)
def test_pod_of_each_image_runs_and_exec_answers(
    image: str, kube_cluster: KubeCluster, kube_namespace: str
) -> None:
    _run_pod(kube_cluster, kube_namespace, image=image)
    script = "id -u; command -v perl || echo no"
    said = kube_cluster.kubectl.text("exec", "-n", kube_namespace, "one", "--", "sh", "-c", script)
    user = "1000" if image == "worker-user" else "0"
    assert said.split() == [user, "no" if image == "worker-noperl" else "/usr/bin/perl"]


def test_worker_image_has_perl_base_alone(kube_cluster: KubeCluster, kube_namespace: str) -> None:
    _run_pod(kube_cluster, kube_namespace)
    words = [
        "exec",
        "-n",
        kube_namespace,
        "one",
        "--",
        "perl",
        "-e",
        "use POSIX; use Socket; use MIME::Base64",
    ]
    result = kube_cluster.kubectl.run(*words, check=False)
    assert "Can't locate MIME/Base64.pm" in result.stderr


def test_killed_api_server_comes_back_and_pods_have_gone_on(
    kube_cluster: KubeCluster, kube_namespace: str
) -> None:
    own = kube_cluster.own
    _run_pod(kube_cluster, kube_namespace)
    before = own.pod_processes(kube_namespace, "one")
    own.kill("kube-apiserver")
    with pytest.raises(OSError):
        own.api("/api/v1/nodes")
    assert all(map(process.is_alive, before))
    own.start("kube-apiserver")
    own.wait_ready()
    assert _restarts(own.kubectl, kube_namespace, "one") == 0
    assert own.pod_processes(kube_namespace, "one") == before


@pytest.mark.parametrize("name", ["containerd", "kubelet"])
def test_restart_of_a_node_daemon_keeps_pods(
    name: str, kube_cluster: KubeCluster, kube_namespace: str
) -> None:
    own = kube_cluster.own
    _run_pod(kube_cluster, kube_namespace)
    before = own.pod_processes(kube_namespace, "one")
    own.restart(name)
    _run_pod(kube_cluster, kube_namespace, "two")  # it is back when it starts another
    own.wait_ready()
    assert _restarts(own.kubectl, kube_namespace, "one") == 0
    assert own.pod_processes(kube_namespace, "one") == before


def test_killed_process_of_a_pod_is_seen(kube_cluster: KubeCluster, kube_namespace: str) -> None:
    own = kube_cluster.own
    _run_pod(kube_cluster, kube_namespace, restartPolicy="Never")
    (first,) = own.pod_processes(kube_namespace, "one")
    assert process.kill(first, 9)
    own.kubectl.run("wait", "-n", kube_namespace, "pod/one", "--for=jsonpath={.status.phase}=Failed")
    status = own.kubectl.json("get", "pod", "one", "-n", kube_namespace)["status"]["containerStatuses"][0]
    assert status["state"]["terminated"]["exitCode"] == 137


def test_frozen_api_server_does_not_answer_until_it_is_thawed(kube_cluster: KubeCluster) -> None:
    own = kube_cluster.own
    with own.frozen("kube-apiserver"), pytest.raises(OSError, match="timed out"):
        own.api("/api/v1/nodes", timeout_s=1)
    own.wait_ready()


def test_cut_link_to_the_user_is_mended(kube_cluster: KubeCluster) -> None:
    own = kube_cluster.own
    with own.network.cut(1), pytest.raises(OSError, match="timed out"):
        own.api("/api/v1/nodes", timeout_s=1)
    own.wait_ready()


def test_user_may_do_what_his_role_says(kube_cluster: KubeCluster, kube_namespace: str) -> None:
    own = kube_cluster.own
    user = Kubectl(own.kubectl.program, own.user_kubeconfig("alice", kube_namespace), own.kubectl.home)
    with pytest.raises(KubectlError, match="forbidden"):
        user.run("get", "pods")
    grant = ["create", "rolebinding", "alice", "--clusterrole=view", "--user=alice", "-n", kube_namespace]
    own.kubectl.run(*grant)
    assert user.json("get", "pods")["items"] == []
    with pytest.raises(KubectlError, match="forbidden"):
        user.run("get", "pods", "-n", "kube-system")


def test_restricted_namespace_refuses_a_root_pod(kube_cluster: KubeCluster) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    with kube_cluster.kubectl.namespace(labels) as name, pytest.raises(KubectlError, match="restricted"):
        kube_cluster.kubectl.run_pod(name, "one", kube_cluster.images["worker"].pinned)


def test_objects_of_a_namespace_are_found_by_their_labels(
    kube_cluster: KubeCluster, kube_namespace: str
) -> None:
    kubectl = kube_cluster.kubectl
    assert kubectl.objects(kube_namespace) == []
    kubectl.run("create", "configmap", "one", "-n", kube_namespace)
    kubectl.run("label", "configmap", "one", "womm/task=a", "-n", kube_namespace)
    assert kubectl.objects(kube_namespace, "womm/task=a") == ["configmap/one"]
    assert kubectl.objects(kube_namespace, "womm/task=b") == []


def test_nfs_nodes_join_and_run_pods_on_a_kernel_with_nfs(
    kube_cluster: KubeCluster, kube_namespace: str, nfs_nodes: list[str]
) -> None:
    kubectl = kube_cluster.kubectl
    tolerations = [{"key": "womm.test/nfs", "operator": "Exists"}]
    for node in nfs_nodes:
        image = kube_cluster.images["worker-noperl"].pinned
        spec = {"nodeName": node, "tolerations": tolerations}
        kubectl.run_pod(kube_namespace, node, image, "sleep", "1000", **spec)
    for node in nfs_nodes:
        kubectl.wait_ready(kube_namespace, node)
        systems = kubectl.text("exec", "-n", kube_namespace, node, "--", "cat", "/proc/filesystems")
        assert "nfs4" in systems.split()
    with kube_cluster.own.frozen("node2"), pytest.raises(subprocess.TimeoutExpired):
        kubectl.text("exec", "-n", kube_namespace, "node2", "--", "true", timeout_s=3)
    kubectl.text("exec", "-n", kube_namespace, "node2", "--", "true")


def test_second_cluster_lives_beside_the_first_and_comes_up_again_after_a_crash(
    kube_cluster: KubeCluster,
) -> None:
    first = kube_cluster.own
    with own_cluster() as second:
        assert second.instance != first.instance
        _run_pod(KubeCluster(second.kubectl, second.images, second), "default")
        second.crash()
        assert not second.is_running()
        assert _left_of(second.instance)  # its folders and links
        second.up()
        assert second.is_running()
        assert second.kubectl.objects("default") == ["service/kubernetes"]  # a fresh one
    assert _left_of(second.instance) == []
    assert first.is_running()


def test_abandoned_cluster_is_removed_by_the_next_claim() -> None:
    script = "import sys; from tests.realcluster.instances import Instance; Instance(9).note_owner()"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert Instance(9).is_abandoned
    claimed = claim(None, remove)
    try:
        assert not Instance(9).is_there
        assert not claimed.is_abandoned
        with pytest.raises(RuntimeError, match=f"{claimed.number} are in use"):
            claim(claimed.number, remove)
    finally:
        Cluster(claimed).down()
    assert _left_of(claimed) == []


def test_recycled_pid_is_never_signalled(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "100"]) as stranger:
        cluster = Cluster(Instance(9))
        cluster.daemons.folder = cluster.daemons.logs = tmp_path
        note = '{"pid": %d, "start": "1", "boot": "%s", "command": []}'
        (tmp_path / "kubelet.json").write_text(note % (stranger.pid, boot_id()))
        with pytest.raises(ClusterError, match="kubelet does not run"):
            cluster.kill("kubelet")
        assert stranger.poll() is None
        stranger.kill()


def test_range_with_a_route_of_this_machine_is_left_alone(kube_cluster: KubeCluster) -> None:
    assert network.collides(kube_cluster.own.network)
    assert not network.collides(network.Network(9))


def test_lacking_says_in_one_line_why_there_is_no_cluster(tmp_path: Path) -> None:
    assert "needs Linux" in (requirements.lacking("darwin") or "")
    assert "needs root" in (requirements.lacking("linux", 1000) or "")
    assert "scripts/kube" in (requirements.lacking("linux", 0, tmp_path / "none") or "")


def test_kubeconfig_of_a_user_is_used_instead(kube_cluster: KubeCluster) -> None:
    tests = [
        f"{__file__}::test_pod_of_each_image_runs_and_exec_answers[worker-noperl]",
        f"{__file__}::test_frozen_api_server_does_not_answer_until_it_is_thawed",
    ]
    environ = {name: value for name, value in os.environ.items() if name not in {"CI", processes.MARK}}
    environ["WOMM_TEST_KUBECONFIG"] = str(kube_cluster.kubeconfig)
    environ["WOMM_TEST_REGISTRY"] = kube_cluster.own.registry
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests]
    result = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "1 passed, 1 skipped" in result.stdout
    assert "not the tests' to break" in result.stdout
