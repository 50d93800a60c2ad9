"""Which pods are removed by force at the end of a task."""

from typing import Any

import pytest

from womm.cluster.kubernetes.removal import is_unconfirmed

RUNNING = {"running": {"startedAt": "2026-11-21T00:00:00Z"}}
WAITING = {"waiting": {"reason": "ContainerCreating"}}
ENDED = {"terminated": {"exitCode": 0}}


def pod(*states: dict[str, Any], phase: str = "Running", node: str = "node1", ends: bool = True) -> Any:
    metadata = {"name": "pod", "uid": "1"} | ({"deletionTimestamp": "2026-11-21T00:00:00Z"} if ends else {})
    containers = [{"name": f"c{number}", "state": state} for number, state in enumerate(states)]
    spec = {"nodeName": node} if node else {}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, "containerStatuses": containers}}


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(pod(RUNNING), id="its container runs"),
        pytest.param(pod(ENDED, RUNNING), id="one of its containers runs"),
        pytest.param(pod(WAITING, phase="Pending"), id="its container was being made"),
        pytest.param(pod(phase="Pending"), id="its node has never said a word"),
    ],
)
def test_pod_whose_node_has_not_said_that_it_has_ended(item: Any) -> None:
    assert is_unconfirmed(item)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(pod(RUNNING, ends=False), id="nobody has told it to end"),
        pytest.param(pod(ENDED), id="kubelet is there and busy unmounting"),
        pytest.param(pod(ENDED, phase="Failed"), id="it has ended"),
        pytest.param(pod(phase="Failed"), id="evicted"),
        pytest.param(pod(phase="Pending", node=""), id="no node has it"),
    ],
)
def test_pod_that_needs_no_force(item: Any) -> None:
    assert not is_unconfirmed(item)
