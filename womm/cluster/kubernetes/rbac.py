"""What womm may do in a namespace: the manifests that an admin applies, and the rules that are in them.

The files of the folder `manifests` are the one source: `womm cluster-setup` prints them with the names filled
in, and `womm doctor` asks the cluster about their rules. As they stand they are for the namespace `default`
and for nobody.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from womm.cluster.kubernetes.manifests import Object

Rule: TypeAlias = tuple[str, tuple[str, ...], tuple[str, ...]]
"""API group, resources, verbs."""

_PACKAGE: Final = Path(__file__).parents[2]
_FOLDERS: Final = (_PACKAGE / "manifests", _PACKAGE.parent / "manifests")
"""In an installed womm, and in a checkout."""
_FILES: Final = ("users.yaml", "leader.yaml")
_NAMESPACE: Final = "namespace: default\n"
_NOBODY: Final = "subjects: []\n"


def filled_in(namespace: str, subjects: Sequence[Object]) -> str:
    """Return the manifests, with their comments, for a namespace and those who get the users' role."""
    text = "\n".join(map(_read, _FILES))
    text = text.replace(_NAMESPACE, _entry("namespace", namespace))
    return text.replace(_NOBODY, _entry("subjects", list(subjects)))


def subject(kind: str, name: str, namespace: str) -> Object:
    """A User, Group or ServiceAccount that a role is granted to."""
    if kind == "ServiceAccount":
        return {"kind": kind, "name": name, "namespace": namespace}
    return {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}


def _read(name: str) -> str:
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
    return (folder / name).read_text(encoding="utf-8")


def _entry(name: str, value: Any) -> str:
    """One entry of a mapping as YAML: whatever a name has in it stays a name."""
    return str(yaml.safe_dump({name: value}, sort_keys=False, width=float("inf"), allow_unicode=True))


def _rules(file: str) -> tuple[Rule, ...]:
    (role,) = [item for item in yaml.safe_load_all(_read(file)) if item["kind"] == "Role"]
    return tuple(
        (group, tuple(rule["resources"]), tuple(rule["verbs"]))
        for rule in role["rules"]
        for group in rule["apiGroups"]
    )


USER_RULES: Final = _rules("users.yaml")
LEADER_RULES: Final = _rules("leader.yaml")
