"""Changes to the objects of one task while it runs."""

from contextlib import suppress

from womm.cluster.kubernetes.client import MERGE, STRATEGIC_MERGE, KubeClient
from womm.cluster.kubernetes.manifests import Object, root_name
from womm.cluster.kubernetes.share_manifests import FILE_SERVER, server_name
from womm.errors import ClusterError


class TaskObjects:
    """The pods and the Deployments of a task, at the API server."""

    def __init__(self, client: KubeClient, task: str) -> None:
        self.client = client
        self.task = task

    def __repr__(self) -> str:
        return f"<TaskObjects {self.task}>"

    async def delete_pod(self, name: str, grace_s: int) -> None:
        """Delete a pod, as well as it can be done: the watch tells what becomes of it."""
        with suppress(ClusterError):
            path = f"{self.client.collection('pods')}/{name}"
            await self.client.request("DELETE", path, body={"gracePeriodSeconds": grace_s})

    async def shrink(self, pod: str, replicas: int) -> None:
        """Delete this worker for good.

        The pod goes first. With a smaller Deployment alone, Kubernetes would choose which pod goes.
        """
        await self.delete_pod(pod, 1)
        with suppress(ClusterError):
            await self._patch_workers({"replicas": replicas})

    async def replace_workers(self, pod: Object) -> None:
        """Make all workers again from another template (metadata, spec). Raises ClusterError."""
        strategy = {"type": "Recreate", "rollingUpdate": None}
        await self._patch_workers({"strategy": strategy, "template": pod})

    async def use_server_image(self, image: str) -> None:
        """Make the file server's pod again, from another image. Raises ClusterError."""
        pod = {"containers": [{"name": FILE_SERVER, "image": image}]}
        path = f"{self.client.collection('deployments')}/{server_name(self.task)}"
        body = {"spec": {"template": {"spec": pod}}}
        await self.client.request("PATCH", path, body=body, content_type=STRATEGIC_MERGE)

    async def warnings(self, pod: str) -> list[Object]:
        """Return the events of a pod that are warnings. Raises ClusterError."""
        fields = f"involvedObject.name={pod},involvedObject.kind=Pod,type=Warning"
        items, _ = await self.client.list(self.client.collection("events"), fields=fields)
        return items

    async def _patch_workers(self, spec: Object) -> None:
        path = f"{self.client.collection('deployments')}/{root_name(self.task)}"
        await self.client.request("PATCH", path, body={"spec": spec}, content_type=MERGE)
