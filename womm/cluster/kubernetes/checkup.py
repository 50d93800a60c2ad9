"""What `womm doctor` asks the API server: can it be reached, its version, the user's rights, the quota.

It also says what a worker's reason to wait means for the doctor.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from womm import words
from womm.cluster.finding import Finding, Verdict
from womm.cluster.kubernetes.admission import NO_SERVER, refuses_nfs
from womm.cluster.kubernetes.advice import NO_NFS_CLIENT, advice_for, grant_line
from womm.cluster.kubernetes.client import ApiError, KubeClient, Target
from womm.cluster.kubernetes.rbac import USER_RULES
from womm.errors import ClusterError

VOLUMES: Final = "NFS volumes"
OLDEST_MINOR: Final = 30
"""Kubernetes 1.30 is the first whose exec can close stdin (v5.channel.k8s.io)."""
_OPTIONAL: Final = frozenset(["events", "resourcequotas", "limitranges", "pods/log"])
_OF_SHARES: Final = frozenset(["services", "secrets"])


async def ask_cluster(target: Target, found: Callable[[Finding], None], *, shares: bool) -> bool:
    """Ask the cluster; `found` gets each finding as soon as it is known. Raises nothing of womm's.

    shares: the rights that a share needs are needed. True: a worker can be started there.
    """
    try:
        client = await KubeClient.connect(target)
    except ClusterError as exc:
        found(Finding("kubeconfig", Verdict.BAD, exc.message, exc.hint or ""))
        return False
    where = f"{client.context or 'from within a cluster'}, namespace {client.namespace}"
    found(Finding("kubeconfig", Verdict.GOOD, where))
    try:
        version = await _version(client)
        found(version)
        rights = await _rights(client, shares=shares)
        found(rights)
        found(await _quota(client))
        found(await _volumes(client))
    except ClusterError as exc:
        found(Finding("API server", Verdict.BAD, exc.message, exc.hint or ""))
        return False
    finally:
        await client.close()
    return Verdict.BAD not in (version.verdict, rights.verdict)


def hopeless(reasons: Iterable[str]) -> ClusterError | None:
    """Return why no worker will ever come, if these reasons to wait for one say so."""
    reason = next((reason for reason in reasons if NO_NFS_CLIENT in reason), None)
    return ClusterError(f"none will come: {reason}", advice_for([reason])) if reason is not None else None


def hint_for(reason: str) -> str:
    """Return what to type where a worker waits for this reason; empty: the doctor knows nothing."""
    advice = advice_for([reason])
    return advice if advice != advice_for([]) else ""


async def _version(client: KubeClient) -> Finding:
    began = time.monotonic()
    version = await client.request("GET", "/version")
    took_ms = (time.monotonic() - began) * 1000
    text = f"{version.get('gitVersion')} at {client.host}, answers in {took_ms:.0f} ms"
    minor = "".join(filter(str.isdigit, str(version.get("minor", ""))))
    if version.get("major") == "1" and minor and int(minor) < OLDEST_MINOR:
        hint = f"a cluster of Kubernetes 1.{OLDEST_MINOR} or newer"
        return Finding("API server", Verdict.BAD, f"{text}: its exec cannot close stdin", hint)
    return Finding("API server", Verdict.GOOD, text)


async def _rights(client: KubeClient, *, shares: bool) -> Finding:
    """A SelfSubjectAccessReview for each verb that a task needs."""
    optional = _OPTIONAL if shares else _OPTIONAL | _OF_SHARES
    asked = [
        (group, resource, verb)
        for group, resources, verbs in USER_RULES
        for resource in resources
        for verb in verbs
        if resource not in optional
    ]
    answers = await asyncio.gather(*(_may(client, *what) for what in asked))
    denied: dict[str, list[str]] = {}
    for (_, resource, verb), may in zip(asked, answers, strict=True):
        if not may:
            denied.setdefault(resource, []).append(verb)
    if denied:
        hint = grant_line(client.namespace, await _user(client))
        missing = ", ".join(f"{resource} ({', '.join(verbs)})" for resource, verbs in denied.items())
        return Finding("permissions", Verdict.BAD, f"missing: {missing}", hint)
    kinds = words.counted(len({resource for _, resource, _ in asked}), "kind of object", "kinds of objects")
    text = f"all that a task needs here: {len(asked)} rights on {kinds}"
    return Finding("permissions", Verdict.GOOD, text)


async def _user(client: KubeClient) -> str:
    """As whom the cluster knows us; NAME where it does not say (before Kubernetes 1.28)."""
    group = "authentication.k8s.io/v1"
    body = {"apiVersion": group, "kind": "SelfSubjectReview"}
    try:
        answer = await client.request("POST", f"/apis/{group}/selfsubjectreviews", body=body)
    except ApiError:
        return "NAME"
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "NAME")


async def _may(client: KubeClient, group: str, resource: str, verb: str) -> bool:
    name, _, part = resource.partition("/")
    attributes = {
        "namespace": client.namespace,
        "verb": verb,
        "group": group,
        "resource": name,
        **({"subresource": part} if part else {}),
    }
    answer = await client.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        body={
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        },
    )
    return bool((answer.get("status") or {}).get("allowed"))


async def _volumes(client: KubeClient) -> Finding:
    """Ask by a dry run whether the namespace takes pods that mount NFS, as those with a share do."""
    volume = {"name": "probe", "nfs": {"server": NO_SERVER, "path": "/", "readOnly": True}}
    spec = {"containers": [{"name": "probe", "image": "probe"}], "volumes": [volume]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "womm-doctor-"}, "spec": spec}
    try:
        await client.request("POST", client.collection("pods"), query=[("dryRun", "All")], body=body)
    except ApiError as exc:
        if refuses_nfs(exc.message):
            text = "refused by the namespace (Pod Security `restricted`): no --image here, no lazy share"
            return Finding(VOLUMES, Verdict.WEAK, text, "a namespace that takes pods of `baseline`")
        if exc.code not in {400, 403, 422, 429}:
            raise
        return Finding(
            VOLUMES, Verdict.GOOD, "the namespace does not say; a task asks before it makes anything"
        )
    return Finding(VOLUMES, Verdict.GOOD, "the namespace takes pods that mount them")


async def _quota(client: KubeClient) -> Finding:
    try:
        quotas, _ = await client.list(f"/api/v1/namespaces/{client.namespace}/resourcequotas")
    except ApiError as exc:
        return Finding("quota", Verdict.WEAK, f"cannot be read: {exc.reason or exc.code}")
    words = []
    for quota in quotas:
        status = quota.get("status") or {}
        used = status.get("used") or {}
        words += [
            f"{name} {used.get(name, '0')} of {hard}" for name, hard in (status.get("hard") or {}).items()
        ]
    return Finding("quota", Verdict.GOOD, ", ".join(words) or "none")
