"""The objects of a task as data: nothing of the user's can change what they mean."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.cluster.kubernetes import manifests
from womm.cluster.kubernetes.manifests import About, WorkerSpec, label_value, read_template

ABOUT = About("parallel", ("parallel", "--", "true"), "/home/me", "laptop", "me", 3, 2, "50m", "64Mi", 1.5)
ROOT = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "womm-task-abcdefgh", "uid": "u-1"}}
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def spec(**changes: Any) -> WorkerSpec:
    values: dict[str, Any] = {
        "task": "abcdefgh",
        "about": ABOUT,
        "image": "registry/image@sha256:1",
        "shell": "/bin/sh",
        "orphan_timeout_s": 1800.0,
    }
    return WorkerSpec(**{**values, **changes})


def worker_pod(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod template of the workers, and its container called worker."""
    template = manifests.workers(spec(**changes), ROOT)["spec"]["template"]
    (container,) = [c for c in template["spec"]["containers"] if c["name"] == "worker"]
    return template, container


@given(st.text(max_size=300))
def test_label_value_of_any_text_is_one(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert LABEL.fullmatch(value)


@pytest.mark.parametrize("text", ["laptop", "my-host.example.org", "a" * 63])
def test_label_value_that_is_one_already_stays(text: str) -> None:
    assert label_value(text) == text


@pytest.mark.parametrize(
    "one, other",
    [
        ("a b", "a-b"),
        ("J\N{LATIN SMALL LETTER O WITH DIAERESIS}rg", "J-rg"),
        ("x" * 64, "x" * 65),
        ("-a", "a"),
    ],
)
def test_label_values_of_different_texts_differ(one: str, other: str) -> None:
    assert label_value(one) != label_value(other)


def test_label_value_of_bytes_that_are_no_text() -> None:
    assert LABEL.fullmatch(label_value("host\udcff"))


texts = st.text(max_size=40)


@given(
    st.builds(
        About,
        texts,
        st.lists(texts).map(tuple),
        texts,
        texts,
        texts,
        st.integers(),
        st.integers(),
        texts,
        texts,
        st.floats(0, 1e12),
    )
)
def test_about_comes_back_as_it_went(about: About) -> None:
    assert About.from_json(about.to_json()) == about


def test_about_of_a_long_command_is_cut_and_says_so() -> None:
    argv = ("parallel", "--", *(f"word{n}" for n in range(50_000)))
    text = About("parallel", argv, "/", "h", "u", 1, 1, "1", "1Gi", 0.0).to_json()
    assert len(text) < manifests.ANNOTATION_BYTES
    cut = About.from_json(text)
    assert cut.argv[:3] == argv[:3]
    assert cut.argv[-1] == "..."


@pytest.mark.parametrize("text", ["", "1", "[]", "{}", '{"argv": 1}', "null", '{"argv": [], "kind": "x"}'])
def test_about_that_no_womm_wrote_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        About.from_json(text)


@pytest.mark.parametrize("name", About.__slots__)
@pytest.mark.parametrize("value", [None, [[]], {}, {"a": 1}])
def test_about_with_a_value_of_another_kind_is_refused(name: str, value: Any) -> None:
    """Anybody who may create Jobs in the namespace can write one."""
    values = {**json.loads(ABOUT.to_json()), name: value}
    try:
        about = About.from_json(json.dumps(values))
    except ValueError:
        return
    assert name == "argv"
    assert all(isinstance(word, str) for word in about.argv)


def test_about_that_is_too_deep_to_read_is_refused() -> None:
    with pytest.raises(ValueError):
        About.from_json("[" * 100_000)


def test_about_of_a_later_womm_is_read() -> None:
    values = {**json.loads(ABOUT.to_json()), "new": 1}
    assert About.from_json(json.dumps(values)) == ABOUT


def test_root_is_a_job_whose_end_removes_all_that_it_owns() -> None:
    job = manifests.task_job(spec())
    assert job["spec"]["ttlSecondsAfterFinished"] <= 5
    assert job["spec"]["backoffLimit"] >= 1000
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert About.from_json(job["metadata"]["annotations"][manifests.ABOUT]) == ABOUT
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "womm-task-abcdefgh", "uid": "u-1"}
    for owned in (manifests.workers(spec(), ROOT), manifests.agent_scripts(spec(), ROOT)):
        assert owned["metadata"]["ownerReferences"] == [owner]
        assert owned["metadata"]["labels"]["womm/task"] == "abcdefgh"


def test_workers_request_what_they_are_limited_to_and_have_no_token() -> None:
    template, container = worker_pod()
    assert container["resources"] == {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"cpu": "50m", "memory": "64Mi"},
    }
    assert template["spec"]["automountServiceAccountToken"] is False
    selector = manifests.workers(spec(), ROOT)["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()


def test_environment_and_shell_are_words_of_their_own() -> None:
    _, container = worker_pod(env={"A": "$(B) ' \"\n"}, shell="/bin/my shell")
    assert {"name": "A", "value": "$(B) ' \"\n"} in container["env"]
    assert "/bin/my shell" in container["command"]
    assert {"name": "WOMM_TASK", "value": "abcdefgh"} in container["env"]


TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"team": "a", "womm/task": "stolen"}, "annotations": {"note": "x"}},
    "spec": {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "priorityClassName": "low",
        "containers": [
            {"name": "sidecar", "image": "s"},
            {
                "name": "worker",
                "image": "theirs",
                "command": ["theirs"],
                "env": [{"name": "B", "value": "1"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "resources": {
                    "limits": {"nvidia.com/gpu": "2"},
                    "requests": {"nvidia.com/gpu": "2", "cpu": "9"},
                },
                "securityContext": {"runAsUser": 5},
            },
        ],
    },
}


def test_template_is_laid_under_womms_own_fields() -> None:
    before = json.dumps(TEMPLATE)
    template, container = worker_pod(template=TEMPLATE, pull_secret="pull", service_account="sa")
    pod = template["spec"]
    assert container["image"] == "registry/image@sha256:1"
    assert container["command"][0] == "perl"
    assert container["args"] == []
    assert {"name": "B", "value": "1"} in container["env"]
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2", "cpu": "50m", "memory": "64Mi"}
    assert container["resources"]["requests"] == {"nvidia.com/gpu": "2", "cpu": "50m", "memory": "64Mi"}
    assert container["securityContext"] == {"runAsUser": 5}
    assert [c["name"] for c in pod["containers"]] == ["worker", "sidecar"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert {"name": "data", "emptyDir": {}} in pod["volumes"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["serviceAccountName"] == "sa"
    assert template["metadata"]["labels"]["womm/task"] == "abcdefgh"
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["annotations"]["note"] == "x"
    assert json.dumps(TEMPLATE) == before


def test_keeper_takes_of_a_template_only_where_it_may_run() -> None:
    pod = manifests.task_job(spec(template=TEMPLATE))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert "nvidia.com/gpu" not in json.dumps(container)
    assert "/data" not in json.dumps(pod)
    assert container["securityContext"]["runAsNonRoot"] is True


def test_restricted_workers_give_up_what_the_standard_wants() -> None:
    template, container = worker_pod(restricted=True, template=TEMPLATE)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 5,
    }
    assert template["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_sample_is_a_pod_like_the_workers() -> None:
    sample = manifests.sample_worker(spec(template=TEMPLATE))
    template, _ = worker_pod(template=TEMPLATE)
    assert (sample["apiVersion"], sample["kind"], sample["spec"]) == ("v1", "Pod", template["spec"])
    assert sample["metadata"]["generateName"].startswith("womm-task-")
    assert "ownerReferences" not in sample["metadata"]


@pytest.mark.parametrize(
    "text, why",
    [
        ("[", "is not YAML"),
        ("1", "is not a pod"),
        ("spec: 1", "is not a pod"),
        ("kind: PodTemplate", "is not a pod"),
        ("spec: {containers: 1}", "must be a list"),
        ("spec: {containers: [1]}", "must be a list"),
    ],
)
def test_template_that_is_none_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        read_template(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_template(tmp_path / "none")


@pytest.mark.parametrize("outer", ["spec: {a: 1}", "kind: PodTemplate\ntemplate: {spec: {a: 1}}"])
def test_template_is_a_pod_or_a_pod_template(tmp_path: Path, outer: str) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(outer)
    assert read_template(path) == {"spec": {"a": 1}}
