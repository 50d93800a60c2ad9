"""Which cluster is chosen, and for which machines an image must be made."""

import json

import pytest

from tests.setup.terminals import asking, status_of
from womm.errors import ClusterError
from womm.setup.asking import Asker
from womm.setup.cluster_choice import Chosen, architectures, choose

SILENT = Asker(asks=False)


@pytest.fixture
def kubeconfig(womm_home, tmp_path, monkeypatch):
    """A kubeconfig of two contexts: lab, the current one, and cloud."""
    path = tmp_path / "kubeconfig"
    named = [
        {"name": "lab", "context": {"cluster": "c", "namespace": "research"}},
        {"name": "cloud", "context": {"cluster": "c"}},
    ]
    path.write_text(json.dumps({"current-context": "lab", "contexts": named}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.mark.parametrize(
    ("given", "before", "hinted", "chosen"),
    [
        ({}, {}, False, Chosen("kubernetes", "lab", "research")),
        ({"context": "cloud"}, {}, False, Chosen("kubernetes", "cloud", "default")),
        ({"cluster": "local", "context": "cloud"}, {}, False, Chosen("local")),
        ({}, {"cluster": "local"}, False, Chosen("local")),
        ({}, {"cluster": "local"}, True, Chosen("kubernetes", "lab", "research")),
        ({"image": "t"}, {"cluster": "local"}, False, Chosen("kubernetes", "lab", "research")),
        ({}, {"cluster": "kubernetes", "context": "cloud"}, False, Chosen("kubernetes", "cloud", "default")),
    ],
)
def test_cluster_is_that_of_options_then_of_the_file_then_the_current_one(
    kubeconfig, given, before, hinted, chosen
):
    assert choose(SILENT, given, before, again=False, hinted=hinted) == chosen


def test_cluster_needs_a_kubeconfig_unless_it_is_local(kubeconfig):
    kubeconfig.unlink()
    assert choose(SILENT, {"cluster": "local"}, {}, again=False, hinted=False) == Chosen("local")
    with pytest.raises(ClusterError, match="no cluster is configured") as caught:
        choose(SILENT, {}, {}, again=False, hinted=False)
    assert caught.value.hint == "womm setup --cluster local"


ASK = """
import json
from womm.setup.cluster_choice import choose
print("took", choose(asker, {}, json.loads(sys.argv[1]), again=sys.argv[2] == "again", hinted=False))
"""
CHOICES = "1) context lab\r\n2) context cloud\r\n3) this machine, without Kubernetes\r\n"


@pytest.mark.parametrize(
    ("before", "default", "typed", "taken"),
    [
        ({}, "1", "", "cluster='kubernetes', context='lab'"),
        ({}, "1", "2", "cluster='kubernetes', context='cloud'"),
        ({}, "1", "3", "cluster='local'"),
        ({"cluster": "local"}, "3", "", "cluster='local'"),
        ({"cluster": "kubernetes", "context": "cloud"}, "2", "", "context='cloud'"),
    ],
)
def test_cluster_is_asked_where_there_is_a_choice(kubeconfig, before, default, typed, taken):
    with asking(ASK, json.dumps(before), "again" if before else "") as child:
        child.expect_exact(CHOICES)
        child.expect_exact(f"[{default}] > ")
        child.sendline(typed)
        child.expect("took (.*)\r\n")
        assert taken in child.match[1]
        assert status_of(child) == 0


def test_only_context_is_not_asked_for(kubeconfig):
    content = json.loads(kubeconfig.read_text())
    del content["contexts"][1]
    kubeconfig.write_text(json.dumps(content))
    with asking(ASK, "{}", "") as child:
        assert child.expect_exact(["took Chosen(cluster='kubernetes', context='lab'", "> "]) == 0


def test_local_project_without_a_kubeconfig_stays_local(kubeconfig):
    kubeconfig.unlink()
    with asking(ASK, '{"cluster": "local"}', "") as child:
        assert child.expect_exact(["took Chosen(cluster='local'", "> "]) == 0


def test_architectures_of_a_cluster_that_does_not_answer_are_unknown(kubeconfig, tmp_path):
    content = json.loads(kubeconfig.read_text())
    content["clusters"] = [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]
    kubeconfig.write_text(json.dumps(content))
    assert architectures("lab", str(kubeconfig), {}) is None


@pytest.mark.slow
def test_architectures_are_those_of_the_nodes_that_pods_may_get(kube_cluster, kube_namespace):
    path = str(kube_cluster.kubeconfig)
    assert architectures("", path, {}) == frozenset(["amd64"])
    assert architectures("", path, {"kubernetes.io/arch": "amd64"}) == frozenset(["amd64"])
    assert architectures("", path, {"kubernetes.io/arch": "none"}) is None


@pytest.mark.slow
def test_architectures_are_unknown_to_a_user_who_may_not_read_nodes(kube_cluster, kube_namespace):
    path = kube_cluster.own.user_kubeconfig("audrey", kube_namespace, "researchers")
    assert architectures("", str(path), {}) is None
