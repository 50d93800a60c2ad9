"""Two clusters as one: the pods of the first, the local jobslots of the second."""

from dataclasses import replace

import pytest

from tests.cluster.cluster_contract import SPEC, Observer, unique_task
from tests.link.wires import PERL
from womm.cluster.both import BothClusters
from womm.cluster.local import LocalCluster


@pytest.fixture
def clusters(womm_home):
    """Two clusters on this machine, with a runtime folder each."""
    folders = [womm_home.runtime / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    return [LocalCluster(folder, PERL) for folder in folders]


async def test_pods_are_the_firsts_and_local_jobslots_the_seconds(clusters, tmp_path):
    first, second = clusters
    both, observer, task = BothClusters(first, second), Observer(), unique_task()
    try:
        await both.start(replace(SPEC, task=task, folder=tmp_path, pods=1, local_slots=2), observer)
        assert (both.wanted, first.wanted, second.wanted) == (2, 1, 1)
        await observer.until(lambda: len(observer.started) == 2, "both pods")
        pods = {pod.name: pod for pod in observer.started}
        assert {name: pod.slots for name, pod in pods.items()} == {f"{task}-0": 3, f"{task}-local": 2}
        both.leave(f"{task}-local", "enough")
        await both.end_pod(pods[f"{task}-local"], "enough")
        await observer.until(lambda: observer.gone, "the end of the local one")
        assert (first.wanted, second.wanted) == (1, 0)
        assert observer.left == [(f"{task}-local", "enough")]
    finally:
        await both.stop()
