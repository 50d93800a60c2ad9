"""Pods of the test cluster's node1 as processes of this machine, and what tests need to start some."""

from tests.faults.tasks import carriers
from womm.cluster.base import TaskSpec
from womm.cluster.kubernetes.manifests import About


def about(spec: TaskSpec) -> About:
    return About(
        kind="parallel",
        argv=("parallel", "--", "true"),
        folder=str(spec.folder),
        host="laptop",
        user="tester",
        pods=spec.pods,
        procs_per_pod=spec.slots,
        cpu="50m",
        mem=spec.mem,
        started=0.0,
    )


def agent_of(pod: str) -> int:
    """Return the process of a pod's agent, which is the first of its container."""
    found = carriers(f"WOMM_POD={pod}", command="agent.pl\0--socket")
    (agent,) = [pid for pid in found if _is_first(pid)]
    return agent


def _is_first(pid: int) -> bool:
    """Whether it is process 1 of its namespace."""
    with open(f"/proc/{pid}/status") as status:
        numbers = next(line for line in status if line.startswith("NSpid:")).split()[1:]
    return numbers[-1] == "1"
