"""The tasks of a namespace, from the objects that the cluster has of them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cluster.kubernetes.apiserver import ApiServer, connected
from tests.cluster.kubernetes.test_manifests import ABOUT
from womm.cluster.kubernetes import manifests
from womm.cluster.kubernetes.client import KubeClient, Target
from womm.cluster.kubernetes.tasks import (
    STARTING_S,
    RemoteTask,
    finish_task,
    list_everywhere,
    list_tasks,
    without_objects,
    worker_logs,
)
from womm.errors import ClusterError

KEEPER, WORKER = (manifests.labels("aaaaaaaa", ABOUT, part) for part in (manifests.KEEPER, manifests.WORKER))


def job(task: str = "aaaaaaaa", age_s: float = 3600.0, **status: Any) -> Any:
    created = datetime.fromtimestamp(int(time.time() - age_s), UTC)
    return {
        "metadata": {
            "name": f"womm-task-{task}",
            "labels": {**KEEPER, manifests.TASK: task},
            "annotations": {manifests.ABOUT: ABOUT.to_json()},
            "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "status": status,
    }


def deployment(task: str = "aaaaaaaa", replicas: int = 3, ready: int | None = 2) -> Any:
    labels = {**WORKER, manifests.TASK: task}
    status = {} if ready is None else {"readyReplicas": ready}
    return {"metadata": {"labels": labels}, "spec": {"replicas": replicas}, "status": status}


class Namespace:
    """A namespace with these objects, by kind; `logs` by the pod's name."""

    def __init__(self, **objects: list[Any]) -> None:
        self.objects = objects
        self.logs: dict[str, tuple[int, Any]] = {}
        self.refused: dict[str, int] = {}
        self.server = ApiServer(self._answer)

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = urlsplit(path).path.split("/")
        kind, *rest = parts[parts.index("lab") + 1 :]
        if kind in self.refused:
            return self.refused[kind], {"message": f"no {kind}"}
        if rest[1:] == ["log"]:
            return self.logs[rest[0]]
        if method == "DELETE":
            found = [item for item in self.objects.get(kind, []) if item["metadata"]["name"] == rest[0]]
            self.objects[kind] = [item for item in self.objects.get(kind, []) if item not in found]
            return (200, {}) if found else (404, {"message": "not found"})
        if rest:
            return 404, {"message": "not found"}
        return 200, {"metadata": {"resourceVersion": "1"}, "items": self.objects.get(kind, [])}

    @asynccontextmanager
    async def connected(self, folder: Path) -> AsyncIterator[KubeClient]:
        async with connected(self.server, folder) as client:
            yield client

    async def tasks(self, folder: Path, **whose: str) -> list[RemoteTask]:
        async with self.connected(folder) as client:
            return await list_tasks(client, **whose)

    def selectors(self) -> list[str]:
        queries = [parse_qs(urlsplit(path).query) for _, path, _ in self.server.requests]
        return [query["labelSelector"][0] for query in queries if "labelSelector" in query]


async def test_task_is_its_root_and_its_workers(tmp_path: Path) -> None:
    namespace = Namespace(jobs=[job(ready=1)], deployments=[deployment()])
    (found,) = await namespace.tasks(tmp_path)
    assert (found.task, found.about, found.ready, found.wanted) == ("aaaaaaaa", ABOUT, 2, 3)
    assert (found.heard, found.ending) == (True, False)
    assert found.created == pytest.approx(time.time() - 3600, abs=5)
    assert (found.target.context, found.target.namespace) == ("x", "lab")


async def test_tasks_are_in_the_order_of_their_creation(tmp_path: Path) -> None:
    jobs = [job("bbbbbbbb", 10), job("cccccccc", 30), job("aaaaaaaa", 20)]
    found = await Namespace(jobs=jobs, deployments=[deployment("cccccccc")]).tasks(tmp_path)
    assert [(task.task[0], task.wanted) for task in found] == [("c", 3), ("a", 0), ("b", 0)]


async def test_tasks_of_a_host_and_a_user_are_asked_for_by_label(tmp_path: Path) -> None:
    namespace = Namespace()
    assert await namespace.tasks(tmp_path, host="my laptop,x=y", user="me") == []
    for selector in namespace.selectors():
        named = dict(pair.split("=") for pair in selector.split(","))
        assert named[manifests.HOST] == manifests.label_value("my laptop,x=y")
        assert (named[manifests.USER], named[manifests.MANAGED_BY]) == ("me", "womm")
    assert len(namespace.selectors()) == 2


@pytest.mark.parametrize(
    ("age_s", "status", "heard"),
    [
        (3600.0, {"ready": 1}, True),
        (3600.0, {"ready": 0}, False),
        (3600.0, {}, False),
        (STARTING_S / 2, {}, True),
        (STARTING_S * 2, {}, False),
    ],
)
async def test_task_is_heard_by_its_keeper_and_has_a_minute_to_begin(
    tmp_path: Path, age_s: float, status: Any, heard: bool
) -> None:
    (found,) = await Namespace(jobs=[job(age_s=age_s, **status)]).tasks(tmp_path)
    assert (found.heard, found.ready, found.wanted) == (heard, 0, 0)


@pytest.mark.parametrize(
    ("condition", "ending"),
    [
        ({"type": "Complete", "status": "True"}, True),
        ({"type": "Failed", "status": "True"}, True),
        ({"type": "Complete", "status": "False"}, False),
        ({"type": "Suspended", "status": "True"}, False),
        ({}, False),
    ],
)
async def test_task_ends_with_its_root(tmp_path: Path, condition: Any, ending: bool) -> None:
    (found,) = await Namespace(jobs=[job(conditions=[condition])]).tasks(tmp_path)
    assert found.ending is ending
    deleted = job()
    deleted["metadata"]["deletionTimestamp"] = deleted["metadata"]["creationTimestamp"]
    (found,) = await Namespace(jobs=[deleted]).tasks(tmp_path)
    assert found.ending


@pytest.mark.parametrize(
    "annotations",
    [None, {}, {"other": "x"}, *({manifests.ABOUT: text} for text in ("", "{", "null", "[]", "1", "{}"))],
)
async def test_root_with_an_annotation_of_others_is_still_a_task(tmp_path: Path, annotations: Any) -> None:
    root = job()
    root["metadata"]["annotations"] = annotations
    (found,) = await Namespace(jobs=[root]).tasks(tmp_path)
    assert (found.task, found.about) == ("aaaaaaaa", None)


async def test_workers_without_a_status_or_a_task_are_no_workers_of_any(tmp_path: Path) -> None:
    stray = deployment()
    stray["metadata"]["labels"] = {}
    new = deployment(ready=None)
    (found,) = await Namespace(jobs=[job()], deployments=[stray, {**new, "status": None}]).tasks(tmp_path)
    assert (found.ready, found.wanted) == (0, 3)


async def test_everywhere_names_the_silent_and_has_each_task_once(tmp_path: Path) -> None:
    namespace = Namespace(jobs=[job()])
    async with namespace.connected(tmp_path) as client:
        gone = tmp_path / "gone"
        text = (tmp_path / "kubeconfig").read_text()
        gone.write_text(text.replace(client.host.rpartition(":")[2], "1"))
        there, silent = client.target, Target(kubeconfig=str(gone))
        nowhere = Target(kubeconfig="/no/such/file")
        found, failures = await list_everywhere([there, silent, replace(there, seal=""), nowhere])
    assert [task.task for task in found] == ["aaaaaaaa"]
    assert {*failures} == {silent, nowhere}
    assert "cannot reach the cluster at http://127.0.0.1:1" in failures[silent].message


async def test_everywhere_of_nothing_is_nothing() -> None:
    assert await list_everywhere([]) == ([], {})
    assert await without_objects([]) == set()


async def test_without_objects_are_only_those_that_a_cluster_denies(tmp_path: Path) -> None:
    pod = {"metadata": {"name": "p", "labels": WORKER}}
    namespace = Namespace(pods=[pod])
    async with namespace.connected(tmp_path) as client:
        there, nowhere = client.target, Target(kubeconfig="/no/such/file")
        asked = [(there, "aaaaaaaa"), (there, "bbbbbbbb"), (nowhere, "cccccccc")]
        assert await without_objects(asked) == {"bbbbbbbb"}
        namespace.refused["pods"] = 403
        assert await without_objects(asked) == set()


async def test_finish_removes_the_objects_and_returns_when_they_are_gone(tmp_path: Path) -> None:
    objects = {
        "jobs": [job()],
        "deployments": [{"metadata": {"name": "womm-task-aaaaaaaa"}}],
        "configmaps": [{"metadata": {"name": "womm-task-aaaaaaaa"}}],
    }
    namespace = Namespace(**objects)
    async with namespace.connected(tmp_path) as client:
        assert await finish_task(client.target, "aaaaaaaa") == []
        assert not any(namespace.objects.values())
        assert await finish_task(client.target, "aaaaaaaa") == []
        namespace.refused["jobs"] = 403
        with pytest.raises(ClusterError, match="no jobs"):
            await finish_task(client.target, "aaaaaaaa")


def with_logs(**logs: tuple[int, Any]) -> Namespace:
    """A namespace with pods that have printed these, as JSON has it."""
    namespace = Namespace(pods=[{"metadata": {"name": name}} for name in sorted(logs, reverse=True)])
    namespace.logs = logs
    return namespace


async def read(namespace: Namespace, folder: Path, *, follow: bool) -> list[tuple[str, bytes]]:
    async with namespace.connected(folder) as client:
        return [found async for found in worker_logs(client, "aaaaaaaa", follow=follow)]


@pytest.mark.parametrize("follow", [False, True])
async def test_logs_of_all_workers(tmp_path: Path, follow: bool) -> None:
    found = await read(with_logs(a=(200, "x"), b=(200, "y" * 70_000)), tmp_path, follow=follow)
    whole = {pod: b"".join(piece for name, piece in found if name == pod) for pod in ("a", "b")}
    assert whole == {"a": b'"x"', "b": b'"' + b"y" * 70_000 + b'"'}
    if not follow:
        assert [pod for pod, _ in found] == sorted(pod for pod, _ in found)
    assert await read(with_logs(), tmp_path, follow=follow) == []


@pytest.mark.parametrize("follow", [False, True])
async def test_logs_that_the_cluster_refuses_are_an_error_after_those_of_the_others(
    tmp_path: Path, follow: bool
) -> None:
    namespace = with_logs(a=(200, "x"), b=(403, {"message": "no logs for you"}))
    found = []
    async with namespace.connected(tmp_path) as client:
        with pytest.raises(ClusterError, match="no logs for you"):
            async for pod, _ in worker_logs(client, "aaaaaaaa", follow=follow):
                found.append(pod)
    assert found == ["a"]


async def test_logs_that_are_followed_can_be_left_at_any_time(tmp_path: Path) -> None:
    async with with_logs(a=(200, "x"), b=(200, "y")).connected(tmp_path) as client:
        logs = worker_logs(client, "aaaaaaaa", follow=True)
        assert (await anext(logs))[1]
        await logs.aclose()  # type: ignore[attr-defined]
