"""The manifests that an admin applies: readable, filled in as data, and taken by an API server."""

import pytest
import yaml

from tests.installation import ROOT
from tests.realcluster.fixtures import KubeCluster
from womm.cluster.kubernetes import rbac

NAMES = ["a: b", "x\n---\nkind: ClusterRole", "'", '"', "#", "ü", "default", "*", "a" * 200]


@pytest.mark.parametrize("name", ["users.yaml", "leader.yaml"])
def test_manifest_says_first_what_it_grants_and_why(name):
    head, _, rest = (ROOT / "manifests" / name).read_text().partition("---\n")
    lines = head.splitlines()
    assert lines[0].startswith("# Lets ") and lines[1] == "#"
    assert all(line.startswith("#") for line in lines)
    assert "It grants a Role of the namespace" in head
    assert all(document.startswith("# ") for document in rest.split("---\n"))


def test_no_other_manifest_is_in_the_folder():
    assert sorted(path.name for path in (ROOT / "manifests").iterdir()) == ["leader.yaml", "users.yaml"]


@pytest.mark.parametrize(
    "name", ["a: b", "x\n---\nkind: ClusterRole", "'", '"', "#", "ü", "default", "*", "a" * 200]
)
def test_filled_in_name_stays_a_name(name):
    """Names go into text, and are still data."""
    text = rbac.filled_in(name, [rbac.subject("User", name, name)])
    found = list(yaml.safe_load_all(text))
    assert len(found) == 5
    assert {item["metadata"]["namespace"] for item in found} == {name}
    assert found[1]["subjects"][0]["name"] == name


def test_rules_are_those_of_the_roles_in_the_files():
    for name, rules in (("users.yaml", rbac.USER_RULES), ("leader.yaml", rbac.LEADER_RULES)):
        items = yaml.safe_load_all((ROOT / "manifests" / name).read_text())
        (role,) = [item for item in items if item["kind"] == "Role"]
        found = [(tuple(r["apiGroups"]), tuple(r["resources"]), tuple(r["verbs"])) for r in role["rules"]]
        assert found == [((group,), resources, verbs) for group, resources, verbs in rules]


@pytest.mark.slow
def test_manifests_are_taken_as_they_stand_and_filled_in(kube_cluster: KubeCluster) -> None:
    kubectl = kube_cluster.kubectl
    subjects = [rbac.subject(kind, "a: b", "default") for kind in ("User", "Group")]
    subjects.append(rbac.subject("ServiceAccount", "bot", "default"))
    text = rbac.filled_in("default", subjects)
    for words, given in ((["-f", str(ROOT / "manifests")], ""), (["-f", "-"], text)):
        said = kubectl.run("apply", "--dry-run=server", *words, input=given).stdout
        assert said.count("(server dry run)") == 5
