"""`womm cluster-setup`: YAML that an admin can read and apply, of one namespace only."""

import pytest
import yaml

from tests.cli.running import run
from tests.cli.test_setup import KUBECONFIG
from tests.installation import ROOT
from tests.trusting import accept
from womm.cluster.kubernetes import checkup
from womm.cluster.kubernetes.rbac import LEADER_RULES, USER_RULES


@pytest.fixture
def folder(womm_home, tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def objects(folder, *words):
    """Return what is printed, by kind and name."""
    result = run("cluster-setup", *words, cwd=folder)
    assert (result.status, result.err) == (0, "")
    found = list(yaml.safe_load_all(result.out))
    assert None not in found
    by_name = {(item["kind"], item["metadata"]["name"]): item for item in found}
    assert len(by_name) == len(found)
    return by_name


def rules(role):
    return tuple((tuple(r["apiGroups"]), tuple(r["resources"]), tuple(r["verbs"])) for r in role["rules"])


def expected(table):
    return tuple(((group,), resources, verbs) for group, resources, verbs in table)


def test_cluster_setup_prints_five_objects_of_one_namespace(folder):
    found = objects(folder, "-n", "research", "--user", "audrey")
    assert list(found) == [
        ("Role", "womm-user"),
        ("RoleBinding", "womm-user"),
        ("ServiceAccount", "womm-leader"),
        ("Role", "womm-leader"),
        ("RoleBinding", "womm-leader"),
    ]
    assert {item["metadata"]["namespace"] for item in found.values()} == {"research"}
    for (kind, name), item in found.items():
        assert not kind.startswith("Cluster")
        if kind == "RoleBinding":
            assert item["roleRef"] == {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": name,
            }


def test_cluster_setup_roles_are_what_doctor_asks_about(folder):
    found = objects(folder)
    assert rules(found["Role", "womm-user"]) == expected(USER_RULES)
    assert vars(checkup)["USER_RULES"] is USER_RULES
    assert rules(found["Role", "womm-leader"]) == expected(LEADER_RULES)


def test_cluster_setup_roles_grant_no_star_and_read_no_secret(folder):
    for (_, name), item in objects(folder).items():
        for rule in item.get("rules", ()):
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "serviceaccounts", "roles", "escalate", "bind", "impersonate"}
            if "secrets" in words:  # made for a share's file server
                assert (name, rule["resources"]) == ("womm-user", ["secrets"])
                assert set(rule["verbs"]) == {"create", "delete"}
            assert rule["verbs"]


def test_cluster_setup_leader_may_no_more_than_a_user(folder):
    may = {
        (group, resource, verb)
        for group, resources, verbs in USER_RULES
        for resource in resources
        for verb in verbs
    }
    leader = {
        (group, resource, verb)
        for group, resources, verbs in LEADER_RULES
        for resource in resources
        for verb in verbs
    }
    assert leader < may
    assert objects(folder)["ServiceAccount", "womm-leader"]["automountServiceAccountToken"] is False


def test_cluster_setup_subjects_are_those_named(folder):
    words = ["--user", "a: b", "--user", "c", "--group", "g", "--service-account", "bot"]
    binding = objects(folder, "-n", "research", *words)["RoleBinding", "womm-user"]
    group = "rbac.authorization.k8s.io"
    assert binding["subjects"] == [
        {"kind": "User", "name": "a: b", "apiGroup": group},
        {"kind": "User", "name": "c", "apiGroup": group},
        {"kind": "Group", "name": "g", "apiGroup": group},
        {"kind": "ServiceAccount", "name": "bot", "namespace": "research"},
    ]


def test_cluster_setup_for_nobody_says_so(folder):
    result = run("cluster-setup", cwd=folder)
    assert "# It grants the role to nobody yet: say to whom with --user" in result.out
    assert objects(folder)["RoleBinding", "womm-user"]["subjects"] == []
    assert "nobody" not in run("cluster-setup", "--user", "a", cwd=folder).out


def test_cluster_setup_namespace_is_the_one_that_tasks_get(folder):
    def namespace(*words):
        return objects(folder, *words)["Role", "womm-user"]["metadata"]["namespace"]

    assert namespace() == "default"  # there is no kubeconfig
    (folder / "config").write_text(KUBECONFIG)
    assert namespace("--kubeconfig", "config") == "research"
    assert namespace("--kubeconfig", "config", "--context", "cloud") == "default"
    (folder / ".womm").write_text('version = 1\nnamespace = "mine"\n')
    accept(folder)
    assert namespace("--kubeconfig", "config") == "mine"
    assert namespace("-n", "other") == "other"


def test_cluster_setup_context_that_is_not_there_is_told(folder):
    (folder / "config").write_text(KUBECONFIG)
    result = run("cluster-setup", "--kubeconfig", "config", "--context", "lba", cwd=folder)
    assert (result.status, result.out) == (254, "")
    assert "the kubeconfig has no context 'lba'" in result.err


def test_cluster_setup_is_for_people_to_read(folder):
    text = run("cluster-setup", "-n", "research", "--group", "g", cwd=folder).out
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110
    assert lines[0].startswith("# Made by `womm cluster-setup`: what womm's users need in namespace research")
    assert "  verbs: [get, list, watch, create, delete]" in lines
    assert text.count("\n---\n# ") == 5  # each says what it is for


def test_cluster_setup_is_the_manifests_filled_in(folder):
    """As they stand they are for the namespace `default` and for nobody."""
    files = [(ROOT / "manifests" / name).read_text() for name in ("users.yaml", "leader.yaml")]
    assert run("cluster-setup", cwd=folder).out.endswith("#\n" + "\n".join(files))
    found = objects(folder, "-n", "research", "--user", "audrey")
    for text in files:
        for item in yaml.safe_load_all(text):
            item["metadata"]["namespace"] = "research"
            if item["metadata"]["name"] == "womm-leader":
                for subject in item.get("subjects", ()):
                    subject["namespace"] = "research"
            elif item["kind"] == "RoleBinding":
                assert item["subjects"] == []
                item["subjects"] = [
                    {"kind": "User", "name": "audrey", "apiGroup": "rbac.authorization.k8s.io"}
                ]
            assert found.pop((item["kind"], item["metadata"]["name"])) == item
    assert found == {}


@pytest.mark.parametrize("option", ["--user", "--group", "--service-account", "--namespace", "--context"])
@pytest.mark.parametrize("value", ["", " "])
def test_cluster_setup_empty_names_are_refused(womm_home, option, value):
    """A shell variable that is not set: nobody would get the role."""
    result = run("cluster-setup", option, value)
    assert (result.status, result.out) == (2, "")
    assert option in result.err
    assert "Traceback" not in result.err
