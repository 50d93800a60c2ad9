"""Jobs whose pods share the folder: fresh before they start, settled before they are reported."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.dispatch.running import TASK
from tests.dispatch.sinks import Sink
from tests.link.wires import agent, dial
from tests.loop import until
from womm.cluster.base import Loss, Pod
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.dispatch.job import Outcome
from womm.errors import ShareError
from womm.journal.events import JobEnded, JobLost
from womm.journal.store import TaskStore
from womm.link.frames import WINDOW, RunRequest

POD = Pod(f"{TASK}-0", 1, 1)


class Folder:
    """A SharedFolder whose answers the test gives."""

    def __init__(self) -> None:
        self.is_current = True
        self.fresh = asyncio.Event()
        self.settled = asyncio.Event()
        self.settled.set()
        self.why = ""
        self.synced = b"/"
        self.asked: list[str] = []
        self.said: list[str] = []

    async def refresh(self) -> None:
        self.asked.append("refresh")
        await self.fresh.wait()

    def revalidate(self, request: RunRequest, job: int, pod: str) -> RunRequest:
        self.asked.append(f"revalidate {pod}")
        return replace(request, fresh=[b"/etc/hostname", b"/not/there"], fresh_tree=b"/etc/perl")

    def sync(self) -> RunRequest:
        self.asked.append("sync")
        return RunRequest(None, argv=[b"sh", b"-c", b"until [ -e %b ]; do sleep 0.02; done" % self.synced])

    def reconnected(self) -> None:
        self.asked.append("reconnected")

    async def wait_written(self, job: int, pod: str) -> str:
        self.asked.append("wait_written")
        await self.settled.wait()
        return self.why


class OnePod:
    """As much of a Cluster as is called, of a pod that is elsewhere."""

    name = "one pod"
    wanted = 1
    window_bytes = WINDOW
    share_host = "its host"

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.left: list[tuple[str, str]] = []

    def dial(self, pod: Pod) -> object:
        return dial(self.socket)

    def drain(self) -> None:
        pass

    def leave(self, name: str, reason: str) -> None:
        self.left.append((name, reason))


@asynccontextmanager
async def dispatching(socket, tmp_path, fill=None):
    said: list[str] = []
    with TaskStore(tmp_path / "tasks").create(TASK, on_failure=print) as journal:
        folder = Folder()
        folder.said = said
        dispatcher = Dispatcher(
            OnePod(socket),  # type: ignore[arg-type]
            journal,
            said.append,
            DispatchOptions(
                spool_folder=tmp_path, stdin_memory_bytes=1 << 16, stdin_cap_bytes=1 << 20, capture_bytes=1000
            ),
            share=folder,
            prepare_pod=fill,
        )
        dispatcher.workers.pod_started(POD)
        try:
            if fill is None:
                await until(lambda: dispatcher.pool.slots == 1, "the worker")
            yield dispatcher, folder
        finally:
            await dispatcher.close()


async def outcome(sink: Sink) -> Outcome:
    await until(lambda: sink.outcome, "the outcome")
    assert sink.outcome is not None
    return sink.outcome


@pytest.fixture
def go(womm_home, tmp_path):
    @asynccontextmanager
    async def opened():
        with agent(womm_home.runtime) as one:
            socket = one.socket
            async with dispatching(socket, tmp_path) as (dispatcher, folder):
                yield dispatcher, folder

    return opened


async def test_quiet_folder_holds_no_job_up(go):
    async with go() as (dispatcher, folder):
        sink = Sink()
        dispatcher.submit(RunRequest(b"echo here"), sink)
        assert (await outcome(sink)).exit == 0
        assert bytes(sink.text[1]) == b"here\n"
        assert folder.asked == [f"revalidate {POD.name}", "wait_written"]


async def test_link_that_is_there_again_is_told_before_what_the_pod_says(go):
    async with go() as (dispatcher, folder):
        sink = Sink()
        number = dispatcher.submit(RunRequest(b"cat", stdin=True), sink)
        await until(lambda: folder.asked, "the start")
        dispatcher._state.links[POD.name]._connection.abort()
        await until(lambda: "reconnected" in folder.asked, "the news")
        dispatcher.feed_end(number)
        assert (await outcome(sink)).exit == 0
        assert folder.asked == [f"revalidate {POD.name}", "reconnected", "wait_written"]


async def test_job_starts_when_the_folder_is_fresh_and_has_its_input_and_signals_then(go):
    async with go() as (dispatcher, folder):
        folder.is_current, sink = False, Sink()
        command = b"trap 'echo heard; exit 3' USR1; cat; while :; do sleep 0.05; done"
        number = dispatcher.submit(RunRequest(command, stdin=True), sink)
        dispatcher.feed(number, b"input\n")
        dispatcher.feed_end(number)
        await until(lambda: folder.asked == ["refresh"], "the question")
        await asyncio.sleep(0.1)
        assert bytes(sink.text[1]) == b""
        folder.fresh.set()
        await until(lambda: bytes(sink.text[1]) == b"input\n", "its start")
        dispatcher.signal(number, int(signal.SIGUSR1))
        assert (await outcome(sink)).exit == 3
        assert bytes(sink.text[1]) == b"input\nheard\n"


@pytest.mark.parametrize("how", ["cancel", "signal"])
async def test_job_that_is_ended_before_the_folder_is_fresh_frees_its_slot(go, how):
    async with go() as (dispatcher, folder):
        folder.is_current, sink, second = False, Sink(), Sink()
        number = dispatcher.submit(RunRequest(b"sleep 1000"), sink)
        await until(lambda: folder.asked == ["refresh"], "the question")
        if how == "cancel":
            dispatcher.cancel(number)
        else:
            dispatcher.signal(number, int(signal.SIGTERM))
        folder.fresh.set()
        dispatcher.submit(RunRequest(b"exit 4"), second)
        assert (await outcome(second)).exit == 4
        if how == "signal":
            assert (await outcome(sink)).signal == signal.SIGTERM


async def test_job_is_reported_when_what_it_wrote_is_in_the_folder(go):
    async with go() as (dispatcher, folder):
        folder.settled.clear()
        sink = Sink()
        dispatcher.submit(RunRequest(b"echo done"), sink)
        await until(lambda: "wait_written" in folder.asked, "its end")
        await asyncio.sleep(0.1)
        assert sink.outcome is None
        assert dispatcher.done == 0
        folder.settled.set()
        assert (await outcome(sink)).exit == 0


async def test_job_whose_writing_failed_is_a_failure_that_says_why(go):
    async with go() as (dispatcher, folder):
        folder.why = "what jobs wrote is not in the folder: a: No space left on device"
        sink = Sink()
        dispatcher.submit(RunRequest(b"true"), sink)
        assert await outcome(sink) == Outcome(255, reason=folder.why)


async def test_worker_that_is_lost_while_its_job_is_held_or_settled_gives_it_back(go, tmp_path):
    async with go() as (dispatcher, folder):
        folder.settled.clear()
        sink = Sink()
        number = dispatcher.submit(RunRequest(b"echo $WOMM_ATTEMPT"), sink)
        await until(lambda: "wait_written" in folder.asked, "its end")
        dispatcher.workers.pod_gone(POD, Loss.REMOVED, "deleted")
        await until(lambda: dispatcher.pool.queued == 1, "its return")
        folder.settled.set()
        await asyncio.sleep(0.05)
        assert sink.outcome is None
        dispatcher.cancel(number)
        found = list(TaskStore(tmp_path / "tasks").read(TASK))
        assert not [event for event in found if isinstance(event, JobEnded)]


def lost(tmp_path: Path) -> list[tuple[int, int, str]]:
    found = TaskStore(tmp_path / "tasks").read(TASK)
    return [(event.job, event.attempt, event.cause) for event in found if isinstance(event, JobLost)]


async def test_lost_disk_runs_again_what_is_running_and_what_was_not_settled(go, tmp_path):
    async with go() as (dispatcher, folder):
        told, settling, running, queued = Sink(), Sink(), Sink(), Sink()
        dispatcher.submit(RunRequest(b"echo told"), told)
        assert (await outcome(told)).exit == 0
        folder.settled.clear()
        dispatcher.submit(RunRequest(b"echo settling ${WOMM_ATTEMPT-1}"), settling)
        await until(lambda: folder.asked.count("wait_written") == 2, "its end")
        first, folder.settled = folder.settled, asyncio.Event()
        folder.settled.set()
        dispatcher.submit(RunRequest(b"exit 5"), queued)
        dispatcher.disk_lost()
        assert (await outcome(settling)).exit == 0
        first.set()  # a late answer for the lost attempt
        assert bytes(settling.text[1]) == b"settling 2\n"
        assert (await outcome(queued)).exit == 5
        command = b"echo ${WOMM_ATTEMPT-1}; [ $WOMM_ATTEMPT = 2 ] || exec sleep 1000"
        dispatcher.submit(RunRequest(command), running)
        await until(lambda: bytes(running.text[1]) == b"1\n", "its start")
        assert not dispatcher.disk_lost()
        dispatcher.disk_lost()
        assert (await outcome(running)).exit == 0
        assert bytes(running.text[1]) == b"2\n"
        assert (dispatcher.done, dispatcher.failed) == (4, 1)
        assert folder.said == ["the file server's disk is lost: 1 job runs again"] * 3
        dispatcher.disk_lost()
        assert len(folder.said) == 3

    assert [(job, attempt) for job, attempt, _ in lost(tmp_path)] == [(2, 1), (4, 1)]


async def test_lost_disk_leaves_alone_what_has_not_begun_to_run(go, tmp_path):
    async with go() as (dispatcher, folder):
        folder.is_current, sink = False, Sink()
        dispatcher.submit(RunRequest(b"echo ${WOMM_ATTEMPT-1}"), sink)
        await until(lambda: folder.asked == ["refresh"], "the question")
        dispatcher.disk_lost()
        folder.fresh.set()
        assert (await outcome(sink)).exit == 0
        assert bytes(sink.text[1]) == b"1\n"
        assert folder.said == []

    assert lost(tmp_path) == []


async def test_job_that_is_ended_while_it_goes_for_a_lost_disk_does_not_run_again(go, tmp_path):
    async with go() as (dispatcher, _):
        sink, cancelled, last = Sink(), Sink(), Sink()
        number = dispatcher.submit(RunRequest(b"echo on; sleep 1000"), sink)
        await until(lambda: bytes(sink.text[1]) == b"on\n", "its start")
        dispatcher.disk_lost()
        dispatcher.signal(number, int(signal.SIGTERM))
        assert await outcome(sink) == Outcome(0, signal.SIGTERM)
        number = dispatcher.submit(RunRequest(b"echo on; sleep 1000"), cancelled)
        await until(lambda: bytes(cancelled.text[1]) == b"on\n", "its start")
        dispatcher.disk_lost()
        dispatcher.cancel(number)
        dispatcher.submit(RunRequest(b"exit 4"), last)
        assert (await outcome(last)).exit == 4
        assert cancelled.outcome is None

    assert lost(tmp_path) == []


@pytest.mark.parametrize("how", ["runs again", "signal", "cancel", "lost"])
async def test_void_job_runs_again_only_when_the_kernel_under_it_holds_nothing_of_it(go, tmp_path, how):
    async def main(dispatcher, folder):
        sink, last = Sink(), Sink()
        folder.synced = os.fsencode(tmp_path / "synced")
        command = b"echo ${WOMM_ATTEMPT-1}; [ $WOMM_ATTEMPT = 2 ] || exec sleep 1000"
        number = dispatcher.submit(RunRequest(command), sink)
        await until(lambda: bytes(sink.text[1]) == b"1\n", "its start")
        dispatcher.disk_lost()
        await until(lambda: "sync" in folder.asked, "its end")
        dispatcher.disk_lost()
        await asyncio.sleep(0.1)
        assert dispatcher.pool.where(number) == POD.name and sink.outcome is None
        assert dispatcher._state.jobs[number].attempt == 1
        if how == "lost":
            dispatcher.workers.pod_gone(POD, Loss.REMOVED, "deleted")
            await until(lambda: dispatcher.pool.queued == 1, "its return")
            await asyncio.sleep(0.05)
            dispatcher.cancel(number)
            return
        if how == "signal":
            dispatcher.signal(number, int(signal.SIGTERM))
        elif how == "cancel":
            dispatcher.cancel(number)
        (tmp_path / "synced").touch()
        if how == "runs again":
            assert (await outcome(sink)).exit == 0
            assert bytes(sink.text[1]) == b"2\n"
        elif how == "signal":
            assert await outcome(sink) == Outcome(0, signal.SIGTERM)
        dispatcher.submit(RunRequest(b"exit 4"), last)
        assert (await outcome(last)).exit == 4
        assert folder.asked.count("sync") == 1

    async with go() as parts:
        await main(*parts)

    assert len(lost(tmp_path)) == (how in {"runs again", "lost"})


async def test_shell_goes_on_over_a_lost_disk_and_fails_at_its_end(go):
    async with go() as (dispatcher, folder):
        sink = Sink()
        number = dispatcher.submit(RunRequest(b"echo on; cat", stdin=True), sink, no_retry=True)
        await until(lambda: bytes(sink.text[1]) == b"on\n", "its start")
        assert dispatcher.disk_lost()
        dispatcher.feed(number, b"more\n")
        dispatcher.feed_end(number)
        ended = await outcome(sink)
        assert bytes(sink.text[1]) == b"on\nmore\n"
        assert ended.exit == 255 and "disk was lost" in ended.reason
        assert any("what was written in the last seconds" in line for line in folder.said)
        assert not dispatcher.disk_lost()


async def test_worker_that_is_lost_under_a_job_of_a_lost_disk_gives_it_back_once(go, tmp_path):
    async with go() as (dispatcher, _):
        sink = Sink()
        number = dispatcher.submit(RunRequest(b"echo on; sleep 1000"), sink)
        await until(lambda: bytes(sink.text[1]) == b"on\n", "its start")
        dispatcher.disk_lost()
        dispatcher.workers.pod_gone(POD, Loss.REMOVED, "deleted")
        await until(lambda: dispatcher.pool.queued == 1, "its return")
        dispatcher.cancel(number)

    assert [attempt for _, attempt, _ in lost(tmp_path)] in ([1], [1, 2])


async def test_worker_gets_no_job_before_it_is_filled(womm_home, tmp_path):

    with agent(womm_home.runtime) as one:
        socket = one.socket
        filled = asyncio.Event()

        async def work() -> None:
            await filled.wait()

        async with dispatching(socket, tmp_path, lambda cluster, pod, user: work()) as (dispatcher, _):
            sink = Sink()
            dispatcher.submit(RunRequest(b"echo here"), sink)
            await until(lambda: dispatcher.workers.preparing == 1, "the filling")
            assert dispatcher.workers.waiting_for() == "1 gets the shared folder"
            assert dispatcher.pool.slots == 0
            filled.set()
            assert (await outcome(sink)).exit == 0
            assert dispatcher.workers.preparing == 0 and dispatcher.workers.waiting_for() == ""


async def test_worker_that_cannot_be_filled_leaves(womm_home, tmp_path):

    with agent(womm_home.runtime) as one:
        socket = one.socket

        async def refuse() -> None:
            raise ShareError("no room")

        async with dispatching(socket, tmp_path, lambda cluster, pod, user: refuse()) as (dispatcher, _):
            await until(lambda: dispatcher._state.cluster.left, "its leave")
            assert dispatcher._state.cluster.left == [(POD.name, "no room")]
            assert dispatcher.pool.slots == 0 and dispatcher.workers.preparing == 0


async def test_worker_that_is_lost_is_filled_no_more(womm_home, tmp_path):

    with agent(womm_home.runtime) as one:
        socket = one.socket
        never = asyncio.Event()
        async with dispatching(socket, tmp_path, lambda cluster, pod, user: never.wait()) as (dispatcher, _):
            await until(lambda: dispatcher.workers.preparing == 1, "the filling")
            dispatcher.workers.pod_gone(POD, Loss.REMOVED, "deleted")
            await until(lambda: dispatcher.workers.preparing == 0, "its end")
            assert dispatcher._state.cluster.left == []
