"""What a job's end means for its submitter."""

import pytest

from tests.dispatch.jobs import running_job
from tests.dispatch.sinks import Sink
from womm.cluster.base import Loss
from womm.dispatch import outcomes
from womm.dispatch.job import STDOUT, Outcome
from womm.dispatch.pool import GiveUp
from womm.dispatch.spool import Spool
from womm.link.frames import EndKind, EndRecord


def end(kind=EndKind.EXITED, value=0, out_bytes=0, text=""):
    return EndRecord(kind, value, out_bytes, 0, 0, 0, 0, text)


@pytest.mark.parametrize(
    "record, unsaved, outcome",
    [
        (end(value=3), "", Outcome(3)),
        (end(EndKind.SIGNALED, 15), "", Outcome(0, 15)),
        (end(EndKind.OOM_KILLED, 137), "", Outcome(137)),
        (end(EndKind.NOT_STARTED, text="no fork"), "", Outcome(255, reason="it did not start: no fork")),
        (end(), "no room", Outcome(255, reason="no room")),
        (end(EndKind.SIGNALED, 15), "no room", Outcome(255, reason="no room")),
        (end(out_bytes=1), "", Outcome(255, reason="its output is not whole")),
    ],
)
def test_end_gives_the_outcome(record, unsaved, outcome):
    assert outcomes.of_end(running_job(Sink()), record, unsaved) == outcome


def test_attempt_that_shows_less_than_the_one_before_fails():
    job = running_job(Sink(files=()))
    job.take_output(STDOUT, b"one\n")
    job.seen[STDOUT] = 2
    assert "it printed less than before" in outcomes.of_end(job, end(out_bytes=2), "").reason


@pytest.mark.parametrize(
    "loss, times, no_retry, mem, outcome",
    [
        (Loss.CRASHED, 5, False, "", Outcome(255, reason="its worker crashed 5 times under it")),
        (Loss.CRASHED, 1, True, "", Outcome(255, reason="its worker pod was lost")),
        (Loss.REMOVED, 1, False, "", Outcome(255, reason="its worker pod was lost")),
        (Loss.OOM_KILLED, 1, True, "", Outcome(137, reason="it ran out of memory once")),
        (
            Loss.OOM_KILLED,
            2,
            False,
            "1Gi",
            Outcome(137, reason="it ran out of memory 2 times (limit 1Gi: more with --kube-mem)"),
        ),
    ],
)
def test_loss_gives_the_outcome(loss, times, no_retry, mem, outcome):
    job = running_job(Sink(), no_retry=no_retry)
    assert outcomes.of_loss(job, GiveUp(1, "pod", loss, times), stdin_cap_bytes=9, mem=mem) == outcome


@pytest.mark.parametrize("loss, what", [(Loss.CRASHED, "its worker"), (Loss.DISK, "the file server's disk")])
def test_loss_of_a_job_whose_input_was_not_kept_says_so(tmp_path, loss, what):
    spool = Spool(tmp_path, memory_bytes=1, cap_bytes=2)
    spool.append(b"more than is kept")
    spool.consumed(spool.size)
    outcome = outcomes.of_loss(
        running_job(Sink(), spool), GiveUp(1, "pod", loss, 1), stdin_cap_bytes=2, mem=""
    )
    assert outcome == Outcome(255, reason=f"{what} was lost and its input, over 2 bytes, was not kept")
    spool.close()
