"""Questions that many have at the same time are asked once."""

import asyncio
import logging

import pytest

from womm.fileserver.sftp import LinkLost
from womm.fileserver.tree.questions import Questions, ask
from womm.nfs.status import NFSError, Status


async def test_question_is_asked_once_and_again_when_it_is_answered():
    questions, asked, go = Questions(), [], asyncio.Event()

    async def question():
        asked.append(1)
        await go.wait()
        return len(asked)

    both = [asyncio.ensure_future(questions.once("key", question)) for _ in range(2)]
    both[0].add_done_callback(lambda _: None)
    await asyncio.sleep(0)
    assert questions.under_way("key") is not None and questions.under_way("other") is None
    both[0].cancel()  # the other one still wants to know
    await asyncio.sleep(0)
    go.set()
    assert await both[1] == 1
    assert await questions.once("key", question) == 2
    await questions.stop()


async def test_error_is_raised_to_all_who_asked():
    questions = Questions()

    async def question():
        raise NFSError(Status.STALE)

    both = [questions.once("key", question) for _ in range(2)]
    found = await asyncio.gather(*both, return_exceptions=True)
    assert [error.status for error in found if isinstance(error, NFSError)] == [Status.STALE] * 2
    await questions.stop()


async def test_bug_in_a_question_is_logged(caplog):
    questions = Questions()

    async def question(error):
        raise error

    for error in (OSError(), NFSError(Status.DELAY), ZeroDivisionError()):
        questions.spawn(question(error))
    while "failed" not in caplog.text:
        await asyncio.sleep(0)
    await questions.stop()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_lost_link_is_delay():
    waiter = asyncio.get_running_loop().create_future()
    waiter.set_exception(LinkLost())
    with pytest.raises(NFSError) as caught:
        await ask(waiter)
    assert caught.value.status is Status.DELAY
