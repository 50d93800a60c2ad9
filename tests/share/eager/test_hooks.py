"""What an eager share does around jobs, without a store."""

import asyncio
from pathlib import Path

import pytest

from womm.errors import ShareError
from womm.link.frames import RunRequest
from womm.share.eager.hooks import EagerJobHooks

JOB = RunRequest(b"true")
FOLDER, WORKING = b"/p", b"/p/a"


def make() -> tuple[EagerJobHooks, list[str]]:
    """Return hooks, and a list that grows with each doubt."""
    doubts: list[str] = []
    return EagerJobHooks(Path("/p"), Path("/p/a"), lambda: doubts.append("doubt")), doubts


async def test_jobs_wait_while_the_store_is_in_doubt_and_go_on_when_it_is_certain() -> None:
    hooks, doubts = make()
    await hooks.refresh()
    hooks.in_doubt()
    assert not hooks.is_current
    waiting = [asyncio.ensure_future(hooks.refresh()), asyncio.ensure_future(hooks.wait_written(1, "a"))]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    hooks.certain()
    assert await asyncio.gather(*waiting) == [None, ""]
    assert doubts == []


async def test_store_that_is_in_doubt_again_at_once_holds_jobs_up_still() -> None:
    hooks, _ = make()
    hooks.in_doubt()
    waiting = asyncio.ensure_future(hooks.refresh())
    await asyncio.sleep(0)
    hooks.certain()
    hooks.in_doubt()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    hooks.certain()
    await waiting


async def test_share_that_is_lost_ends_jobs_that_wait_and_those_that_come() -> None:
    hooks, _ = make()
    hooks.in_doubt()
    waiting = asyncio.ensure_future(hooks.wait_written(1, "a"))
    await asyncio.sleep(0)
    hooks.end()
    for work in (waiting, hooks.refresh(), hooks.wait_written(2, "a")):
        with pytest.raises(ShareError, match="the share is lost"):
            await work


async def test_pod_that_was_out_of_reach_puts_the_store_in_doubt() -> None:
    hooks, doubts = make()
    hooks.reconnected()
    assert doubts == ["doubt"]


async def test_job_is_changed_in_nothing_while_no_disk_was_lost() -> None:
    hooks, _ = make()
    assert hooks.revalidate(JOB, 1, "a") is JOB
    await hooks.wait_written(1, "a")
    assert hooks.revalidate(JOB, 2, "a") is JOB


async def test_each_pod_looks_at_all_of_a_new_disk_until_one_of_its_jobs_has_ended() -> None:
    hooks, _ = make()
    hooks.revalidate(JOB, 1, "a")  # runs while the disk is lost: its pod knows nothing of the new one
    hooks.lost()
    await hooks.wait_written(1, "a")
    for job, pod in ((2, "a"), (3, "a"), (4, "b")):
        request = hooks.revalidate(JOB, job, pod)
        assert (request.fresh_tree, request.folder) == (FOLDER, WORKING)
    await hooks.wait_written(2, "a")
    assert hooks.revalidate(JOB, 5, "a").fresh_tree is None
    assert hooks.revalidate(JOB, 6, "b").fresh_tree == FOLDER
    hooks.lost()
    assert hooks.revalidate(JOB, 7, "a").fresh_tree == FOLDER


async def test_job_with_a_folder_of_its_own_keeps_it_after_a_loss() -> None:
    hooks, _ = make()
    hooks.lost()
    assert hooks.revalidate(RunRequest(b"true", folder=b"/p/b"), 1, "a").folder == b"/p/b"


async def test_first_job_of_a_pod_looks_at_the_way_to_where_it_runs() -> None:
    hooks, _ = make()
    hooks.look_at_first()
    assert hooks.revalidate(JOB, 1, "a").fresh == [FOLDER, WORKING]
    await hooks.wait_written(1, "a")
    assert hooks.revalidate(JOB, 2, "a") is JOB
    assert hooks.revalidate(JOB, 3, "b").fresh == [FOLDER, WORKING]


async def test_pods_with_copies_run_jobs_by_their_folder_and_look_at_nothing() -> None:
    hooks, _ = make()
    hooks.pods_have_copies()
    hooks.look_at_first()
    hooks.lost()
    request = hooks.revalidate(JOB, 1, "a")
    assert (request.folder, list(request.fresh), request.fresh_tree) == (WORKING, [], None)


async def test_loss_counts_jobs_that_ended_since_the_disk_was_filled_or_rescued() -> None:
    hooks, _ = make()
    for job in (1, 2):
        await hooks.wait_written(job, "a")
    assert (hooks.lost(), hooks.lost()) == (2, 0)
    await hooks.wait_written(3, "a")
    hooks.rescued()
    await hooks.wait_written(4, "a")
    assert hooks.lost() == 1


async def test_job_whose_end_waits_for_a_lost_disk_is_not_counted() -> None:
    """Its result is not there: it runs again."""
    hooks, _ = make()
    hooks.in_doubt()
    ending = asyncio.ensure_future(hooks.wait_written(1, "a"))
    await asyncio.sleep(0)
    assert hooks.lost() == 0
    hooks.certain()
    await ending
    assert hooks.lost() == 0
