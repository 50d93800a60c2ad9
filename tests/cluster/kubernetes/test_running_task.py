"""Which part of a task hears of an object that has changed, and what it does at the API server."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.cluster_contract import SPEC, Observer
from tests.cluster.kubernetes.apiserver import ApiServer, connected
from tests.cluster.kubernetes.pods import about
from tests.cluster.kubernetes.test_pods import RUNNING, ended, pod, waiting
from tests.link.wires import DEADLINE_S
from tests.loop import until
from womm.cluster.base import Loss, Pod, ServerSpec, ShareSpec
from womm.cluster.kubernetes.execs import Execs
from womm.cluster.kubernetes.manifests import COMPONENT, KEEPER, WORKER, WorkerSpec
from womm.cluster.kubernetes.running_task import DeploymentWatcher, PodWatcher, RunningTask
from womm.cluster.kubernetes.share_manifests import FILE_SERVER, server_name
from womm.image.digests import ImageDigests

PODS = "/api/v1/namespaces/lab/pods"


class NoExecs(Execs):
    """No pod can be reached."""

    def dial(self, pod, container, alive, command=()):
        async def connect(factory):
            raise OSError(f"{pod} cannot be reached")

        return connect


def of(component, item):
    """A pod, or a Deployment, of a part of the task."""
    item["metadata"]["labels"] = {COMPONENT: component}
    return item


def server_pod(state, name="f", *, ready=True):
    conditions = (("Ready", "True", "", ""),) if ready else ()
    item = of(FILE_SERVER, pod(state, name=name, conditions=conditions))
    for container in item["status"].get("containerStatuses", ()):
        container["name"] = FILE_SERVER if container["name"] == "worker" else container["name"]
    return item


def deployment(component, refusal=""):
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": refusal}] if refusal else []
    return of(component, {"metadata": {"resourceVersion": "1"}, "status": {"conditions": conditions}})


def share(kind):
    return ShareSpec(kind, Path("/home/u/project"), {"export": b"0" * 32})


@asynccontextmanager
async def running(folder, kind="", program=None):
    """A task with two workers, its observer and the API server. program: of its file server."""
    server, observer = ApiServer(), Observer()
    async with connected(server, folder) as client:
        spec = replace(SPEC, task="t1", share=share(kind) if kind else None, server=program)
        workers = WorkerSpec("t1", about(spec), "image", "/bin/sh", 60.0)
        task = RunningTask(client, NoExecs(client), spec, workers, observer)
        try:
            yield task, observer, server
        finally:
            task.mute()
            await task.close()


@pytest.fixture
def go(tmp_path):
    @asynccontextmanager
    async def opened(kind=""):
        async with running(tmp_path, kind) as (task, observer, server):
            yield task, observer, server

    return opened


async def test_pods_are_heard_of_by_their_component(go):
    async with go() as (task, observer, _):
        pods = PodWatcher(task)
        pods.replace([of(WORKER, pod(RUNNING)), of(KEEPER, pod(RUNNING, name="k"))])
        assert observer.started == [Pod("a", 1, SPEC.slots, node="node1")]
        assert task.pods == ["a", "k"]
        pods.event("MODIFIED", of(WORKER, pod(ended(1))))
        assert [(one.name, loss) for one, loss, _ in observer.gone] == [("a", Loss.CRASHED)]
        pods.event("DELETED", of(KEEPER, pod(RUNNING, name="k")))
        pods.event("DELETED", of(WORKER, pod(ended(1))))
        assert task.pods == []
        assert observer.vanished == ["a"]


async def test_useless_worker_is_deleted_unless_the_task_ends(go):
    async with go() as (task, _, server):
        pods = PodWatcher(task)
        pods.event("ADDED", of(WORKER, pod(waiting("CrashLoopBackOff"), 3)))
        async with asyncio.timeout(DEADLINE_S):
            while not server.requests:
                await asyncio.sleep(0.01)
        task.drain()
        pods.event("ADDED", of(WORKER, pod(waiting("CrashLoopBackOff"), 3, name="b")))
        await asyncio.sleep(0.05)
        assert server.requests == [("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 10})]


async def test_refusal_of_a_deployment_is_why_its_pods_are_missing(go):
    async with go() as (task, _, _):
        deployments = DeploymentWatcher(task)
        deployments.replace([deployment(WORKER, "exceeded quota")])
        assert task.missing.reasons() == {"exceeded quota": 2}
        deployments.event("MODIFIED", deployment(WORKER))
        assert task.missing.reasons() == {}


@pytest.mark.parametrize("how", ["event", "list"])
async def test_deployment_that_is_gone_ends_the_task(go, how):
    async with go() as (task, observer, _):
        deployments = DeploymentWatcher(task)
        deployments.replace([])
        assert task.missing.wanted == 2  # none was there yet
        deployments.replace([deployment(WORKER)])
        if how == "event":
            deployments.event("DELETED", deployment(WORKER))
        else:
            deployments.replace([])
        assert task.missing.wanted == 0
        ((reason, count),) = observer.waits[-1].items()
        assert (reason.startswith("removed from the cluster"), count) == (True, 1)


async def test_deployment_that_goes_while_the_task_ends_is_no_news(go):
    async with go() as (task, observer, _):
        deployments = DeploymentWatcher(task)
        deployments.replace([deployment(WORKER)])
        task.drain()
        deployments.replace([])
        assert (task.missing.wanted, observer.waits) == (2, [])


async def test_watch_that_is_refused_is_why_workers_are_missing(go):
    async with go() as (task, _, _):
        for watcher in (PodWatcher(task), DeploymentWatcher(task)):
            task.missing.refusal = ""
            watcher.refused("cannot list pods")
            assert task.missing.reasons() == {"cannot list pods": 2}


async def test_task_without_a_share_has_no_host(go):
    async with go() as (task, _, _):
        assert task.host is None
        assert not await task.no_nfs_client("node1")
        PodWatcher(task).replace([server_pod(RUNNING)])
        assert task.pods == []


async def test_file_server_of_a_lazy_share_is_heard_of_and_cannot_be_done_without(go):
    async with go("lazy") as (task, observer, server):
        pods = PodWatcher(task)
        assert task.missing.reasons() == {"file server: starting": 1}
        pods.replace([server_pod(RUNNING)])
        assert task.missing.reasons() == {}
        DeploymentWatcher(task).event("MODIFIED", deployment(FILE_SERVER, "exceeded quota"))
        pods.event("DELETED", server_pod(RUNNING))
        assert task.missing.reasons() == {"file server: exceeded quota": 1}
        assert not task.host.copies_into_pods
        assert not await task.no_nfs_client("node1")
        assert server.requests == [] and observer.notices == []


async def test_workers_of_an_eager_share_do_without_the_mount_unless_one_has_it(go):
    async with go("eager") as (task, observer, server):
        PodWatcher(task).event("ADDED", of(WORKER, pod(RUNNING)))
        assert not await task.no_nfs_client("node1")
        PodWatcher(task).event("DELETED", of(WORKER, pod(ended(0))))
        assert await task.no_nfs_client("node1")
        assert task.host.copies_into_pods
        ((method, path, body),) = server.requests
        assert (method, path.rpartition("/")[2]) == ("PATCH", "womm-task-t1")
        volumes = body["spec"]["template"]["spec"]["volumes"]
        assert {"name": "womm-share", "emptyDir": {}} in volumes
        (notice,) = observer.notices
        assert notice.startswith("node1 has no NFS client: each pod gets a copy of its own")
        assert await task.no_nfs_client("node2")
        assert len(server.requests) == 1


async def test_end_of_a_share_is_done_and_its_failure_is_the_shares(go):
    async with go("lazy") as (task, _, _):
        await task.host.end()  # nobody has asked for anything
        done = []

        async def work():
            done.append(True)
            raise OSError("no more")

        task.host.before_share_ends(work)
        await task.host.end()
        assert done == [True]


async def test_move_of_the_file_server_is_told_unless_the_task_ends(go):
    async with go("lazy") as (task, _, _):
        told: list[bool] = []
        pods = PodWatcher(task)
        pods.replace([server_pod(RUNNING)])
        task.host.when_share_moves(told.append)
        pods.event("DELETED", server_pod(RUNNING))
        pods.event("ADDED", server_pod(RUNNING, "g"))
        assert told == [False, False]
        task.drain()
        pods.event("DELETED", server_pod(RUNNING, "g"))
        assert told == [False, False]


async def test_image_of_the_file_server_is_remembered_by_its_digest_and_its_tag_helps_where_that_fails(
    tmp_path,
):
    digests, known = ImageDigests(tmp_path), f"python@sha256:{'0a' * 32}"
    async with running(tmp_path, "lazy", ServerSpec("python:3.13", digests=digests)) as (task, _, _):
        item = server_pod(RUNNING)
        item["status"]["containerStatuses"][0]["imageID"] = f"docker.io/library/{known}"
        PodWatcher(task).event("MODIFIED", item)
        await until(lambda: digests.known("python:3.13") == known, "the digest", DEADLINE_S)
    program = ServerSpec("python:3.13", by_digest=known, digests=digests)
    async with running(tmp_path, "lazy", program) as (task, _, server):
        for _ in range(2):
            PodWatcher(task).event("MODIFIED", server_pod(waiting("ErrImagePull"), ready=False))
        await until(lambda: server.requests, "the patch", DEADLINE_S)
        assert digests.known("python:3.13") == ""
    ((method, path, body),) = server.requests
    assert (method, path.rpartition("/")[2]) == ("PATCH", server_name("t1"))
    (container,) = body["spec"]["template"]["spec"]["containers"]
    assert container == {"name": FILE_SERVER, "image": "python:3.13"}
