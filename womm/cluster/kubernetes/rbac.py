"""What womm may do in a namespace: the roles that an admin grants, and what `womm doctor` asks about.

Nothing here is for the whole cluster. `pods/exec` needs `get` and `create`: the websocket is a GET,
older clients POST.
"""

from collections.abc import Sequence
from typing import Any, Final

Object = dict[str, Any]

USERS: Final = "womm-user"
LEADER: Final = "womm-leader"

# API group, resources, verbs. One list for the role, the documentation and the doctor.
USER_RULES: Final = (
    ("batch", ("jobs",), ("get", "list", "watch", "create", "delete")),
    ("apps", ("deployments",), ("get", "list", "watch", "create", "patch", "delete")),
    ("apps", ("replicasets",), ("get", "list", "watch")),
    ("", ("pods",), ("get", "list", "watch", "create", "delete")),
    ("", ("pods/exec",), ("get", "create")),
    ("", ("pods/log",), ("get",)),
    ("", ("configmaps", "services"), ("get", "list", "watch", "create", "patch", "delete")),
    ("", ("secrets",), ("create", "delete")),
    ("", ("events", "resourcequotas", "limitranges"), ("get", "list", "watch")),
)
"""`create` of pods: a dry run before a task starts. Secrets are made for the file server of a share; none is
ever read."""
LEADER_RULES: Final = (
    ("batch", ("jobs",), ("get", "list", "watch", "delete")),
    ("apps", ("deployments",), ("get", "list", "watch", "patch", "delete")),
    ("apps", ("replicasets",), ("get", "list", "watch")),
    ("", ("pods",), ("get", "list", "watch", "delete")),
    ("", ("pods/exec",), ("get", "create")),
    ("", ("configmaps", "services"), ("get", "list", "watch", "delete")),
    ("", ("events",), ("get", "list", "watch")),
)


def objects(namespace: str, subjects: Sequence[Object]) -> list[tuple[str, Object]]:
    """Return (what it is for, object), in the order in which they are applied."""
    return [
        ("What people who start tasks may do.", _role(USERS, namespace, USER_RULES)),
        ("Who they are.", _binding(USERS, namespace, subjects)),
        (
            "The account of a coordinator that runs in the cluster. No worker gets its token.",
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": _metadata(LEADER, namespace),
                "automountServiceAccountToken": False,
            },
        ),
        (
            "What that coordinator may do: no secrets, nothing beyond this namespace.",
            _role(LEADER, namespace, LEADER_RULES),
        ),
        (
            "",
            _binding(LEADER, namespace, [{"kind": "ServiceAccount", "name": LEADER, "namespace": namespace}]),
        ),
    ]


def subject(kind: str, name: str, namespace: str) -> Object:
    """A User, Group or ServiceAccount that a role is granted to."""
    if kind == "ServiceAccount":
        return {"kind": kind, "name": name, "namespace": namespace}
    return {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}


def _metadata(name: str, namespace: str) -> Object:
    return {
        "name": name,
        "namespace": namespace,
        "labels": {"app.kubernetes.io/name": "womm", "app.kubernetes.io/part-of": "womm"},
    }


def _role(name: str, namespace: str, rules: Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]]) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(name, namespace),
        "rules": [
            {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
            for group, resources, verbs in rules
        ],
    }


def _binding(name: str, namespace: str, subjects: Sequence[Object]) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(name, namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": list(subjects),
    }
