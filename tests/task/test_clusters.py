"""Which cluster the settings name. A real Kubernetes: tests/cluster/kubernetes/test_cluster."""

from pathlib import Path

import pytest

from tests.link.wires import PERL
from tests.loop import run
from womm.cluster.local import LocalCluster
from womm.errors import SettingsError
from womm.settings import Settings
from womm.task.clusters import Origin, make_cluster, pod_template

ORIGIN = Origin("parallel", ())


def test_cluster_without_a_project_is_this_machine(tmp_path):
    assert isinstance(run(make_cluster(Settings(), tmp_path, PERL, ORIGIN)), LocalCluster)


def test_kubernetes_without_an_image_says_how_to_name_one(tmp_path):
    with pytest.raises(SettingsError, match="which image do the pods run") as raised:
        run(make_cluster(Settings(cluster="kubernetes"), tmp_path, PERL, ORIGIN))
    assert "womm setup --image" in (raised.value.hint or "")


def test_template_takes_the_settings_beside_its_own(tmp_path):
    (tmp_path / "pod.yaml").write_text(
        "spec:\n  nodeSelector: {disk: ssd, zone: a}\n  containers: [{resources: {limits: {cpu: '2'}}}]\n"
    )
    settings = Settings(
        project=tmp_path, pod_template="pod.yaml", node_selector={"zone": "b"}, gpus=2, gpu_resource="x/gpu"
    )
    spec = pod_template(settings)["spec"]
    assert spec["nodeSelector"] == {"disk": "ssd", "zone": "b"}
    assert spec["containers"] == [
        {"resources": {"limits": {"cpu": "2", "x/gpu": "2"}, "requests": {"x/gpu": "2"}}}
    ]


def test_template_that_is_not_there_is_named():
    with pytest.raises(SettingsError, match=r"the pod template /nowhere/pod\.yaml"):
        pod_template(Settings(project=Path("/nowhere"), pod_template="pod.yaml"))
