"""Changes to a task's objects: which requests they are, and in which order."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cluster.kubernetes.apiserver import ApiServer, connected
from tests.loop import run
from womm.cluster.kubernetes.client import ApiError
from womm.cluster.kubernetes.objects import TaskObjects

PODS = "/api/v1/namespaces/lab/pods"
WORKERS = "/apis/apps/v1/namespaces/lab/deployments/womm-task-t1"


def requests(tmp_path, work, answer=None):
    """Run some work with the objects of task t1; return the requests."""
    server = ApiServer() if answer is None else ApiServer(answer)

    async def main():
        async with connected(server, tmp_path) as client:
            await work(TaskObjects(client, "t1"))

    run(main())
    return server.requests


def test_shrink_deletes_the_pod_before_the_deployment_is_smaller(tmp_path):
    assert requests(tmp_path, lambda objects: objects.shrink("a", 3)) == [
        ("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 1}),
        ("PATCH", WORKERS, {"spec": {"replicas": 3}}),
    ]


def test_shrink_of_what_the_cluster_refuses_is_no_failure(tmp_path):
    found = requests(tmp_path, lambda objects: objects.shrink("a", 3), lambda *request: (403, {}))
    assert [method for method, _, _ in found] == ["DELETE", "PATCH"]


def test_replaced_workers_are_never_there_beside_the_old_ones(tmp_path):
    pod: dict[str, object] = {"metadata": {}, "spec": {}}
    strategy = {"type": "Recreate", "rollingUpdate": None}
    (found,) = requests(tmp_path, lambda objects: objects.replace_workers(pod))
    assert found == ("PATCH", WORKERS, {"spec": {"strategy": strategy, "template": pod}})
    with pytest.raises(ApiError):
        requests(tmp_path, lambda objects: objects.replace_workers(pod), lambda *request: (403, {}))


def test_warnings_are_those_of_one_pod(tmp_path):
    items = [{"metadata": {"name": "e"}, "reason": "Failed"}]

    async def work(objects):
        assert await objects.warnings("a") == items

    answer = {"metadata": {"resourceVersion": "1"}, "items": items}
    ((method, path, _),) = requests(tmp_path, work, lambda *request: (200, answer))
    url = urlsplit(path)
    assert (method, url.path) == ("GET", "/api/v1/namespaces/lab/events")
    fields = "involvedObject.name=a,involvedObject.kind=Pod,type=Warning"
    assert parse_qs(url.query)["fieldSelector"] == [fields]
