"""From what a cluster says to what its user can do about it. Pure."""

import re
import shlex
from collections.abc import Iterable
from typing import Final

from womm import words

_LIMIT: Final = 300
_PULL_NOISE: Final = re.compile(
    r'^(Back-off pulling image "[^"]*"(: |$)|ErrImagePull: |rpc error: code = \w+ desc = '
    r'|failed to pull( and unpack)? image "[^"]*": |failed to resolve (reference|image) "[^"]*": '
    r"|failed to do request: )"
)
EXPORT: Final = re.compile(r"/womm-[0-9a-f]{32}")
"""The path of a share, which is its only lock."""
NO_NFS_CLIENT: Final = "no NFS client"

_NFS_NODES: Final = "on such nodes: apt-get install nfs-common; for other nodes: node-selector in .womm"
_ADVICE: Final = (
    (r"exceeded quota", "ask for less (--kube-pods, --kube-cpu, --kube-mem), or: kubectl describe quota"),
    (r"violates PodSecurity", "an image that does not run as root, or runAsUser in --pod-template"),
    (r"runAsNonRoot", "an image that does not run as root, or runAsUser in --pod-template"),
    (r"(maximum|minimum) (cpu|memory) usage", "other --kube-cpu or --kube-mem; kubectl describe limitrange"),
    (
        r"Insufficient (cpu|memory)|Unschedulable",
        "ask for less: --kube-cpu, --kube-mem; kubectl describe nodes",
    ),
    (
        r"file server: .*(ImagePull|ErrImage|InvalidImageName)",
        "check the image, or name another one with python3: --fileserver-python NAME; for a registry with a"
        " login also --pull-secret NAME",
    ),
    (
        r"file server: .*(executable file not found|no such file)",
        "an image with python3 (3.11 or newer): --fileserver-python NAME",
    ),
    (
        r"ImagePull|ErrImage|InvalidImageName",
        "check the image, or name its --pull-secret: womm setup --image NAME",
    ),
    (
        r"exec format error",
        "the image is for another architecture than the node: another image (womm setup --base NAME),"
        ' or node-selector = { "kubernetes.io/arch" = "amd64" } in .womm',
    ),
    (
        r"kernel too old",
        "the node's kernel is older than this machine's C library needs: other nodes (node-selector in"
        " .womm), or womm setup --image NAME",
    ),
    (r"the file server's image, has no perl", "another --fileserver-python, as python:3.13-slim-bookworm"),
    (r"executable file not found|perl.*no such file", "the image needs perl (Debian: perl-base) and sh"),
    (r"serviceaccount .* not found|service account", "kubectl get serviceaccounts; service-account in .womm"),
    (f"{NO_NFS_CLIENT}.*--share eager", f"{_NFS_NODES}; or --share eager"),
    (NO_NFS_CLIENT, _NFS_NODES),
    (r"FailedMount|MountVolume", "kubectl describe pods"),
)
_FORBIDDEN: Final = re.compile(r"cannot (create|get|list|watch|delete|deletecollection|patch|update)\b")
_ACCOUNT: Final = "system:serviceaccount:"


def advice_for(reasons: Iterable[str]) -> str:
    """Return the next thing to type or to change, for the first reason that is known."""
    for reason in reasons:
        for pattern, advice in _ADVICE:
            if re.search(pattern, reason):
                return advice
        if _FORBIDDEN.search(reason):
            return grant(reason)
    return "womm doctor"


def grant(refusal: str) -> str:
    """Return the whole line with which an admin grants what the API server refused in these words."""
    user = re.search(r'User "([^"]+)"', refusal)
    namespace = re.search(r'in the namespace "([^"]+)"', refusal)
    return grant_line(namespace[1] if namespace else "NAMESPACE", user[1] if user else "NAME")


def grant_line(namespace: str, user: str) -> str:
    """The same, of a user's name as Kubernetes has it: that of a service account has its namespace in it."""
    option, name = "--user", user
    if user.startswith(f"{_ACCOUNT}{namespace}:"):
        option, name = "--service-account", user.rpartition(":")[2]
    grantee = f"{option} {shlex.quote(name)}"
    hint = f"an admin: womm cluster-setup -n {shlex.quote(namespace)} {grantee} | kubectl apply -f -"
    return hint


def pull_words(image: str, message: str) -> str:
    """Return what the registry says of an image that cannot be pulled; empty: nothing yet.

    kubelet and the container runtime each put the image's name and a sentence before it.
    """
    line, before = " ".join(message.split()), None
    while line != before:
        before, line = line, _PULL_NOISE.sub("", line)
    if not line:
        return ""
    return line if image in line else f"{image}: {line}"


def readable(message: str) -> str:
    """A message of the cluster as one line, without what only its programs need, nor an export's path."""
    line = EXPORT.sub("/womm-...", " ".join(message.split()))
    line = re.sub(r'^(pods|Pod) "[^"]*" (is forbidden|is invalid): ', "", line)
    return words.abridged(line, _LIMIT)
