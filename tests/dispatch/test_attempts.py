"""Attempts of jobs: held back for the share, lost, cancelled, failed."""

import pytest

from tests.dispatch.memory_agents import turns
from tests.dispatch.one_worker import POD, with_one_worker
from womm.cluster.base import Loss
from womm.dispatch.job import Outcome
from womm.dispatch.phase import Phase
from womm.link.frames import RunRequest

SIGTERM = 15


@pytest.fixture
def go(tmp_path):
    return with_one_worker(tmp_path)


async def held(place):
    number = place.dispatcher.submit(RunRequest(b"job"), place.sink)
    await turns()
    assert place.phase(number) is Phase.HELD
    assert place.agent.jobs == {}
    return number


async def test_job_is_held_until_the_share_is_fresh_and_gets_its_signals_then(go):
    async with go as place:
        number = await held(place)
        place.dispatcher.signal(number, 9)
        place.share.release()
        await turns()
        assert place.phase(number) is Phase.RUNNING
        assert place.agent.jobs[number].killed


@pytest.mark.parametrize("how", ["cancel", "fail"])
async def test_held_job_that_nobody_wants_is_never_sent(go, how):
    async with go as place:
        number = await held(place)
        if how == "cancel":
            place.dispatcher.cancel(number)
        else:
            place.dispatcher.fail(number, "why")
        assert place.phase(number) is Phase.ABANDONED
        place.share.release()
        await turns()
        assert (place.phase(number), place.agent.jobs) == (None, {})
        assert place.dispatcher.pool.running == []
        assert place.sink.outcome == (Outcome(255, reason="why") if how == "fail" else None)


async def test_held_job_whose_worker_is_lost_waits_and_is_not_sent_for_the_old_news(go):
    async with go as place:
        number = await held(place)
        place.agent.end()
        place.dispatcher.workers.pod_gone(POD, Loss.CRASHED, "")
        await turns()
        place.share.release()
        await turns()
        assert place.phase(number) is Phase.WAITING
        assert place.said == [f"worker {POD.name} is gone (crashed): 1 job runs again"]


async def test_waiting_job_ends_by_its_signal(go):
    async with go as place:
        for _ in range(POD.slots):
            await place.submit()
        number = place.dispatcher.submit(RunRequest(b"job"), place.sink)
        assert place.phase(number) is Phase.WAITING
        place.dispatcher.signal(number, SIGTERM)
        assert (place.phase(number), place.sink.outcome) == (None, Outcome(0, SIGTERM))


@pytest.mark.parametrize("no_retry", [False, True])
async def test_removed_worker_gives_its_job_back_unless_the_job_may_run_only_once(go, no_retry):
    async with go as place:
        number = await place.submit(no_retry=no_retry)
        place.agent.end()
        place.dispatcher.workers.pod_gone(POD, Loss.REMOVED, "deleted")
        await turns()
        if no_retry:
            assert place.sink.outcome == Outcome(255, reason=f"its worker {POD.name} was lost")
            assert place.phase(number) is None
        else:
            assert (place.sink.outcome, place.phase(number)) == (None, Phase.WAITING)


async def test_cancelled_job_whose_worker_is_lost_is_forgotten(go):
    async with go as place:
        number = await place.submit()
        place.dispatcher.cancel(number)
        place.agent.end()
        place.dispatcher.workers.pod_gone(POD, Loss.CRASHED, "")
        await turns()
        assert (place.phase(number), place.sink.outcome, place.ends()) == (None, None, [])
