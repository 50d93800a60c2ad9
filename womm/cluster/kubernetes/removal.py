"""Removing what a task has in the cluster, and looking whether something is left.

A share sets the order: its file server is removed when the pods that have mounted it are gone, since
kubelet's umount hangs for a minute without it.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from womm import words
from womm.cluster.kubernetes.client import ApiError, KubeClient
from womm.cluster.kubernetes.manifests import MANAGED_BY, TASK, WORKER, Object, root_name, selector
from womm.cluster.kubernetes.share_manifests import server_name
from womm.errors import ClusterError

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_DELAYS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
WORKERS_GONE_S: Final = 45.0
"""How long a share's file server waits for the pods that use it: those of a lost node never go."""
NODE_ANSWERS_S: Final = 15.0
"""A kubelet that is there says so much later, at the most, that a pod has ended after its time of grace."""
_LOOK_AGAIN_S: Final = 0.25
_LOOK_FOR_STRANDED_S: Final = 5.0
_KINDS: Final = ("pods", "configmaps", "services", "deployments", "replicasets", "jobs")
_NOT_NEEDED: Final = frozenset(["services"])
"""Tasks without a share need no right to these."""


async def delete_task(
    client: KubeClient,
    task: str,
    *,
    share: bool | None = None,
    before_share_ends: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Delete the objects that a task is made of; what belongs to them goes with them.

    Its pods end within seconds after that. With a share, this waits for the pods that have mounted it, and
    then does `before_share_ends`. share: whether the task has one; None: the cluster knows. An object that is
    gone already is no error. Raises ClusterError.
    """
    if share is None:
        share = await _is_there(client, "deployments", server_name(task))
    if share:
        await _delete(client, "deployments", root_name(task))
        await _until_gone(client, task)
        if before_share_ends is not None:
            await before_share_ends()
    await delete_at_once(client, task, share=share)


async def delete_at_once(client: KubeClient, task: str, *, share: bool) -> None:
    """Delete them all in no order: a file server serves on for a while. Raises ClusterError."""
    name = root_name(task)
    found = [("deployments", name), ("jobs", name), ("configmaps", name)]
    if share:
        found += [("deployments", server_name(task)), ("services", name), ("secrets", name)]
    await asyncio.gather(*(_delete(client, kind, name) for kind, name in found))


async def _is_there(client: KubeClient, kind: str, name: str) -> bool:
    try:
        await _persist(lambda: client.request("GET", f"{client.collection(kind)}/{name}"))
    except ApiError as exc:
        if exc.code not in {403, 404}:
            raise
        return False
    return True


async def _until_gone(client: KubeClient, task: str) -> None:
    deadline = time.monotonic() + WORKERS_GONE_S
    path = client.collection("pods")
    while time.monotonic() < deadline:
        pods, _ = await _persist(lambda: client.list(path, labels=selector(task, WORKER)))
        if not pods:
            return
        await asyncio.sleep(_LOOK_AGAIN_S)


async def _delete(client: KubeClient, kind: str, name: str) -> None:
    # Without this a raw DELETE of a Job leaves its pods behind.
    body: Object = {"propagationPolicy": "Foreground"}
    try:
        await _persist(lambda: client.request("DELETE", f"{client.collection(kind)}/{name}", body=body))
    except ApiError as exc:
        # What belongs to the root goes with it: to delete it is only quicker.
        if exc.code != 404 and not (exc.code == 403 and kind in {"services", "secrets"}):
            raise


@asynccontextmanager
async def without_lost_nodes(
    client: KubeClient, task: str, say: Callable[[str], None], component: str = ""
) -> AsyncIterator[None]:
    """Meanwhile, force the end of pods whose nodes are gone, as `kubectl delete --force`.

    Such a pod would be `Terminating` for as long as its node is an object, and its owners with it.
    component: of these pods only.
    """
    forcing = asyncio.create_task(_force_stranded(client, selector(task, component), say))
    try:
        yield
    finally:
        forcing.cancel()
        await asyncio.wait({forcing})


async def _force_stranded(client: KubeClient, labels: str, say: Callable[[str], None]) -> None:
    path = client.collection("pods")
    since: dict[str, float] = {}  # by uid; the clock of the API server is not asked
    while True:
        await asyncio.sleep(_LOOK_FOR_STRANDED_S)
        forced: list[Object] = []
        try:
            pods, _ = await client.list(path, labels=labels)
            for pod in [pod for pod in filter(is_unconfirmed, pods) if _is_due(pod, since)]:
                metadata = pod["metadata"]
                # This pod, not another that has got its name.
                body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
                forced.append(pod)
                await client.request("DELETE", f"{path}/{metadata['name']}", body=body)
        except ClusterError as exc:
            log.debug("pods of lost nodes: %s", exc)
            forced = forced[:-1]
        finally:  # who waits for it may see it gone before the answer is here
            _tell_forced(forced, say)


def _tell_forced(pods: Sequence[Object], say: Callable[[str], None]) -> None:
    for node, count in sorted(Counter(pod["spec"]["nodeName"] for pod in pods).items()):
        say(
            f"node {node} has not confirmed the end of {words.counted(count, 'pod')}: removed without it; the"
            " node is gone, or only slow, and what still runs there ends when it is back, or after the orphan"
            " timeout"
        )


def is_unconfirmed(pod: Object) -> bool:
    """Whether a pod is to end, and its node has not said that its containers have ended."""
    if "deletionTimestamp" not in pod["metadata"] or not (pod.get("spec") or {}).get("nodeName"):
        return False
    status = pod.get("status") or {}
    if status.get("phase") in {"Succeeded", "Failed"}:
        return False
    states = [container.get("state") or {} for container in status.get("containerStatuses") or ()]
    return not states or any("terminated" not in state for state in states)


def _is_due(pod: Object, since: dict[str, float]) -> bool:
    metadata, now = pod["metadata"], time.monotonic()
    if metadata.get("deletionGracePeriodSeconds") == 0:  # it has been forced: others hold it
        return False
    first = since.setdefault(metadata["uid"], now)
    return now - first >= (metadata.get("deletionGracePeriodSeconds") or 0) + NODE_ANSWERS_S


async def _persist(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, again and again while the API server is away. Raises ClusterError."""
    for delay in RETRY_DELAYS_S:
        try:
            return await work()
        except ApiError as exc:
            if exc.code < 500:
                raise
        except ClusterError:
            pass
        await asyncio.sleep(delay)
    return await work()


async def remaining(client: KubeClient, task: str) -> list[str]:
    """Return what the cluster still has of a task, as `pods/NAME`. Raises ClusterError."""
    return [f"{kind}/{item['metadata']['name']}" for kind, item in await _objects(client, selector(task))]


async def tasks_with_objects(client: KubeClient) -> set[str]:
    """Return the tasks of which the namespace still has anything. Raises ClusterError."""
    found = await _objects(client, f"{MANAGED_BY}=womm")
    return {str(item["metadata"]["labels"].get(TASK, "")) for _, item in found}


async def _objects(client: KubeClient, labels: str) -> list[tuple[str, Object]]:
    """All objects that a task may have, with their kinds."""

    async def of(kind: str) -> list[tuple[str, Object]]:
        try:
            items, _ = await client.list(client.collection(kind), labels=labels)
        except ApiError as exc:
            if exc.code == 403 and kind in _NOT_NEEDED:
                return []
            raise
        return [(kind, item) for item in items]

    return [found for of_kind in await asyncio.gather(*map(of, _KINDS)) for found in of_kind]
