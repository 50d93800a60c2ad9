"""From what a cluster says to what its user can do about it. Pure."""

import re
from collections.abc import Iterable
from typing import Final

_LIMIT: Final = 300
EXPORT: Final = re.compile(r"/womm-[0-9a-f]{32}")
"""The path of a share, which is its only lock."""

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
        r"ImagePull|ErrImage|InvalidImageName",
        "check the image, or name its --pull-secret: womm setup --image NAME",
    ),
    (r"executable file not found|perl.*no such file", "the image needs perl (Debian: perl-base) and sh"),
    (r"serviceaccount .* not found|service account", "kubectl get serviceaccounts; service-account in .womm"),
    (r"FailedMount|MountVolume", "kubectl describe pods"),
    (r"cannot (create|get|list|watch|delete|patch)", "an admin: womm cluster-setup | kubectl apply -f -"),
)


def advice_for(reasons: Iterable[str]) -> str:
    """Return the next thing to type or to change, for the first reason that is known."""
    for reason in reasons:
        for pattern, advice in _ADVICE:
            if re.search(pattern, reason):
                return advice
    return "womm doctor"


def readable(message: str) -> str:
    """A message of the cluster as one line, without what only its programs need, nor an export's path."""
    line = EXPORT.sub("/womm-...", " ".join(message.split()))
    line = re.sub(r'^(pods|Pod) "[^"]*" (is forbidden|is invalid): ', "", line)
    return line if len(line) <= _LIMIT else line[: _LIMIT - 3] + "..."
