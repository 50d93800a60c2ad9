"""The outcome of a job, from its end or its loss. Pure."""

from typing import Final

from womm.cluster.base import Loss
from womm.dispatch.job import STDERR, STDOUT, Job, Outcome
from womm.dispatch.pool import GiveUp
from womm.link.frames import EndKind, EndRecord

POISON_STATUS: Final = 255
"""Exit status of a job that was given up: what GNU parallel gives to a job whose login failed."""
OOM_STATUS: Final = 137


def of_end(job: Job, record: EndRecord, unsaved_reason: str) -> Outcome:
    """The outcome of a job that has ended. unsaved_reason: why not all that it wrote is in the folder."""
    if record.kind is EndKind.NOT_STARTED:
        return Outcome(POISON_STATUS, reason=f"it did not start: {record.text}")
    if (record.out_bytes, record.err_bytes) != (job.seen[STDOUT], job.seen[STDERR]):
        # The session counts every byte, so this is a bug and not a fault of the network.
        return Outcome(POISON_STATUS, reason="its output is not whole")
    if job.repeats_missing():
        return Outcome(POISON_STATUS, reason="run again after a lost worker, it printed less than before")
    if unsaved_reason:
        return Outcome(POISON_STATUS, reason=unsaved_reason)
    if record.kind is EndKind.SIGNALED:
        return Outcome(0, record.value)
    return Outcome(record.value)


def of_loss(job: Job, action: GiveUp, *, stdin_cap_bytes: int, mem: str) -> Outcome:
    """The outcome of a job that is given up. mem: the limit of its worker's memory, if there is one."""
    if job.spool is not None and not job.spool.complete:
        what = "the file server's disk" if action.loss is Loss.DISK else "its worker"
        reason = f"{what} was lost and its input, over {stdin_cap_bytes} bytes, was not kept"
    elif action.loss is Loss.OOM_KILLED:
        times = f"{action.times} times" if action.times > 1 else "once"
        more = f" (limit {mem}: more with --kube-mem)" if mem else ""
        return Outcome(OOM_STATUS, reason=f"it ran out of memory {times}{more}")
    elif job.no_retry or action.loss is Loss.REMOVED:
        reason = f"its worker {action.pod} was lost"
    else:
        reason = f"its worker crashed {action.times} times under it"
    return Outcome(POISON_STATUS, reason=reason)
