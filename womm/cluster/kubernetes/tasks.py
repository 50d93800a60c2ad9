"""The tasks of a namespace, as the cluster itself knows them, without journals and process ids.

Anybody who may read the namespace sees them, from any machine. A task is alive while its keeper hears
its coordinator: that is the keeper's readiness.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from womm.cluster.kubernetes import manifests
from womm.cluster.kubernetes.client import ApiError, KubeClient, Target
from womm.cluster.kubernetes.manifests import About, Object, label_value, selector
from womm.cluster.kubernetes.removal import delete_task, remaining, tasks_with_objects, without_lost_nodes
from womm.errors import ClusterError

STARTING_S: Final = 60.0
"""A keeper may take so long to hear its coordinator for the first time."""
GONE_TIMEOUT_S: Final = 90.0
_POLL_S: Final = 0.25
_LIST_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """A task's root in the cluster, and its workers.

    about: None when its annotation is not womm's. created: seconds since the epoch, the API server's
    clock. heard: its coordinator has been heard of within a minute, or it has only just begun.
    ending: it is being removed.
    """

    task: str
    about: About | None
    created: float
    ready: int
    wanted: int
    heard: bool
    ending: bool
    target: Target


async def list_tasks(client: KubeClient, *, host: str = "", user: str = "") -> list[RemoteTask]:
    """Return the namespace's tasks, of one host and user if given. Raises ClusterError."""
    labels = f"{manifests.MANAGED_BY}=womm"
    for name, value in ((manifests.HOST, host), (manifests.USER, user)):
        if value:
            labels += f",{name}={label_value(value)}"
    jobs, deployments = await asyncio.gather(
        client.list(
            client.collection("jobs"),
            labels=f"{labels},{manifests.COMPONENT}={manifests.KEEPER}",
        ),
        client.list(
            client.collection("deployments"),
            labels=f"{labels},{manifests.COMPONENT}={manifests.WORKER}",
        ),
    )
    workers = {item["metadata"]["labels"].get(manifests.TASK): item for item in deployments[0]}
    found = [_remote_task(client, job, workers) for job in jobs[0]]
    return sorted(found, key=lambda task: task.created)


async def list_everywhere(
    targets: Iterable[Target], *, host: str = "", user: str = ""
) -> tuple[list[RemoteTask], dict[Target, ClusterError]]:
    """Return the tasks of several namespaces, each once, and why some could not be listed."""
    asked = list(targets)

    async def one(target: Target) -> list[RemoteTask]:
        client = await KubeClient.connect(target)
        try:
            async with asyncio.timeout(_LIST_TIMEOUT_S):
                return await list_tasks(client, host=host, user=user)
        except TimeoutError as exc:
            raise ClusterError(f"the cluster at {client.host} does not answer") from exc
        finally:
            await client.close()

    found: dict[str, RemoteTask] = {}
    failures: dict[Target, ClusterError] = {}
    results = await asyncio.gather(*map(one, asked), return_exceptions=True)
    for target, result in zip(asked, results, strict=True):
        if isinstance(result, ClusterError):
            failures[target] = result
        elif isinstance(result, BaseException):
            raise result
        else:
            found |= {task.task: task for task in result}
    return list(found.values()), failures


async def without_objects(tasks: Iterable[tuple[Target, str]]) -> set[str]:
    """Return the tasks whose clusters have answered that they have nothing of them."""

    async def of(target: Target, names: list[str]) -> set[str]:
        client = await KubeClient.connect(target)
        try:
            async with asyncio.timeout(_LIST_TIMEOUT_S):
                return set(names) - await tasks_with_objects(client)
        finally:
            await client.close()

    named: dict[Target, list[str]] = {}
    for target, task in tasks:
        named.setdefault(target, []).append(task)
    gone: set[str] = set()
    for result in await asyncio.gather(*(of(*item) for item in named.items()), return_exceptions=True):
        if isinstance(result, set):
            gone |= result
        elif not isinstance(result, ClusterError | TimeoutError):
            raise result
    return gone


def _remote_task(client: KubeClient, job: Object, workers: dict[str | None, Object]) -> RemoteTask:
    metadata, status = job["metadata"], job.get("status") or {}
    task = str(metadata["labels"].get(manifests.TASK, ""))
    deployment = workers.get(task) or {}
    created = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
    try:
        about = About.from_json((metadata.get("annotations") or {}).get(manifests.ABOUT, ""))
    except ValueError:
        about = None
    over = any(
        condition.get("type") in {"Complete", "Failed"} and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )
    return RemoteTask(
        task=task,
        about=about,
        created=created,
        ready=int((deployment.get("status") or {}).get("readyReplicas") or 0),
        wanted=int((deployment.get("spec") or {}).get("replicas") or 0),
        heard=bool(status.get("ready")) or time.time() - created < STARTING_S,
        ending=over or "deletionTimestamp" in metadata,
        target=client.target,
    )


async def finish_task(target: Target, task: str) -> list[str]:
    """Remove everything a task has in the cluster and wait until it is gone; return notices for the user.

    Raises ClusterError.
    """
    told: list[str] = []
    client = await KubeClient.connect(target)
    try:
        async with without_lost_nodes(client, task, told.append):
            await delete_task(client, task)
            deadline = time.monotonic() + GONE_TIMEOUT_S
            while left := await remaining(client, task):
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"task {task}: still ending after {GONE_TIMEOUT_S:.0f} s: {', '.join(left)}",
                        f"kubectl -n {client.namespace} get all -l {selector(task)}",
                    )
                await asyncio.sleep(_POLL_S)
    finally:
        await client.close()
    return told


async def worker_logs(client: KubeClient, task: str, *, follow: bool) -> AsyncIterator[tuple[str, bytes]]:
    """Yield (pod, piece) of what the jobs in a task's workers have written lately; pods one by one,
    or with `follow` as it comes. Raises ClusterError.
    """
    path = client.collection("pods")
    pods, _ = await client.list(path, labels=selector(task, manifests.WORKER))
    names = sorted(pod["metadata"]["name"] for pod in pods)
    if not follow:
        for name in names:
            async for piece in client.log(name, manifests.WORKER, follow=False):
                yield name, piece
        return
    queue: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(100)

    async def copy(name: str) -> None:
        try:
            async for piece in client.log(name, manifests.WORKER, follow=True):
                await queue.put((name, piece))
        except ClusterError as exc:
            if isinstance(exc, ApiError):
                raise
            # The log was cut off, as happens when its pod is removed.
        finally:
            await queue.put(None)

    copies = [asyncio.create_task(copy(name)) for name in names]
    try:
        running = len(copies)
        while running:
            item = await queue.get()
            if item is None:
                running -= 1
            else:
                yield item
        await asyncio.gather(*copies)  # a refusal, once the other pods' logs have ended
    finally:
        for task_ in copies:
            task_.cancel()
