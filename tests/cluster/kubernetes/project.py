"""A folder with a `.womm` for the test cluster, and what its tasks leave there and in the cluster."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.tasks import Run, started, wait_for
from tests.realcluster.fixtures import KubeCluster
from tests.trusting import accept_everywhere

NOTES = "/notes"
"""Where jobs of `Project.write_with_notes` find the file `executions`."""


@dataclass(frozen=True)
class Project:
    folder: Path
    kube: KubeCluster
    namespace: str

    def write(self, **changes: str) -> None:
        """Write `.womm`, and accept it; in a name _ stands for -."""
        values = {
            "cluster": "kubernetes",
            "kubeconfig": str(self.kube.kubeconfig),
            "namespace": self.namespace,
            "image": self.kube.images["worker"].pinned,
            "share": "none",
            "kube-cpu": "200m",
            "kube-mem": "64Mi",
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        (self.folder / ".womm").write_text("\n".join(["version = 1", *lines, ""]))
        accept_everywhere(self.folder)

    def write_template(self, pod: Mapping[str, Any], **changes: str) -> None:
        (self.folder / "pod.yaml").write_text(json.dumps(pod))
        self.write(pod_template="pod.yaml", **changes)

    def write_with_notes(self, **changes: str) -> None:
        """Pods have a folder of node1 at NOTES: what jobs write there outlives them. See `executions`."""
        place = {"path": f"/var/log/{self.namespace}", "type": "DirectoryOrCreate"}
        volume = {"name": "notes", "hostPath": place}
        container = {"name": "worker", "volumeMounts": [{"name": "notes", "mountPath": NOTES}]}
        self.write_template({"spec": {"containers": [container], "volumes": [volume]}}, **changes)

    @property
    def executions(self) -> Path:
        return self.kube.own.folder / "node1/log" / self.namespace / "executions"

    def started(self, *words: str, **options: Any) -> AbstractContextManager[Run]:
        """Start `womm WORDS` here."""
        return started(self.folder, *words, **options)

    def pods(self, task: str, component: str = "worker") -> list[str]:
        """The names of the pods of a task that are not on their way out."""
        return [
            pod["metadata"]["name"]
            for pod in self.pod_objects(task, component)
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def pod_objects(self, task: str, component: str = "worker") -> list[dict[str, Any]]:
        selector = f"womm/task={task},app.kubernetes.io/component={component}"
        listed = self.kube.kubectl.json("get", "pods", "-n", self.namespace, "-l", selector)
        items: list[dict[str, Any]] = listed["items"]
        return items

    def delete_pod(self, name: str, grace_s: int = 0) -> None:
        """Delete a pod, if it is still there, and do not wait."""
        how = ["--wait=false", "--ignore-not-found", f"--grace-period={grace_s}"]
        self.kube.kubectl.run(
            "delete", "pod", name, "-n", self.namespace, *how, *(["--force"] * (not grace_s))
        )

    def objects(self) -> list[str]:
        """What womm has made in the namespace."""
        return self.kube.kubectl.objects(self.namespace, "app.kubernetes.io/managed-by=womm")

    def nothing_left(self, runtime: Path, deadline_s: float = 60) -> None:
        """Check that the namespace has no object of womm, and this machine no runtime folder and no keys."""
        wait_for(partial(_is_empty, self), "the end of all objects", deadline_s)
        left = [str(path) for path in runtime.iterdir() if path.name.startswith("womm")]
        assert not left, left


def _is_empty(project: Project) -> bool:
    return project.objects() == []
