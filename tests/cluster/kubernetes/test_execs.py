"""A pod that is out of reach is not a cluster that is: links wait for the one, and give up the other."""

import asyncio

import pytest

from tests.cluster.kubernetes.apiserver import ApiServer, connected
from tests.loop import run
from womm.cluster.kubernetes.execs import Execs
from womm.link.client import Offline

EXEC = "/api/v1/namespaces/lab/pods/a/exec"


def dialled(tmp_path, answer=lambda *request: (404, {}), *, alive=True, closed=False):
    """Dial pod a; return the error and the paths that were requested."""
    server = ApiServer(answer)

    async def main():
        async with connected(server, tmp_path) as client:
            dial = Execs(client).dial("a", "worker", lambda: alive, ("true",))
            if closed:
                await client.close()
            with pytest.raises(OSError) as failed:
                await dial(asyncio.Protocol)
            return failed.value

    error = run(main())
    return error, [path.partition("?")[0] for _, path, _ in server.requests]


def test_pod_that_cannot_be_reached_is_no_fault_of_the_cluster(tmp_path):
    error, paths = dialled(tmp_path)
    assert not isinstance(error, Offline)
    assert paths == [EXEC, "/readyz/ping"]


def test_cluster_that_is_not_ready_is_there(tmp_path):
    error, _ = dialled(tmp_path, lambda *request: (500, {"message": "etcd is away"}))
    assert not isinstance(error, Offline)


def test_pod_that_has_ended_is_not_tried(tmp_path):
    error, paths = dialled(tmp_path, alive=False)
    assert (str(error), paths) == ("a has ended", [])


def test_cluster_that_is_not_connected_is_offline(tmp_path):
    error, paths = dialled(tmp_path, closed=True)
    assert isinstance(error, Offline)
    assert paths == []
