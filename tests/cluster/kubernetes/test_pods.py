"""What a watch of pods means: sequences as a real cluster sends them, and any order of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.cluster.base import Loss, Pod
from womm.cluster.kubernetes.pods import Gone, PodBook, Replace, Started, Vanished

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def pod(
    state: dict[str, Any] | None = None,
    restarts: int = 0,
    *,
    name: str = "a",
    phase: str = "Running",
    last: dict[str, Any] | None = None,
    deleted: bool = False,
    conditions: tuple[tuple[str, str, str, str], ...] = (),
    node: str = "node1",
    **status: str,
) -> dict[str, Any]:
    """A pod as the API server has it; conditions are type, status, reason and message."""
    metadata: dict[str, Any] = {"name": name, "resourceVersion": "1"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found: dict[str, Any] = {"phase": phase, **status}
    if state is not None:
        sidecar = {"name": "other", "restartCount": 9, "state": RUNNING, "lastState": {}}
        worker = {"name": "worker", "restartCount": restarts, "state": state, "lastState": last or {}}
        found["containerStatuses"] = [sidecar, worker]
    found["conditions"] = [
        dict(zip(("type", "status", "reason", "message"), condition, strict=True)) for condition in conditions
    ]
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": found}


def life(name: str, instance: int) -> Pod:
    return Pod(name, instance, 2, node="node1")


A1, A2 = life("a", 1), life("a", 2)


def book() -> PodBook:
    return PodBook(2, "64Mi")


def started() -> PodBook:
    made = book()
    assert made.apply(pod(RUNNING)) == [Started(A1)]
    return made


def test_start_tells_of_the_worker_once_and_of_why_it_waited() -> None:
    pods = book()
    unschedulable = (("PodScheduled", "False", "Unschedulable", "0/1 nodes: Insufficient cpu."),)
    for event, reasons in (
        (pod(phase="Pending", node=""), {"Pending": 1}),
        (pod(phase="Pending", node="", conditions=unschedulable), {"Unschedulable": 1}),
        (pod(phase="Pending"), {"ContainerCreating": 1}),
        (pod(waiting("ContainerCreating"), phase="Pending"), {"ContainerCreating": 1}),
        (pod(waiting("ErrImagePull", "no such image"), phase="Pending"), {"ImagePullBackOff": 1}),
    ):
        assert pods.apply(event) == []
        assert pods.reasons() == reasons
    assert "no such image" in pods.texts()["ImagePullBackOff"]
    # An older kubelet says only once why.
    assert pods.apply(pod(waiting("ImagePullBackOff", 'Back-off pulling image "x"'), phase="Pending")) == []
    assert "no such image" in pods.texts()["ImagePullBackOff"]
    assert pods.apply(pod(RUNNING)) == [Started(A1)]
    assert pods.apply(pod(RUNNING)) == []
    assert pods.reasons() == pods.texts() == {}
    assert pods.is_live(A1)
    assert not pods.is_live(A2)
    assert repr(pods) == "<PodBook 1/1 live>"


def test_worker_is_known_with_its_node_as_soon_as_it_answers() -> None:
    pods = book()
    pods.apply(pod(phase="Pending", node=""))
    assert pods.answered("a") == []
    pods.apply(pod(waiting("ContainerCreating"), phase="Pending", node="node2"))
    assert pods.answered("a") == [Started(Pod("a", 1, 2, node="node2"))]
    assert pods.apply(pod(RUNNING, node="node2")) == []
    assert pods.apply(pod(ended(9), node="node2")) == [
        Gone(Pod("a", 1, 2, node="node2"), Loss.CRASHED, "exit status 9")
    ]


def test_restart_in_place_is_a_lost_worker_and_a_new_one() -> None:
    pods = started()
    assert pods.apply(pod(ended(9))) == [Gone(A1, Loss.CRASHED, "exit status 9")]
    assert pods.reasons() == {"restarting": 1}
    assert pods.apply(pod(RUNNING, 1, last=ended(9))) == [Started(A2)]


def test_restart_between_two_events_is_both_at_once() -> None:
    pods = started()
    event = pod(RUNNING, 1, last=ended(0, "Completed"))
    assert pods.apply(event) == [Gone(A1, Loss.CRASHED, "exit status 0"), Started(A2)]


@pytest.mark.parametrize(
    "state, detail",
    [
        (ended(2, message="42\nwomm agent: no coordinator for 8 s: ending\n43\n"), ": womm agent: no coord"),
        (ended(2, message="womm agent: listening\nwhat a job has printed\n"), "exit status 2"),
        (
            ended(2, message="Can't locate Socket.pm in @INC at /womm/bin/agent.pl line 26.\n"),
            ": Can't locate",
        ),
        (
            ended(255, message="exec /usr/bin/perl: exec format error\n"),
            "255: exec /usr/bin/perl: exec format",
        ),
        (ended(127, message="FATAL: kernel too old\n"), "127: FATAL: kernel too old"),
        (ended(128, "StartError", 'exec: "perl": not found'), '128, StartError: exec: "perl": not found'),
    ],
)
def test_last_words_are_the_agents_and_not_a_jobs(state: dict[str, Any], detail: str) -> None:
    (change,) = started().apply(pod(state))
    assert isinstance(change, Gone)
    assert detail in change.detail
    assert "43" not in change.detail
    assert "printed" not in change.detail


def test_oom_kill_is_told_with_the_limit_even_of_a_pod_that_is_deleted() -> None:
    for deleted in (False, True):
        assert started().apply(pod(ended(137, "OOMKilled"), deleted=deleted)) == [
            Gone(A1, Loss.OOM_KILLED, "memory limit 64Mi")
        ]
    event = pod(RUNNING, 1, last=ended(137, "OOMKilled"))
    assert started().apply(event) == [Gone(A1, Loss.OOM_KILLED, "memory limit 64Mi"), Started(A2)]


def test_deleted_pod_is_removed_whatever_its_exit_status() -> None:
    pods = started()
    assert pods.apply(pod(RUNNING, deleted=True)) == []
    assert pods.apply(pod(ended(143), deleted=True)) == [Gone(A1, Loss.REMOVED, "deleted")]
    assert pods.apply(pod(RUNNING, 1, deleted=True)) == []  # it does not come again
    assert pods.remove("a") == [Vanished("a")]
    assert pods.names == []


def test_deleted_at_once_is_gone_with_the_object() -> None:
    pods = started()
    assert pods.remove("a") == [Gone(A1, Loss.REMOVED, "deleted"), Vanished("a")]
    assert pods.remove("a") == []


def test_disruption_is_told_in_the_clusters_words() -> None:
    condition = ("DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting")
    pods = started()
    assert pods.apply(pod(RUNNING, conditions=(condition,))) == []
    assert pods.apply(pod(ended(143), deleted=True, conditions=(condition,))) == [
        Gone(A1, Loss.REMOVED, "Eviction API: evicting")
    ]


def test_pod_evicted_by_its_node_is_removed_and_replaced() -> None:
    pods = started()
    event = pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    gone, replace = pods.apply(event)
    assert gone == Gone(A1, Loss.REMOVED, "The node was low on resource: memory.")
    assert isinstance(replace, Replace)
    assert pods.apply(event) == []


def test_lost_node_is_noticed_when_its_pod_is_deleted_for_it() -> None:
    pods = started()
    condition = ("DisruptionTarget", "True", "DeletionByTaintManager", "deleting due to NoExecute taint")
    assert pods.apply(pod(RUNNING, deleted=True, conditions=(condition,))) == []
    assert pods.remove("a") == [Gone(A1, Loss.REMOVED, "deleting due to NoExecute taint"), Vanished("a")]


def test_crash_loop_is_replaced_once() -> None:
    pods = started()
    assert len(pods.apply(pod(ended(1)))) == 1
    event = pod(waiting("CrashLoopBackOff", "back-off 10s"), 0, last=ended(1))
    assert pods.apply(event) == [Replace("a", "CrashLoopBackOff")]
    assert pods.reasons() == {"CrashLoopBackOff": 1}
    assert pods.apply(event) == []
    assert pods.apply(pod(waiting("CrashLoopBackOff"), 0, deleted=True)) == []
    assert pods.reasons() == {}


def test_program_that_cannot_be_started_is_told_however_the_pod_waits() -> None:
    pods, text = book(), 'exec: "perl": executable file not found in $PATH'
    for state, last in (
        (waiting("RunContainerError", text), None),
        (ended(128, "StartError", text), None),
        (waiting("CrashLoopBackOff", "back-off 10s"), ended(128, "StartError", text)),
    ):
        pods.apply(pod(state, last=last))
        assert pods.reasons() == {"RunContainerError": 1}
        assert pods.texts() == {"RunContainerError": text}


def test_successor_of_a_pod_that_could_not_start_waits_for_the_same_reason() -> None:
    pods, text = book(), 'exec: "perl": not found'
    pods.apply(pod(waiting("CrashLoopBackOff"), last=ended(128, "StartError", text)))
    pods.remove("a")
    pods.apply(pod(waiting("ContainerCreating"), name="b", phase="Pending"))
    assert pods.reasons() == {"RunContainerError": 1}
    assert pods.texts() == {"RunContainerError": text}
    pods.apply(pod(RUNNING, name="b"))
    pods.apply(pod(waiting("ContainerCreating"), name="c", phase="Pending"))
    assert pods.reasons() == {"ContainerCreating": 1}


def test_list_after_a_gap_tells_what_was_missed() -> None:
    pods = book()
    pods.replace([pod(RUNNING), pod(RUNNING, name="b"), pod(RUNNING, name="c")])
    changes = pods.replace([pod(RUNNING), pod(RUNNING, 2, name="b", last=ended(1)), pod(RUNNING, name="d")])
    assert changes == [
        Gone(life("b", 1), Loss.CRASHED, "exit status 1"),
        Started(life("b", 3)),
        Started(life("d", 1)),
        Gone(life("c", 1), Loss.REMOVED, "deleted"),
        Vanished("c"),
    ]
    assert pods.replace([]) == [
        change
        for name, instance in (("a", 1), ("b", 3), ("d", 1))
        for change in (Gone(life(name, instance), Loss.REMOVED, "deleted"), Vanished(name))
    ]


def test_pod_that_womm_ends_is_gone_for_its_reason() -> None:
    pods = started()
    pods.expect_end(A1, "unreachable: tested")
    assert pods.apply(pod(ended(137), deleted=True)) == [Gone(A1, Loss.REMOVED, "unreachable: tested")]


def test_given_up_pod_is_gone_and_nothing_follows_from_what_its_node_says_later() -> None:
    pods = started()
    pods.expect_end(A1, "unreachable")
    assert pods.give_up(A2) == []
    assert pods.give_up(A1) == [Gone(A1, Loss.REMOVED, "unreachable")]
    assert pods.give_up(A1) == []
    assert pods.apply(pod(RUNNING, deleted=True)) == []
    assert pods.apply(pod(RUNNING, 1, deleted=True)) == []
    assert pods.remove("a") == [Vanished("a")]


def test_path_of_an_export_is_not_told() -> None:
    pods = book()
    text = "MountVolume.SetUp failed: mounting 10.0.0.1:/secret/export: timed out"
    pods.apply(pod(waiting("FailedMount", text), phase="Pending"))
    assert "secret" not in str(pods.texts())
    assert "timed out" in str(pods.texts())


STATES = st.sampled_from(
    [
        RUNNING,
        waiting("ContainerCreating"),
        waiting("CrashLoopBackOff"),
        ended(0, "Completed"),
        ended(137, "OOMKilled"),
        ended(128, "StartError"),
        {},
    ]
)
EVENTS = st.one_of(
    st.builds(
        pod,
        st.none() | STATES,
        st.integers(0, 3),
        name=st.sampled_from("abc"),
        phase=st.sampled_from(["Pending", "Running", "Failed", "Succeeded"]),
        deleted=st.booleans(),
        last=st.none() | STATES,
        conditions=st.sampled_from([(), (("DisruptionTarget", "True", "Evicted", ""),)]),
    ),
    st.sampled_from("abc"),
    st.lists(st.builds(pod, STATES, st.integers(0, 3), name=st.sampled_from("abc")), max_size=3),
)


@given(st.lists(EVENTS, max_size=40))
def test_any_order_of_events_keeps_lives_apart(events: list[Any]) -> None:
    """Each life starts once and ends at most once; a name has one life at a time."""
    pods, live = book(), {}
    for event in events:
        if isinstance(event, str):
            changes = pods.remove(event)
        elif isinstance(event, list):
            changes = pods.replace(event)
        else:
            changes = pods.apply(event)
        for change in changes:
            if isinstance(change, Started):
                assert change.pod.name not in live
                live[change.pod.name] = change.pod
            elif isinstance(change, Gone):
                assert live.pop(change.pod.name) == change.pod
                assert change.detail
            elif isinstance(change, Vanished):
                assert change.name not in [*pods.names, *live]
            else:
                assert change.name in pods.names
        assert {known.name: known for known in pods.live} == live
        assert all(pods.is_live(known) for known in live.values())
        assert not set(pods.reasons().elements()) & {""}
