"""The contexts of a kubeconfig: which there are, and which one is meant.

Without the official client, whose import takes longer than a question of `womm setup` may. As in kubectl, the
first of several files that names a current context counts.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from womm import places
from womm.errors import ClusterError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""What a pod has instead of a kubeconfig."""
Read: TypeAlias = Sequence[tuple[Path, Mapping[str, Any]]]
"""The files of a kubeconfig that are there, and their content."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """namespaces: each context's, by its name; in a pod without a kubeconfig of one without a name.

    current: the name of the current context; empty: none is.
    """

    namespaces: Mapping[str, str]
    current: str

    def resolved(self, context: str, namespace: str) -> tuple[str, str]:
        """Return the context and the namespace that kubectl's two options mean. Raises ClusterError."""
        if "" in self.namespaces:
            return "", namespace or self.namespaces[""]
        name = chosen(self.namespaces, context or self.current)
        return name, namespace or self.namespaces[name]


def known(path: str, context: str = "") -> Contexts:
    """Return the contexts. `path` and `context` as kubectl's options, empty: as its defaults.

    Raises ClusterError.
    """
    wanted = bool(path or context)
    path = path or default_path()
    with translated(path):
        found = read(path, wanted=wanted)
        if not found:
            return Contexts({"": (SERVICE_ACCOUNT / "namespace").read_text().strip()}, "")
        return Contexts({str(entry["name"]): namespace(entry) for entry in entries(found)}, current(found))


def default_path() -> str:
    """Return where kubectl looks; empty where there is no home folder."""
    home = places.home()
    return os.environ.get("KUBECONFIG") or (str(home / ".kube/config") if home is not None else "")


def read(path: str, *, wanted: bool) -> Read:
    """Read the files of a kubeconfig; empty: there are none, and this is a pod with a service account.

    wanted: the user has named a kubeconfig or a context. Raises ClusterError, ValueError, YAMLError, OSError.
    """
    files = [Path(os.path.expanduser(name)) for name in path.split(os.pathsep) if name]
    found = [(file, yaml.safe_load(file.read_text())) for file in files if file.exists()]
    for file, content in found:
        if not isinstance(content, dict):
            raise ValueError(f"{file} is not a kubeconfig")
    if found or (not wanted and SERVICE_ACCOUNT.is_dir()):
        return found
    if wanted:
        raise ClusterError(f"there is no kubeconfig {path}", "kubectl config view")
    raise ClusterError(
        f"no cluster is configured: there is no kubeconfig {path or 'and no home folder'}",
        "womm setup --cluster local",
    )


def entries(found: Read) -> list[Mapping[str, Any]]:
    return [entry for _, content in found for entry in content.get("contexts") or ()]


def current(found: Read) -> str:
    return str(next((c["current-context"] for _, c in found if c.get("current-context")), ""))


def namespace(entry: Mapping[str, Any]) -> str:
    return str((entry.get("context") or {}).get("namespace") or "default")


def chosen(names: Mapping[str, object], name: str) -> str:
    """Return the name if there is such a context. Raises ClusterError."""
    if not name:
        raise ClusterError("the kubeconfig names no current context", "kubectl config get-contexts")
    if name not in names:
        raise ClusterError(f"the kubeconfig has no context {name!r}", "kubectl config get-contexts")
    return name


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn the exceptions that a strange kubeconfig causes into a ClusterError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as exc:
        raise ClusterError(f"the kubeconfig {path}: {problem(exc)}", "kubectl config view") from exc
    except OSError as exc:
        raise ClusterError(f"cannot read the kubeconfig {path}: {problem(exc)}", f"ls -l {path}") from exc


def problem(exc: BaseException) -> str:
    """Return one line. The official client names objects by their content, which must not be shown."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark is not None:
        return f"line {exc.problem_mark.line + 1} is not YAML"
    if isinstance(exc, json.JSONDecodeError):
        return "not JSON"
    text = re.sub(r"\bb'(.*)'", r"\1", str(exc))  # what a plugin has written
    text = text.replace("\\n", " ")
    return " ".join(re.sub(r"\{.*\}", "...", text, flags=re.DOTALL).split()) or type(exc).__name__
