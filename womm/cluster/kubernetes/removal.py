"""Removing what a task has in the cluster, and looking whether something is left."""

import asyncio
from typing import Final

from womm.cluster.kubernetes.client import ApiError, KubeClient, Object
from womm.cluster.kubernetes.manifests import root_name, selector
from womm.errors import ClusterError

RETRY_DELAYS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
_KINDS: Final = (
    ("/api/v1", "pods"),
    ("/api/v1", "configmaps"),
    ("/apis/apps/v1", "deployments"),
    ("/apis/apps/v1", "replicasets"),
    ("/apis/batch/v1", "jobs"),
)


async def delete_task(client: KubeClient, task: str) -> None:
    """Delete the objects that a task is made of; what belongs to them goes with them.

    Its pods end within seconds after that. What is gone already is no error. Raises ClusterError.
    """
    name = root_name(task)
    collections = (
        f"/apis/apps/v1/namespaces/{client.namespace}/deployments",
        f"/apis/batch/v1/namespaces/{client.namespace}/jobs",
        f"/api/v1/namespaces/{client.namespace}/configmaps",
    )

    async def delete(collection: str) -> None:
        for delay in (*RETRY_DELAYS_S, None):
            try:
                # Without this a raw DELETE of a Job leaves its pods behind.
                body: Object = {"propagationPolicy": "Foreground"}
                await client.request("DELETE", f"{collection}/{name}", body=body)
                return
            except ApiError as exc:
                if exc.code == 404:
                    return
                if exc.code < 500 or delay is None:
                    raise
            except ClusterError:
                if delay is None:
                    raise
            await asyncio.sleep(delay)

    await asyncio.gather(*map(delete, collections))


async def remaining(client: KubeClient, task: str) -> list[str]:
    """Return what the cluster still has of a task, as `pods/NAME`. Raises ClusterError."""
    lists = await asyncio.gather(
        *(
            client.list(f"{group}/namespaces/{client.namespace}/{kind}", labels=selector(task))
            for group, kind in _KINDS
        )
    )
    return [
        f"{kind}/{item['metadata']['name']}"
        for (_, kind), (items, _) in zip(_KINDS, lists, strict=True)
        for item in items
    ]
