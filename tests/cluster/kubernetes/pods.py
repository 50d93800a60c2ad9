"""Pods of the test cluster's node1 as processes of this machine, and what tests need to start some."""

import signal
from pathlib import Path

from tests.faults.tasks import carriers
from womm import process
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
        cpu=spec.cpu,
        mem=spec.mem,
        started=0.0,
    )


def agent_of(pod: str) -> int:
    """Return the process of a pod's agent, which is the first of its container."""
    found = carriers(f"WOMM_POD={pod}", command="agent.pl\0--socket")
    (agent,) = [pid for pid in found if _is_first(pid)]
    return agent


def kill_agent(pod: str) -> bool:
    """Kill a pod's agent with -9, and nothing else. False: it has gone meanwhile."""
    try:
        pid = agent_of(pod)
    except ValueError:
        return False
    who = process.identify(pid)  # the number may be another's by now
    return who is not None and _is_first(pid) and process.kill(who, signal.SIGKILL)


def _is_first(pid: int) -> bool:
    """Whether it is process 1 of a namespace within this machine's."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    numbers = next(line for line in lines if line.startswith("NSpid:")).split()[1:]
    return len(numbers) > 1 and numbers[-1] == "1"
