"""The Kubernetes cluster: a task's pods are a Deployment, their agents are reached by exec.

Strategy: two watches tell everything (the task's pods, its Deployments); `Workers`, `Keepers` and
`FileServerHost` each carry out what that means for their pods. Nothing is polled: an idle task makes no
requests. Whatever is created hangs on one Job (see manifests), so that one DELETE, or the keeper's end,
removes it all. With a share the workers come when its file server answers: a mount that is early costs 4 s.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from womm.background import Background
from womm.cluster.base import Place, Pod, PodObserver, TaskSpec
from womm.cluster.kubernetes import here_manifests, manifests, share_manifests
from womm.cluster.kubernetes.admission import admitted
from womm.cluster.kubernetes.advice import advice_for, readable
from womm.cluster.kubernetes.client import ApiError, KubeClient
from womm.cluster.kubernetes.execs import Execs
from womm.cluster.kubernetes.file_server import FileServerPods, start_server
from womm.cluster.kubernetes.here_nodes import check_nodes
from womm.cluster.kubernetes.manifests import About, Object, WorkerSpec, selector
from womm.cluster.kubernetes.removal import (
    RETRY_DELAYS_S,
    delete_at_once,
    delete_task,
    remaining,
    without_lost_nodes,
)
from womm.cluster.kubernetes.running_task import DeploymentWatcher, PodWatcher, RunningTask
from womm.cluster.kubernetes.share_host import FileServerHost
from womm.cluster.kubernetes.watch import follow
from womm.cluster.kubernetes.workers import until
from womm.errors import ClusterError
from womm.link.client import Dial

log = logging.getLogger(__name__)

WINDOW_BYTES: Final = 4 << 20
"""Between an agent and here are bridge, kubelet and API server, each with buffers of its own."""
STOP_TIMEOUT_S: Final = 60.0
AT_ONCE_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.15


@dataclass(frozen=True, slots=True)
class PodOptions:
    """The project's settings for the pods. `image` is the workers'; see manifests.WorkerSpec."""

    image: str
    pull_secret: str = ""
    service_account: str = ""
    template: Mapping[str, Any] = field(default_factory=dict)


class KubernetesCluster:
    """See womm.cluster.base.Cluster. It closes the client.

    about: makes what the cluster is to know of a task. execs: how pods are reached; None: through the client.
    """

    name = "kubernetes"
    window_bytes = WINDOW_BYTES

    def __init__(
        self,
        client: KubeClient,
        options: PodOptions,
        about: Callable[[TaskSpec], About],
        execs: Execs | None = None,
    ) -> None:
        self._client = client
        self._execs = Execs(client) if execs is None else execs
        self._options = options
        self._about = about
        self._task: RunningTask | None = None
        self._watches = Background()
        self._created = False
        self._deleting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<KubernetesCluster {self._task.missing if self._task else 'not started'!r}>"

    @property
    def wanted(self) -> int:
        return self._task.missing.wanted if self._task is not None else 0

    @property
    def where(self) -> Place:
        return Place(self._client.context, self._client.namespace)

    @property
    def share_host(self) -> FileServerHost | None:
        return self._task.host if self._task is not None else None

    def advice(self) -> str:
        return self._task.missing.advice() if self._task is not None else advice_for(())

    async def start(self, spec: TaskSpec, observer: PodObserver) -> None:
        workers = WorkerSpec(
            task=spec.task,
            about=self._about(spec),
            image=self._options.image,
            shell=spec.shell,
            orphan_timeout_s=spec.orphan_timeout_s,
            env=spec.env,
            pull_secret=self._options.pull_secret,
            service_account=self._options.service_account,
            template=self._options.template,
            brings_bootstrap=share_manifests.has_bundle(spec),
            keeper_image=share_manifests.server_image(spec) if spec.programs is not None else "",
        )
        if spec.programs is not None:
            await check_nodes(self._client, workers, spec.programs)
        workers = await admitted(self._client, workers, spec)
        task = self._task = RunningTask(self._client, self._execs, spec, workers, observer)
        self._created = True  # even of a request without an answer, something may have come
        try:
            root = await self._client.request(
                "POST", self._client.collection("jobs"), body=manifests.task_job(workers)
            )
        except ApiError as exc:
            self._created = exc.code >= 500
            raise
        await self._create(task, workers, root)
        mine = selector(spec.task)
        for kind, watcher in (("pods", PodWatcher(task)), ("deployments", DeploymentWatcher(task))):
            self._watches.spawn(follow(self._client, self._client.collection(kind), mine, watcher))
        self._watches.spawn(task.workers.ask_events(task.no_nfs_client))
        if task.filling is not None:
            self._watches.spawn(task.filling.run())

    async def _create(self, task: RunningTask, workers: WorkerSpec, root: Object) -> None:
        """Create all that hangs on the root; workers that mount the share are created in the background."""
        client, share = self._client, task.spec.share
        copies = replace(workers, copies_into_pods=task.copies_into_pods)
        scripts = client.request(
            "POST", client.collection("configmaps"), body=manifests.agent_scripts(copies, root)
        )
        body = manifests.workers(workers, root)
        pod = body["spec"]["template"]
        if task.server is None:
            if share is not None:
                body["spec"]["template"] = share_manifests.filled(pod, share)
            await asyncio.gather(scripts, client.request("POST", client.collection("deployments"), body=body))
        else:
            await scripts
            address = await start_server(client, task.spec, workers, root)
            body["spec"]["template"] = here_manifests.served(pod, address, task.spec)
            self._watches.spawn(self._create_workers(task, task.server, body))

    async def _create_workers(self, task: RunningTask, server: FileServerPods, body: Object) -> None:
        """Create the workers, once what they mount is there."""
        await server.until_ready()
        if task.host is not None:
            await task.host.until_released()
        task.missing.held = ""
        for delay in (*RETRY_DELAYS_S, None):
            if task.draining:
                return
            try:
                await self._client.request("POST", self._client.collection("deployments"), body=body)
                return
            except ClusterError as exc:
                log.debug("workers: %s", exc)
                code = exc.code if isinstance(exc, ApiError) else 500
                if code == 409:  # an earlier request came, and its answer did not
                    return
                if code < 500 or delay is None:
                    task.missing.give_up(readable(exc.message))
                    return
            await asyncio.sleep(delay)

    def dial(self, pod: Pod) -> Dial:
        return self._running.workers.dial(pod)

    async def end_pod(self, pod: Pod, reason: str) -> None:
        await self._running.workers.end(pod, reason)

    def leave(self, name: str, reason: str) -> None:
        self._running.workers.leave(name, reason)

    def drain(self) -> None:
        if self._task is not None:
            self._task.drain()
            self._begin_deletion(self._task)

    async def stop(self) -> None:
        """Returns when the pods are gone too; cancelled, it still has asked for their removal."""
        if self._client.is_closed:
            return
        try:
            if self._task is not None:
                self._task.mute()
                await self._remove(self._task)
        except ClusterError as exc:
            raise ClusterError(f"what the task has in the cluster is not removed: {exc.message}") from exc
        finally:
            self._created = False
            await self._watches.close()
            if self._task is not None:
                await self._task.close()
            await self._client.close()

    @property
    def _running(self) -> RunningTask:
        assert self._task is not None
        return self._task

    def _begin_deletion(self, task: RunningTask) -> None:
        if self._created and self._deleting is None:
            share = task.server is not None
            end = task.host.end if task.host is not None else None
            work = delete_task(self._client, task.spec.task, share=share, before_share_ends=end)
            self._deleting = asyncio.create_task(work)

    async def _remove(self, task: RunningTask) -> None:
        """Delete the task's objects, and wait until they are gone. Raises ClusterError."""
        self._begin_deletion(task)
        if self._deleting is None:
            return
        async with without_lost_nodes(self._client, task.spec.task, task.observer.notice):
            try:
                await asyncio.shield(self._deleting)
            except asyncio.CancelledError:
                self._deleting.cancel()
                async with asyncio.timeout(AT_ONCE_S):
                    await delete_at_once(self._client, task.spec.task, share=task.server is not None)
                raise
            await self._until_gone(task)

    async def _until_gone(self, task: RunningTask) -> None:
        left = task.pods
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await until(task.changed, lambda: not task.pods, STOP_TIMEOUT_S)
                with suppress(ApiError):  # without the right to look there is nothing more to be known
                    # The collector follows the pods.
                    while left := await remaining(self._client, task.spec.task):
                        await asyncio.sleep(LOOK_AGAIN_S)
                return
        raise ClusterError(f"still ending after {STOP_TIMEOUT_S:.0f} s: {', '.join(left)}")
