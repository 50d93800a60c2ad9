"""kubectl on some cluster, as its administrator or as anybody with a kubeconfig."""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAMESPACE_TIMEOUT_S = 60.0
_KINDS = "pods,services,configmaps,secrets,deployments,replicasets,jobs,persistentvolumeclaims"


class KubectlError(RuntimeError):
    """kubectl failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    program: tuple[str, ...]
    kubeconfig: Path
    home: Path
    """Where it keeps what it knows about the API."""

    def run(
        self, *words: str, check: bool = True, input: str | None = None, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl. Raises KubectlError when it fails, unless `check` is False."""
        result = subprocess.run(
            self.words(*words), input=input, capture_output=True, text=True, check=False, timeout=timeout_s
        )
        if check and result.returncode:
            raise KubectlError(f"kubectl {' '.join(words)}: {result.stderr.strip()}")
        return result

    def words(self, *words: str) -> list[str]:
        """Return the words that run kubectl."""
        return [*self.program, f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.home}/kube", *words]

    def text(self, *words: str, timeout_s: float = 120) -> str:
        """Run kubectl and return its output."""
        return self.run(*words, timeout_s=timeout_s).stdout

    def json(self, *words: str) -> Any:
        """Run kubectl and return the objects that it prints."""
        return json.loads(self.text(*words, "-o", "json"))

    def apply(self, namespace: str, *objects: Mapping[str, Any]) -> None:
        """Create objects, or change them."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "-n", namespace, "-f", "-", input=json.dumps(items))

    def run_pod(self, namespace: str, name: str, image: str, *command: str, **spec: Any) -> Mapping[str, Any]:
        """Create a pod of one container that runs `command`; `spec` goes into the pod's. Returns the pod."""
        requests = {"cpu": "50m", "memory": "32Mi"}
        container: dict[str, Any] = {"name": "main", "image": image, "resources": {"requests": requests}}
        if command:
            container["command"] = list(command)
        whole = {
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            **spec,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}
        self.apply(namespace, pod)
        return pod

    def wait_ready(self, namespace: str, pod: str, timeout_s: float = 120) -> None:
        """Wait until a pod is ready; raises KubectlError with what its events say."""
        words = [
            "wait",
            "-n",
            namespace,
            f"pod/{pod}",
            "--for=condition=Ready",
            f"--timeout={timeout_s:.0f}s",
        ]
        result = self.run(*words, check=False, timeout_s=timeout_s + 30)
        if result.returncode:
            told = self.run("describe", "-n", namespace, f"pod/{pod}", check=False).stdout
            raise KubectlError(f"pod {pod}: {result.stderr.strip()}\n{told}")

    def objects(self, namespace: str, selector: str = "") -> list[str]:
        """Return the objects of a namespace with the labels, as kind/name; the cluster's own are left out."""
        words = ["get", _KINDS, "-n", namespace, "-o", "name", *(["-l", selector] if selector else [])]
        return [name for name in self.text(*words).split() if name != "configmap/kube-root-ca.crt"]

    @contextmanager
    def namespace(self, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """Make a fresh namespace for the time being; deleting goes on behind.

        Labels may ask for a Pod Security standard: {"pod-security.kubernetes.io/enforce": "restricted"}.
        """
        name = f"womm-test-{uuid.uuid4().hex[:10]}"
        metadata = {"name": name, "labels": dict(labels or {})}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.run("create", "-f", "-", input=json.dumps(made))
        try:
            self._wait_for_account(name)
            yield name
        finally:
            self.run("delete", "namespace", name, "--wait=false")

    def _wait_for_account(self, namespace: str) -> None:
        """Wait for the namespace's service account: pods are refused before it is there."""
        deadline = time.monotonic() + _NAMESPACE_TIMEOUT_S
        while self.run("get", "serviceaccount", "default", "-n", namespace, check=False).returncode:
            if time.monotonic() > deadline:
                raise KubectlError(f"namespace {namespace} got no service account")
            time.sleep(0.1)
