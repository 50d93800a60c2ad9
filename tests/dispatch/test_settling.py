"""From the end of a job's process to its result. With a share of real files: see share/lazy/test_task."""

import pytest

from tests.dispatch.memory_agents import turns
from tests.dispatch.one_worker import POD, with_one_worker
from womm.cluster.base import Loss
from womm.dispatch.job import Outcome
from womm.dispatch.phase import Phase
from womm.link.frames import EndKind

SIGTERM = 15


@pytest.fixture
def go(tmp_path):
    return with_one_worker(tmp_path)


async def test_job_has_its_outcome_when_the_share_has_its_files(go):
    async with go as place:
        number = await place.submit()
        await place.end(number)
        assert (place.phase(number), place.sink.outcome) == (Phase.SETTLING, None)
        assert place.dispatcher.pool.where(number) == POD.name
        place.share.release()
        await turns()
        assert (place.phase(number), place.sink.outcome) == (None, Outcome(0))


async def test_job_whose_files_are_not_in_the_folder_fails(go):
    async with go as place:
        await place.end(await place.submit())
        place.share.release(why="no room")
        await turns()
        assert place.sink.outcome == Outcome(255, reason="no room")


async def test_job_that_did_not_start_waits_for_no_share(go):
    async with go as place:
        await place.end(await place.submit(), EndKind.NOT_STARTED)
        assert place.sink.outcome == Outcome(255, reason="it did not start: ")


async def test_job_out_of_memory_runs_again(go):
    async with go as place:
        number = await place.submit()
        await place.end(number, EndKind.OOM_KILLED)
        assert number in place.agent.jobs
        assert place.said == [f"job {number} (job) ran out of memory in {POD.name}"]


@pytest.mark.parametrize("settling", [False, True])
async def test_cancelled_job_is_recorded_once_and_nobody_hears_of_it(go, settling):
    async with go as place:
        number = await place.submit()
        if settling:
            await place.end(number)
        place.dispatcher.cancel(number)
        await turns()
        assert place.phase(number) is Phase.CANCELLED
        if settling:
            place.share.release()
            await turns()
        else:
            assert place.agent.jobs[number].killed
            await place.end(number)
        assert (place.phase(number), place.sink.outcome) == (None, None)
        assert place.ends() == [(0, 9, "GNU parallel ended it")]


async def test_failed_job_is_reported_at_once_and_keeps_its_slot_until_its_end(go):
    async with go as place:
        number = await place.submit()
        place.dispatcher.fail(number, "why")
        place.dispatcher.fail(number, "again")
        place.dispatcher.cancel(number)
        assert place.sink.outcome == Outcome(255, reason="why")
        assert place.dispatcher.pool.where(number) == POD.name
        await turns()
        await place.end(number)
        assert place.phase(number) is None
        assert place.ends() == [(255, 0, "why")]


async def test_job_whose_output_is_lost_is_killed_and_runs_again_when_the_kernel_has_written(go):
    async with go as place:
        number = await place.submit()
        assert not place.dispatcher.disk_lost()
        assert place.said == ["the file server's disk is lost: 1 job runs again"]
        await turns()
        assert place.agent.jobs[number].killed
        await place.end(number)
        assert place.phase(number) is Phase.FLUSHING
        (helper,) = place.agent.jobs
        await place.end(helper)
        assert place.phase(number) is Phase.RUNNING
        assert not place.agent.jobs[number].killed


@pytest.mark.parametrize("step", ["output lost", "flushing"])
async def test_signal_ends_a_job_whose_output_is_lost(go, step):
    async with go as place:
        number = await place.submit()
        place.dispatcher.disk_lost()
        await turns()
        if step == "output lost":
            place.dispatcher.signal(number, SIGTERM)
        await place.end(number)
        if step == "flushing":
            place.dispatcher.signal(number, SIGTERM)
        await place.end(*place.agent.jobs)
        assert place.sink.outcome == Outcome(0, SIGTERM)
        assert place.agent.jobs == {}


@pytest.mark.parametrize("how", ["cancel", "fail"])
async def test_job_that_ends_while_the_kernel_writes_is_abandoned(go, how):
    async with go as place:
        number = await place.submit()
        place.dispatcher.disk_lost()
        await turns()
        await place.end(number)
        if how == "cancel":
            place.dispatcher.cancel(number)
        else:
            place.dispatcher.fail(number, "why")
        assert place.phase(number) is Phase.ABANDONED
        await place.end(*place.agent.jobs)
        assert (place.phase(number), place.agent.jobs) == (None, {})
        assert place.ends() == ([] if how == "cancel" else [(255, 0, "why")])


async def test_job_that_may_not_run_again_goes_on_and_fails(go):
    async with go as place:
        number = await place.submit(no_retry=True)
        assert place.dispatcher.disk_lost()
        await place.end(number)
        place.share.release()
        await turns()
        reason = "the file server's disk was lost, and with it what was written last"
        assert place.sink.outcome == Outcome(255, reason=reason)


async def test_worker_that_is_lost_while_the_share_writes_gives_the_job_back(go):
    async with go as place:
        number = await place.submit()
        await place.end(number)
        place.agent.end()
        place.dispatcher.workers.pod_gone(POD, Loss.CRASHED, "")
        await turns()
        assert place.phase(number) is Phase.WAITING
        place.share.release()
        await turns()
        assert (place.phase(number), place.sink.outcome) == (Phase.WAITING, None)
