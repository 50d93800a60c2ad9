"""The file server knows what has changed here: with a real watcher, over a scripted channel."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.share.lazy.test_control import Talk, say
from womm.errors import ShareError
from womm.share.fence import Fence
from womm.share.lazy.barriers import Barriers
from womm.share.lazy.watch import ALL, NOTHING, Watcher


class Folder:
    """A watched folder, and a conversation with a file server about it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fence = Fence(path)
        self.watcher = Watcher(self.fence)
        self.watcher.start()
        self.talk = Talk()
        self.it = Barriers(self.watcher, self.talk.it)
        self.wire, self.channel = self.talk.connect()

    async def __aenter__(self) -> "Folder":
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.talk.it.fail("the test is over")
        await self.it.settle()
        self.watcher.close()
        self.fence.close()
        self.talk.names.close()

    async def told(self) -> list[list[str]]:
        """Return the paths of each message to the file server."""
        for _ in range(5):
            await asyncio.sleep(0)
        return [[""] if message["all"] else message["paths"] for message in self.wire.messages]

    def is_quiet(self) -> bool:
        return self.it.quiet

    def answer(self, number: int) -> None:
        say(self.channel, id=number, ok=True)


async def test_without_a_change_nobody_is_told_anything(tmp_path):
    async with Folder(tmp_path) as folder:
        assert folder.is_quiet()
        assert await folder.it.join() is NOTHING
        folder.it.absorb()
        assert await folder.told() == []


async def test_names_of_any_bytes_are_told_sorted_and_once(tmp_path):
    async with Folder(tmp_path) as folder:
        for name in ("b", "a\n", "\udcff"):
            (tmp_path / name).touch()
        assert not folder.is_quiet()
        waiting = asyncio.ensure_future(folder.it.join())
        assert await folder.told() == [["a\n", "b", "\udcff"]]
        assert not waiting.done() and not folder.is_quiet()
        folder.answer(1)
        assert (await waiting).paths == {b"a\n", b"b", b"\xff"}
        assert folder.is_quiet() and await folder.it.join() is NOTHING


async def test_what_changes_while_the_server_is_told_is_told_next(tmp_path):
    async with Folder(tmp_path) as folder:
        (tmp_path / "a").touch()
        first = asyncio.ensure_future(folder.it.join())
        await folder.told()
        (tmp_path / "b").touch()
        second = asyncio.ensure_future(folder.it.join())
        assert await folder.told() == [["a"]]
        folder.answer(1)
        assert (await first).paths == {b"a"}
        assert await folder.told() == [["a"], ["b"]]
        folder.answer(2)
        assert (await second).paths == {b"b"}


async def test_change_that_a_cancelled_caller_waited_for_goes_to_the_next(tmp_path):
    async with Folder(tmp_path) as folder:
        (tmp_path / "a").touch()
        waiting = asyncio.ensure_future(folder.it.join())
        await folder.told()
        waiting.cancel()
        folder.answer(1)
        await folder.it.settle()
        assert not folder.is_quiet()
        assert (await folder.it.join()).paths == {b"a"}
        assert folder.is_quiet() and await folder.told() == [["a"]]


async def test_change_that_the_server_did_not_take_is_told_again(tmp_path):
    async with Folder(tmp_path) as folder:
        (tmp_path / "a").touch()
        waiting = asyncio.ensure_future(folder.it.join())
        await folder.told()
        folder.channel.closed()
        wire, channel = folder.talk.connect()
        assert [message["paths"] for message in wire.messages] == [["a"]]
        say(channel, id=1, ok=True)
        assert (await waiting).paths == {b"a"}


async def test_server_that_knows_nothing_is_told_that_anything_may_have_changed(tmp_path):
    async with Folder(tmp_path) as folder:
        (tmp_path / "a").touch()
        folder.it.forget()
        waiting = asyncio.ensure_future(folder.it.join())
        assert await folder.told() == [[""]]
        assert json.loads(folder.wire.sent)["paths"] == []
        folder.answer(1)
        assert await waiting == ALL


async def test_folder_that_cannot_be_watched_is_told_as_a_whole_for_each_job(tmp_path):
    async with Folder(tmp_path) as folder:
        folder.watcher.close()
        for number in (1, 2):
            waiting = asyncio.ensure_future(folder.it.join())
            assert await folder.told() == [[""]] * number
            folder.answer(number)
            assert await waiting == ALL
        folder.it.absorb()  # long jobs are not told again and again
        assert await folder.told() == [[""]] * 2


async def test_jobs_that_run_for_long_see_what_has_changed_by_and_by(tmp_path):
    async with Folder(tmp_path) as folder:
        (tmp_path / "a").touch()
        folder.it.absorb()
        assert await folder.told() == [["a"]]
        (tmp_path / "b").touch()
        folder.it.absorb()  # the first is on its way
        assert await folder.told() == [["a"]]
        folder.answer(1)
        await folder.it.settle()
        folder.it.absorb()
        assert await folder.told() == [["a"], ["b"]]
        folder.answer(2)
        await folder.it.settle()
        assert (await folder.it.join()).paths == {b"a", b"b"}  # the next job's kernel has to look at both


async def test_nothing_is_told_while_the_link_is_cut_and_all_of_it_then(tmp_path):
    async with Folder(tmp_path) as folder:
        folder.channel.closed()
        (tmp_path / "a").touch()
        folder.it.absorb()
        (tmp_path / "b").touch()
        waiting = asyncio.ensure_future(folder.it.join())
        await folder.told()
        wire, channel = folder.talk.connect()
        assert [message["paths"] for message in wire.messages] == [["a", "b"]]
        say(channel, id=1, ok=True)
        assert (await waiting).paths == {b"a", b"b"}


async def test_share_that_is_lost_is_an_error_for_whoever_waits_and_whoever_comes(tmp_path):
    async with Folder(tmp_path) as folder:
        (tmp_path / "a").touch()
        waiting = asyncio.ensure_future(folder.it.join())
        await folder.told()
        folder.talk.it.fail("its disk is lost")
        assert not folder.is_quiet()
        for work in (waiting, folder.it.join()):
            with pytest.raises(ShareError, match="its disk is lost"):
                await work
