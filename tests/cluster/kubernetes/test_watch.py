"""Following a collection: a list, a watch, and what follows when the watch ends, in whatever way."""

import asyncio

import pytest

from tests.loop import run
from womm.cluster.kubernetes.client import ApiError
from womm.cluster.kubernetes.watch import follow
from womm.errors import ClusterError


def item(name, version):
    return {"metadata": {"name": name, "resourceVersion": version}}


class Script:
    """A source that answers from a script, and then waits for ever; `calls` is what was asked of it."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []
        self.over = asyncio.Event()

    async def list(self, path, *, labels=""):
        self.calls.append("list")
        answer = await self._next()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(self, path, version, *, labels=""):
        self.calls.append(version)
        events = await self._next()
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    async def _next(self):
        if not self.answers:
            self.over.set()
            await asyncio.Event().wait()
        return self.answers.pop(0)


class Heard:
    def __init__(self):
        self.heard = []

    def replace(self, items):
        self.heard.append([one["metadata"]["name"] for one in items])

    def event(self, kind, one):
        self.heard.append((kind, one["metadata"]["name"]))

    def refused(self, message):
        self.heard.append(message)


def followed(*answers):
    """Return what was asked, and what the watcher heard."""

    async def main():
        source, watcher = Script(*answers), Heard()
        following = asyncio.create_task(follow(source, "/pods", "a=b", watcher))
        await asyncio.wait_for(source.over.wait(), 10)
        following.cancel()
        await asyncio.wait({following})
        return source.calls, watcher.heard

    return run(main())


def test_watch_that_ends_goes_on_where_it_was():
    calls, heard = followed(
        ([item("a", "1")], "5"),
        [("ADDED", item("b", "6")), ("BOOKMARK", item("", "9"))],
        [("DELETED", item("a", "10"))],
    )
    assert calls == ["list", "5", "9", "10"]
    assert heard == [["a"], ("ADDED", "b"), ("DELETED", "a")]


def test_watch_that_is_too_old_begins_with_a_list():
    calls, heard = followed(([], "5"), [ApiError("too old", 410, "Expired")], ([item("c", "8")], "9"))
    assert calls == ["list", "5", "list", "9"]
    assert heard == [[], ["c"]]


@pytest.mark.parametrize("when", ["list", "watch"])
def test_watch_that_is_refused_is_told_and_tried_again(when):
    refused = ApiError("pods is forbidden", 403, "Forbidden")
    first: tuple[object, ...] = (refused,) if when == "list" else (([], "5"), [refused])
    calls, heard = followed(*first, ([item("a", "1")], "7"))
    assert calls[-2:] == ["list", "7"]
    assert heard[-2:] == ["pods is forbidden", ["a"]]


def test_cluster_that_is_away_keeps_the_place():
    calls, heard = followed(([], "5"), [("ADDED", item("a", "6")), ClusterError("away")], [])
    assert calls == ["list", "5", "6", "6"]
    assert heard == [[], ("ADDED", "a")]
