"""The Kubernetes cluster: a task's pods are a Deployment, their agents are reached by exec.

Strategy: two watches tell everything (the task's pods, its Deployment), a PodBook decides what that
means, and this module carries it out. Nothing is polled: an idle task makes no requests. Whatever is
created hangs on one Job (see manifests), so that one DELETE, or the keeper's end, removes it all.
With a share the workers come when its file server answers: a mount that is early costs 4 s.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from womm.cluster.base import Place, Pod, PodObserver, TaskSpec
from womm.cluster.kubernetes import events, manifests, paths, shares
from womm.cluster.kubernetes.admission import admitted
from womm.cluster.kubernetes.advice import advice_for, readable
from womm.cluster.kubernetes.channel import ExecTransport
from womm.cluster.kubernetes.client import MERGE, ApiError, KubeClient, Object
from womm.cluster.kubernetes.early import EarlyDials
from womm.cluster.kubernetes.keeper import Keeper
from womm.cluster.kubernetes.manifests import About, WorkerSpec, root_name, selector
from womm.cluster.kubernetes.pods import Change, Gone, PodBook, Started, Vanished
from womm.cluster.kubernetes.removal import (
    RETRY_DELAYS_S,
    delete_at_once,
    delete_task,
    remaining,
    without_lost_nodes,
)
from womm.cluster.kubernetes.server import FileServerPods, greeted, start_server
from womm.errors import ClusterError, WommError
from womm.link.client import Dial, Offline

log = logging.getLogger(__name__)

WINDOW_BYTES: Final = 4 << 20
"""Between an agent and here are bridge, kubelet and API server, each with buffers of its own."""
GONE_TIMEOUT_S: Final = 10.0
"""How long a pod that is told to end may take before nobody waits for its node any more."""
STOP_TIMEOUT_S: Final = 60.0

AT_ONCE_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.15
DIAL_TIMEOUT_S: Final = 8.0
"""Below the link's own limit, so that there is time to ask whose fault it is."""
PROBE_TIMEOUT_S: Final = 1.5
EVENTS_AFTER_S: Final = 5.0
TELL_AFTER_S: Final = 0.1
_REMOVED: Final = "removed from the cluster: finished elsewhere, or left alone for too long"
EVENTS_PODS: Final = 3


@dataclass(frozen=True, slots=True)
class PodOptions:
    """What the project says of the pods. `image` is the workers'; see manifests.WorkerSpec."""

    image: str
    pull_secret: str = ""
    service_account: str = ""
    template: Mapping[str, Any] = field(default_factory=dict)


class KubernetesCluster:
    """See womm.cluster.base.Cluster. It closes the client; `about` makes what the cluster is to know."""

    name = "kubernetes"
    window_bytes = WINDOW_BYTES

    def __init__(self, client: KubeClient, options: PodOptions, about: Callable[[TaskSpec], About]) -> None:
        self._client: KubeClient | None = client
        self._options = options
        self._about = about
        self._observer: PodObserver | None = None
        self._spec: TaskSpec | None = None
        self._book = PodBook(1, "")
        self._early = EarlyDials(self._bridge, self._is_creating, self._answered)
        self._server: FileServerPods | None = None
        self._copies_into_pods = False
        self._filled: Object | None = None  # the workers' pod without a mount, if they can do without
        self._share_end: Callable[[], Awaitable[None]] | None = None
        self._keepers: dict[str, Keeper] = {}
        self._gone_keepers: list[Keeper] = []  # whose links may not have closed yet
        self._replicas = 0
        self._refusal = ""
        self._events: dict[str, events.Why] = {}  # by the pod's name
        self._told: dict[str, int] | None = None
        self._telling_reasons: list[str] = []
        self._telling: asyncio.TimerHandle | None = None
        self._created = False
        self._ended = ""  # why no pods will come any more
        self._deployed: set[str] = set()  # components whose Deployment has been seen
        self._draining = False
        self._stopping = False
        self._left: set[str] = set()
        self._watchers: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._deleting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<KubernetesCluster {self._book!r} of {self._replicas}>"

    @property
    def wanted(self) -> int:
        return self._replicas

    @property
    def where(self) -> Place:
        return Place(self._api.context, self._api.namespace)

    def advice(self) -> str:
        return advice_for([*self._reasons(), *self._telling_reasons])

    async def start(self, spec: TaskSpec, observer: PodObserver) -> None:
        self._spec, self._observer = spec, observer
        self._book = PodBook(spec.slots, spec.mem)
        client = self._api
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
        )
        workers = await admitted(client, workers, spec)
        if spec.share is not None and not spec.share.image and not workers.copies_into_pods:
            kind = spec.share.kind
            raise ClusterError(
                f"which image does the file server run? The project names none, and share is {kind}",
                f"womm setup --prefix REGISTRY/NAME/ --share {kind} --yes",
            )
        self._created = True  # even of a request without an answer, something may have come
        try:
            root = await client.request("POST", self._jobs, body=manifests.task_job(workers))
        except ApiError as exc:
            self._created = exc.code >= 500
            raise
        self._replicas = spec.pods
        copies_into_pods = workers.copies_into_pods or (
            spec.share is not None and shares.can_copy_into_pods(spec.share)
        )
        body = manifests.agent_scripts(replace(workers, copies_into_pods=copies_into_pods), root)
        scripts = client.request("POST", self._config_maps, body=body)
        if spec.share is None or workers.copies_into_pods:
            self._copies_into_pods = workers.copies_into_pods
            body = manifests.workers(workers, root)
            if spec.share is not None:
                body["spec"]["template"] = shares.filled(body["spec"]["template"], spec.share)
            await asyncio.gather(scripts, client.request("POST", self._deployments, body=body))
        else:
            self._server = FileServerPods()
            await scripts
            mount = await start_server(client, spec, workers, root)
            body = manifests.workers(workers, root)
            if copies_into_pods:
                self._filled = shares.filled(body["spec"]["template"], spec.share)
            body["spec"]["template"] = shares.mounted(body["spec"]["template"], mount)
            self._later(self._start_workers(self._server, body))
        mine = selector(spec.task)
        self._watch(self._follow(self._pods_path, mine, self._replace_pods, self._pod_event))
        self._watch(self._follow(self._deployments, mine, self._replace_deployments, self._deployment_event))
        self._watch(self._ask_events())

    async def _start_workers(self, server: FileServerPods, body: Object) -> None:
        """Create the workers, once what they mount is there."""
        await server.until_ready()
        for delay in (*RETRY_DELAYS_S, None):
            if self._draining:
                return
            try:
                await self._api.request("POST", self._deployments, body=body)
                return
            except ClusterError as exc:
                log.debug("workers: %s", exc)
                code = exc.code if isinstance(exc, ApiError) else 500
                if code == 409:  # an earlier request came, and its answer did not
                    return
                if code < 500 or delay is None:
                    self._give_up(readable(exc.message))
                    return
            await asyncio.sleep(delay)

    def _give_up(self, why: str) -> None:
        """No worker will ever come. Told at once: who sees that none is `wanted` asks the observer why."""
        self._replicas = 0
        self._ended = why
        self._tell_reasons_now()

    def dial(self, pod: Pod) -> Dial:
        fresh = self._dialler(pod.name, manifests.WORKER, lambda: self._book.is_live(pod))

        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            opened = self._early.take(pod.name)
            if opened is None:
                return await fresh(factory)
            opened.set_protocol(factory())
            return opened

        return connect

    def share_dial(self, command: Sequence[str] = (), *, last: bool = False) -> Dial:
        server = self._server
        if server is None:
            raise ClusterError("this task has no share")

        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            try:
                async with asyncio.timeout(DIAL_TIMEOUT_S):
                    pod = await (server.oldest_pod() if last else server.live_pod(alone=bool(command)))
            except TimeoutError as exc:
                why = ", ".join(server.reasons()) or "its last pod has not ended"
                raise OSError(f"the file server is not there: {why}") from exc
            run = self._dialler(pod, shares.FILE_SERVER, lambda: True, command or paths.SHARE_BRIDGE)
            return await (run(factory) if command else greeted(run, factory))

        return connect

    @property
    def copies_into_pods(self) -> bool:
        return self._copies_into_pods

    def copy_dial(self, pod: Pod, command: Sequence[str]) -> Dial:
        return self._dialler(pod.name, manifests.WORKER, lambda: self._book.is_live(pod), command)

    def before_share_ends(self, work: Callable[[], Awaitable[None]]) -> None:
        self._share_end = work

    def when_share_moves(self, tell: Callable[[bool], None]) -> None:
        if self._server is not None:
            self._server.when_it_moves(lambda goes: None if self._draining else tell(goes))
            self._later(self._see_servers_go(self._server))

    async def _see_servers_go(self, server: FileServerPods) -> None:
        """The next one is asked once it is alone: that of a lost node would be there for ever."""
        assert self._observer is not None
        while True:
            await server.until_one_leaves()
            async with without_lost_nodes(self._api, self._task, self._observer.notice, shares.FILE_SERVER):
                await server.until_none_leaves()

    async def end_pod(self, pod: Pod, reason: str) -> None:
        # The watch may be about to say that it has ended by itself.
        if await self._until(lambda: not self._book.is_live(pod), 1.0):
            return
        self._book.expect_end(pod, reason)
        await self._delete_pod(pod.name, 1)
        if not await self._until(lambda: not self._book.is_live(pod), GONE_TIMEOUT_S):
            # Its node does not answer. A second execution says so (WOMM_ATTEMPT), the late result of
            # the first is dropped with its link.
            await self._delete_pod(pod.name, 0)
            self._carry_out(self._book.give_up(pod))

    def leave(self, name: str, reason: str) -> None:
        assert self._observer is not None
        if name in self._left:
            return
        self._left.add(name)
        self._replicas = max(0, self._replicas - 1)
        self._observer.pod_left(name, reason)
        self._later(self._shrink(name, self._replicas))

    def drain(self) -> None:
        self._draining = True
        if self._created and self._deleting is None:
            self._deleting = asyncio.create_task(self._delete_all())

    async def stop(self) -> None:
        """Returns when the pods are gone too; cancelled, it still has asked for their removal."""
        self._draining = self._stopping = True
        client = self._client
        if client is None:
            return
        try:
            if self._created:
                await self._remove()
        except ClusterError as exc:
            raise ClusterError(f"what the task has in the cluster is not removed: {exc.message}") from exc
        finally:
            self._created = False
            await self._early.close()
            if self._telling is not None:
                self._telling.cancel()
            tasks = [*self._watchers, *self._background]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for keeper in [*self._keepers.values(), *self._gone_keepers]:
                await keeper.close()
            self._client = None
            await client.close()

    async def _remove(self) -> None:
        assert self._observer is not None
        async with without_lost_nodes(self._api, self._task, self._observer.notice):
            await self._remove_all()

    async def _remove_all(self) -> None:
        if self._deleting is None:
            self._deleting = asyncio.create_task(self._delete_all())
        try:
            await asyncio.shield(self._deleting)
        except asyncio.CancelledError:
            self._deleting.cancel()
            async with asyncio.timeout(AT_ONCE_S):
                await delete_at_once(self._api, self._task, share=self._server is not None)
            raise
        left = sorted([*self._book.names, *self._keepers])
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._until(self._is_empty, STOP_TIMEOUT_S)
                with suppress(ApiError):  # without the right to look there is nothing more to be known
                    while left := await remaining(self._api, self._task):  # the collector follows the pods
                        await asyncio.sleep(LOOK_AGAIN_S)
                return
        raise ClusterError(f"still ending after {STOP_TIMEOUT_S:.0f} s: {', '.join(left)}")

    # ---- the watches

    async def _follow(
        self,
        path: str,
        labels: str,
        replace: Callable[[list[Object]], None],
        event: Callable[[str, Object], None],
    ) -> None:
        """List and watch, for ever; `replace` gets a whole list, `event` what has changed since."""
        client, failures, version = self._api, 0, ""
        while True:
            try:
                if not version:
                    items, version = await client.list(path, labels=labels)
                    replace(items)
                async for kind, item in client.watch(path, version, labels=labels):
                    version, failures = item["metadata"]["resourceVersion"], 0
                    if kind != "BOOKMARK":
                        event(kind, item)
            except ApiError as exc:
                log.debug("watch of %s: %s", path, exc)
                version = ""
                if exc.code == 403:
                    self._refusal = readable(exc.message)
                    self._tell_reasons()
            except ClusterError as exc:
                log.debug("watch of %s: %s", path, exc)
            if failures > 0:
                await asyncio.sleep(RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S)) - 1])
            failures += 1

    def _replace_pods(self, items: list[Object]) -> None:
        keepers = [item for item in items if _component(item) == manifests.KEEPER]
        for name in set(self._keepers) - {item["metadata"]["name"] for item in keepers}:
            self._keeper_gone(name)
        for item in keepers:
            self._keeper_event("MODIFIED", item)
        if self._server is not None:
            files = [item for item in items if _component(item) == shares.FILE_SERVER]
            self._replace_server_pods(self._server.replace(files))
        self._carry_out(self._book.replace(item for item in items if _component(item) == manifests.WORKER))

    def _pod_event(self, kind: str, item: Object) -> None:
        if _component(item) == manifests.KEEPER:
            self._keeper_event(kind, item)
        elif _component(item) == shares.FILE_SERVER:
            self._server_event(kind, item)
        elif kind == "DELETED":
            self._carry_out([*self._book.apply(item), *self._book.remove(item["metadata"]["name"])])
        else:
            self._carry_out(self._book.apply(item))
        self._changed.set()

    def _server_event(self, kind: str, item: Object) -> None:
        if self._server is not None:
            gone = kind == "DELETED"
            useless = self._server.remove(item["metadata"]["name"]) if gone else self._server.apply(item)
            self._replace_server_pods(useless)
            self._tell_reasons()

    def _replace_server_pods(self, useless: Iterable[str]) -> None:
        for name in useless if not self._draining else ():
            log.debug("pod %s of the file server is replaced", name)
            self._later(self._delete_pod(name, manifests.GRACE_S))

    def _replace_deployments(self, items: list[Object]) -> None:
        for item in items:
            self._deployment_event("MODIFIED", item)
        found = {_component(item) for item in items}
        for component in self._deployed - found:
            self._deployment_event("DELETED", {"metadata": {"labels": {manifests.COMPONENT: component}}})

    def _deployment_event(self, kind: str, item: Object) -> None:
        """The Deployment tells what keeps its pods from being created; its end is the task's."""
        component = _component(item)
        refusal = ""
        if kind == "DELETED":
            if not self._draining:
                self._give_up(_REMOVED)
            if component == shares.FILE_SERVER and self._server is not None:
                self._server.deployment_gone(_REMOVED)
        else:
            self._deployed.add(component)
            conditions = (item.get("status") or {}).get("conditions") or ()
            failures = [c for c in conditions if c["type"] == "ReplicaFailure" and c["status"] == "True"]
            refusal = readable(failures[0].get("message") or "") if failures else ""
        if component == shares.FILE_SERVER and self._server is not None:
            self._server.refusal = refusal
        else:
            self._refusal = refusal
        self._tell_reasons()
        self._changed.set()

    def _carry_out(self, changes: Iterable[Change]) -> None:
        assert self._observer is not None
        for change in changes if not self._stopping else ():
            if isinstance(change, Started):
                self._events.pop(change.pod.name, None)
                self._observer.pod_started(change.pod)
            elif isinstance(change, Gone):
                self._observer.pod_gone(change.pod, change.loss, change.detail)
            elif isinstance(change, Vanished):
                self._observer.pod_vanished(change.name)
            elif not self._draining:
                log.debug("pod %s is replaced: %s", change.name, change.why)
                self._later(self._delete_pod(change.name, manifests.GRACE_S))
        if not self._draining:
            self._early.consider(self._book.creating)
        self._tell_reasons()
        self._changed.set()

    def _reasons(self) -> dict[str, int]:
        """Why workers are missing, in words and counted."""
        if self._ended:
            return {self._ended: 1}
        if self._server is not None and not self._book.names and (waits := self._server.reasons()):
            return {
                f"file server: {reason} ({text})" if text else f"file server: {reason}": 1
                for reason, text in waits.items()
            }
        texts = {**self._book.texts()}
        counts: Counter[str] = Counter(self._book.reasons())
        creating = [why for name, why in self._events.items() if self._book.is_creating(name)]
        for why in creating[: counts["ContainerCreating"]]:
            counts["ContainerCreating"] -= 1
            counts[why.reason] += 1
        share = self._spec.share if self._spec is not None else None
        texts |= events.words(creating, copied=share is not None and shares.can_copy_into_pods(share))
        missing = self._replicas - len(self._book.names)
        if self._refusal and missing > 0:
            counts[self._refusal] += missing
        return {
            f"{reason} ({texts[reason]})" if texts.get(reason) else reason: count
            for reason, count in counts.items()
            if count
        }

    def _tell_reasons(self) -> None:
        """Soon: to count the pods again for each event of one of them would be their number squared."""
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_AFTER_S, self._tell_reasons_now)

    def _tell_reasons_now(self) -> None:
        assert self._observer is not None
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        reasons = self._reasons()
        if reasons != self._told and not self._stopping:
            self._told = reasons
            # A pod that is being replaced says nothing for a moment; what its forerunner said still holds.
            telling = [reason for reason in reasons if reason not in {"ContainerCreating", "Pending"}]
            self._telling_reasons = telling or self._telling_reasons
            self._observer.pods_wait(reasons)

    async def _ask_events(self) -> None:
        """Of a pod that is being created for long, only events say why. Asked while one is, not else."""
        while True:
            self._changed.clear()
            if not self._book.creating:
                await self._changed.wait()
                continue
            await asyncio.sleep(EVENTS_AFTER_S)
            for name in self._book.creating[:EVENTS_PODS]:
                with suppress(ClusterError):  # the right to read events is not needed for more than this
                    await self._ask_events_of(name)
            self._tell_reasons()

    async def _ask_events_of(self, pod: str) -> None:
        path = f"/api/v1/namespaces/{self._api.namespace}/events"
        fields = f"involvedObject.name={pod},involvedObject.kind=Pod,type=Warning"
        items, _ = await self._api.list(path, fields=fields)
        why = events.why(items, self._book.node(pod))
        if why is None or self._draining:
            return
        if why.lacks_nfs and self._filled is not None and not self._book.live:
            await self._fill_instead(self._filled, why.lacks_nfs)
        if not (why.lacks_nfs and self._copies_into_pods):  # else it is on its way out
            self._events[pod] = why

    async def _fill_instead(self, pod: Object, node: str) -> None:
        """Workers that cannot mount the share are made again, and get a copy each."""
        assert self._observer is not None
        change = {"strategy": {"type": "Recreate", "rollingUpdate": None}, "template": pod}
        path = f"{self._deployments}/{root_name(self._task)}"
        await self._api.request("PATCH", path, body={"spec": change}, content_type=MERGE)
        self._filled, self._copies_into_pods = None, True
        self._observer.notice(
            f"{node} has no NFS client: each pod gets a copy of its own, and what jobs write stays there"
        )

    # ---- the keeper

    def _keeper_event(self, kind: str, item: Object) -> None:
        name = item["metadata"]["name"]
        status = item.get("status") or {}
        running = status.get("phase") == "Running" and "deletionTimestamp" not in item["metadata"]
        if kind == "DELETED" or (name in self._keepers and status.get("phase") in {"Failed", "Succeeded"}):
            self._keeper_gone(name)
        elif name not in self._keepers:
            self._keepers[name] = Keeper(
                name, self._dialler(name, manifests.KEEPER, lambda: not self._draining)
            )
        if running and kind != "DELETED":
            self._keepers[name].start()

    def _keeper_gone(self, name: str) -> None:
        keeper = self._keepers.pop(name, None)
        if keeper is not None:
            self._gone_keepers.append(keeper)
            self._later(keeper.close())
            self._changed.set()

    # ---- requests

    @property
    def _api(self) -> KubeClient:
        if self._client is None:
            raise ClusterError("the cluster is not connected")
        return self._client

    @property
    def _task(self) -> str:
        assert self._spec is not None
        return self._spec.task

    @property
    def _pods_path(self) -> str:
        return f"/api/v1/namespaces/{self._api.namespace}/pods"

    @property
    def _config_maps(self) -> str:
        return f"/api/v1/namespaces/{self._api.namespace}/configmaps"

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._api.namespace}/jobs"

    @property
    def _deployments(self) -> str:
        return f"/apis/apps/v1/namespaces/{self._api.namespace}/deployments"

    def _dialler(
        self, pod: str, container: str, alive: Callable[[], bool], command: Sequence[str] = paths.AGENT_BRIDGE
    ) -> Dial:
        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            if not alive():
                raise OSError(f"{pod} has ended")
            if self._client is None:
                raise Offline("the cluster is not connected")
            try:
                async with asyncio.timeout(DIAL_TIMEOUT_S):
                    return await self._client.exec(pod, container, command, factory)
            except (OSError, ClusterError, TimeoutError) as exc:
                if not await self._answers():
                    raise Offline(f"the API server does not answer ({exc})") from exc
                raise OSError(str(exc) or f"no answer from {pod}") from exc

        return connect

    async def _bridge(self, pod: str, factory: Callable[[], asyncio.BaseProtocol]) -> ExecTransport:
        return await self._api.exec(pod, manifests.WORKER, paths.AGENT_BRIDGE, factory)

    def _is_creating(self, pod: str) -> bool:
        return self._book.is_creating(pod)

    def _answered(self, pod: str) -> None:
        self._carry_out(self._book.answered(pod))

    async def _answers(self) -> bool:
        """Whether the API server is there: if not, a worker that cannot be reached may be well."""
        try:
            await self._api.request("GET", "/readyz/ping", timeout_s=PROBE_TIMEOUT_S)
        except ApiError:
            return True
        except ClusterError:
            return False
        return True

    async def _delete_pod(self, name: str, grace_s: int) -> None:
        body = {"gracePeriodSeconds": grace_s}
        with suppress(ClusterError):
            await self._api.request("DELETE", f"{self._pods_path}/{name}", body=body)

    async def _shrink(self, pod: str, replicas: int) -> None:
        """One pod fewer, and that it is this one: of those that are left, its replacement would go first."""
        await self._delete_pod(pod, 1)
        size = {"spec": {"replicas": replicas}}
        with suppress(ClusterError):
            path = f"{self._deployments}/{root_name(self._task)}"
            await self._api.request("PATCH", path, body=size, content_type=MERGE)

    async def _delete_all(self) -> None:
        share = self._server is not None
        await delete_task(self._api, self._task, share=share, before_share_ends=self._end_share)

    async def _end_share(self) -> None:
        """What the owner of the share wants done before its file server goes."""
        if self._share_end is not None:
            with suppress(WommError, TimeoutError, OSError):
                await self._share_end()

    def _is_empty(self) -> bool:
        return not self._book.names and not self._keepers

    # ---- small things

    async def _until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for what a watch will tell. False: it did not in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()
        return done()

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_tell_failure)
        self._watchers.append(task)

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_tell_failure)


def _component(item: Object) -> str:
    return str((item["metadata"].get("labels") or {}).get(manifests.COMPONENT, ""))


def _tell_failure(task: asyncio.Future[Any]) -> None:
    """A watch that has ended would leave the task blind: a bug must end it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "the cluster is not watched any more", "exception": error}
        task.get_loop().call_exception_handler(context)
