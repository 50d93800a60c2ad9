"""What a cluster's API server answers to its administrator, for waiting: kubectl takes 0.1 s to start."""

import json
import ssl
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Api:
    address: str
    pki: Path

    def get(self, path: str, timeout_s: float = _TIMEOUT_S) -> Any:
        """Return the object at a path; raises OSError."""
        return json.loads(self._read(path, timeout_s))

    def is_ready(self) -> bool:
        with suppress(OSError):
            self._read("/readyz")
            return True
        return False

    def is_node_ready(self, node: str) -> bool:
        with suppress(OSError):
            conditions = self.get(f"/api/v1/nodes/{node}")["status"].get("conditions", [])
            return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        return False

    def has_account(self, namespace: str) -> bool:
        """Whether a namespace has its service account: pods are refused before."""
        with suppress(OSError):
            self._read(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
            return True
        return False

    def _read(self, path: str, timeout_s: float = _TIMEOUT_S) -> bytes:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        with urllib.request.urlopen(f"{self.address}{path}", context=context, timeout=timeout_s) as answer:
            content: bytes = answer.read()
        return content
