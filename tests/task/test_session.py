"""An open task on the local cluster: made whole, removed in order, and nothing left where a step fails."""

import asyncio
import os
from dataclasses import replace

import pytest

from tests.dispatch.sinks import Sink
from tests.link.wires import PERL
from tests.loop import run
from womm.cluster.local import LocalCluster
from womm.dispatch.job import Outcome
from womm.errors import ClusterError, JournalError, SettingsError
from womm.journal.events import JobEnded, JobStarted, PodReady, TaskCleaned, TaskStarted
from womm.journal.store import TaskStore
from womm.link.frames import RunRequest
from womm.settings import Settings
from womm.task.clusters import Origin
from womm.task.readiness import first_worker
from womm.task.session import JobOptions, TaskEvents, TaskRequest, open_task

JOBS = JobOptions(stdin_cap_bytes=1 << 20, capture_bytes=1 << 16, joblog="/logs/jobs.log")
DEADLINE_S = 60.0


class Caller:
    """Remembers what a task tells it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.left: list[ClusterError | None] = []
        self.events = TaskEvents(self.said.append, None, self.said.append, self.left.append)


@pytest.fixture
def caller():
    return Caller()


@pytest.fixture
def request_of(tmp_path):
    """Make a request for a task in an empty folder, with these settings."""

    def make(**settings):
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        return TaskRequest(
            Origin("parallel", ("parallel", "--")), Settings(**settings), folder, PERL, "/bin/sh"
        )

    return make


class WaitedSink(Sink):
    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    def ended(self, outcome: Outcome) -> None:
        super().ended(outcome)
        self.over.set()


def in_time(test):
    async def main():
        async with asyncio.timeout(DEADLINE_S):
            await test()

    run(main())


def journalled(request):
    return list(TaskStore.default().read(request.task))


def nothing_left(womm_home):
    """No runtime folder; and no task, or one that says itself that nothing is left."""
    assert os.listdir(womm_home.runtime) == []
    return all(record.cleaned() and not record.locked() for record in TaskStore.default().tasks())


def test_open_task_is_whole_and_runs_a_job(womm_home, caller, request_of):
    request = request_of()

    async def test():
        async with open_task(request, caller.events, JOBS) as opened:
            assert (opened.id, opened.share, opened.jobslots) == (request.task, None, 1)
            assert isinstance(opened.cluster, LocalCluster)
            assert TaskStore.default().resolve(request.task).locked()
            stop = asyncio.Event()
            await opened.start_cluster(stop)
            await opened.start_share(stop)
            assert await first_worker(opened, DEADLINE_S, stop, asyncio.Event())
            sink = WaitedSink()
            opened.dispatcher.submit(RunRequest(b"echo from $WOMM_TASK"), sink)
            await sink.over.wait()
            assert bytes(sink.text[1]) == f"from {request.task}\n".encode()

    in_time(test)
    assert nothing_left(womm_home)
    events = journalled(request)
    kinds = [type(event) for event in events]
    assert [kinds[0], kinds[-1]] == [TaskStarted, TaskCleaned]
    order = [kinds.index(kind) for kind in (PodReady, JobStarted, JobEnded)]
    assert order == sorted(order)
    started = events[0]
    assert isinstance(started, TaskStarted)
    assert (started.kind, started.cluster, started.joblog) == ("parallel", "local", "/logs/jobs.log")
    assert started.runtime_dir == str(womm_home.runtime / f"womm-{request.task}")
    assert (caller.said, caller.left) == ([], [])


def test_open_task_starts_nothing_by_itself(womm_home, caller, request_of):
    request = request_of()

    async def test():
        async with open_task(request, caller.events, JOBS) as opened:
            assert opened.cluster.wanted == 0

    in_time(test)
    assert nothing_left(womm_home)
    assert [type(event) for event in journalled(request)] == [TaskStarted, TaskCleaned]


def test_removal_is_in_the_reverse_order(womm_home, caller, request_of):
    """Links before pods; pods before the journal; the journal before the runtime folder."""
    request, seen = request_of(), []
    runtime = womm_home.runtime / f"womm-{request.task}"

    async def test():
        def hurried():
            seen.append("pods")
            assert task.dispatcher._state.stopping
            assert TaskStore.default().resolve(request.task).locked()
            assert runtime.is_dir()
            return asyncio.Event().wait()

        events = replace(caller.events, hurried=hurried)
        async with open_task(request, events, JOBS) as task:
            await task.start_cluster(asyncio.Event())
            assert await first_worker(task, DEADLINE_S, asyncio.Event(), asyncio.Event())

    in_time(test)
    assert seen == ["pods"]
    assert nothing_left(womm_home)
    assert caller.left == []


def test_caller_in_a_hurry_hears_that_something_may_be_left(womm_home, caller, request_of):
    """On this machine nothing is: what ends the workers is only not waited for."""
    request = request_of()

    async def test():
        events = replace(caller.events, hurried=lambda: asyncio.sleep(0))
        async with open_task(request, events, JOBS) as task:
            await task.start_cluster(asyncio.Event())
            assert await first_worker(task, DEADLINE_S, asyncio.Event(), asyncio.Event())

    in_time(test)
    assert caller.left == [None]
    assert os.listdir(womm_home.runtime) == []
    assert TaskCleaned not in map(type, journalled(request))
    assert not TaskStore.default().resolve(request.task).locked()


def test_start_given_up_by_its_caller_is_removed(womm_home, caller, request_of):
    async def test():
        stop = asyncio.Event()
        stop.set()
        async with open_task(request_of(), caller.events, JOBS) as task:
            await task.start_cluster(stop)
            await task.start_share(stop)

    in_time(test)
    assert nothing_left(womm_home)


def test_error_of_the_caller_passes_and_leaves_nothing(womm_home, caller, request_of):
    async def test():
        async with open_task(request_of(), caller.events, JOBS) as task:
            await task.start_cluster(asyncio.Event())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_time(test)
    assert nothing_left(womm_home)


def test_cluster_that_does_not_start_leaves_nothing(womm_home, caller, request_of):
    request = request_of()
    request.folder.rmdir()

    async def test():
        async with open_task(request, caller.events, JOBS) as task:
            await task.start_cluster(asyncio.Event())

    with pytest.raises(ClusterError, match="is gone"):
        in_time(test)
    assert nothing_left(womm_home)
    assert [type(event) for event in journalled(request)] == [TaskStarted, TaskCleaned]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"share": "lazy", "image": "i", "share_readonly": True, "share_write": ("x",)},
            "contradict each other",
        ),
        ({"share": "none"}, "which image do the pods run"),
        ({"share": "eager", "share_readonly": True}, "which image do the pods run"),
    ],
    ids=["share", "cluster", "cluster after share"],
)
def test_task_that_cannot_be_made_leaves_nothing(womm_home, caller, request_of, settings, message):
    request = request_of(cluster="kubernetes", **settings)
    request = replace(request, settings=replace(request.settings, project=request.folder))

    async def test():
        async with open_task(request, caller.events, JOBS):
            raise AssertionError("it was opened")

    with pytest.raises(SettingsError, match=message):
        in_time(test)
    assert os.listdir(womm_home.runtime) == []
    assert list(TaskStore.default().tasks()) == []


def test_journal_that_cannot_be_made_leaves_nothing(womm_home, caller, request_of):
    (womm_home.state / "womm").write_text("")

    async def test():
        async with open_task(request_of(), caller.events, JOBS):
            raise AssertionError("it was opened")

    with pytest.raises(JournalError):
        in_time(test)
    assert os.listdir(womm_home.runtime) == []
