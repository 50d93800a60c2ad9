"""The lives of workers, one after the other."""

import asyncio
import signal
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.dispatch.running import TASK
from tests.dispatch.sinks import Sink
from tests.link.wires import agent, dial
from tests.loop import until
from womm.cluster.base import Loss, Pod
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.journal.events import JobStarted, PodGone, PodReady
from womm.journal.store import TaskStore
from womm.link.frames import WINDOW, RunRequest


class TwoLives:
    """A Cluster of one pod, whose agents the test starts and reports itself."""

    name = "two lives"
    wanted = 1
    share_host = None
    window_bytes = WINDOW

    def __init__(self):
        self.sockets = {}

    def dial(self, pod):
        return dial(self.sockets[pod.instance])

    def drain(self):
        pass

    async def end_pod(self, pod, reason):
        raise AssertionError(reason)


@pytest.fixture
def two_lives(womm_home, tmp_path):
    """An async context manager, which gives (dispatcher, the agents, until, events)."""

    @asynccontextmanager
    async def opened():
        store = TaskStore(tmp_path / "tasks")

        def events(kind):
            return [event for event in store.read(TASK) if isinstance(event, kind)]

        (womm_home.runtime / "1").mkdir()
        (womm_home.runtime / "2").mkdir()
        with agent(womm_home.runtime / "1") as first, agent(womm_home.runtime / "2") as second:  # noqa: SIM117
            with store.create(TASK, on_failure=print) as journal:
                cluster = TwoLives()
                cluster.sockets = {1: first.socket, 3: second.socket}
                dispatcher = Dispatcher(
                    cluster,  # type: ignore[arg-type] # as much of one as is called
                    journal,
                    lambda text: None,
                    DispatchOptions(
                        spool_folder=tmp_path, stdin_memory_bytes=1, stdin_cap_bytes=1, capture_bytes=1
                    ),
                )
                try:
                    yield dispatcher, (first, second), until, events
                finally:
                    await dispatcher.close()

    return opened


@pytest.mark.parametrize("bound", [False, True])
async def test_job_of_a_pod_that_vanished_runs_in_another_unless_it_is_bound_to_it(two_lives, bound):
    async with two_lives() as (dispatcher, _, until, events):
        pod, sink = Pod(f"{TASK}-x", 1, 1), Sink()
        dispatcher.workers.pod_started(pod)
        await until(lambda: dispatcher.pool.slots == 1, "a worker")
        command = b"[ $WOMM_ATTEMPT = 2 ] || exec sleep 1000; exit 4"
        dispatcher.submit(RunRequest(command), sink, pinned=pod.name, bound=bound)
        await until(lambda: events(JobStarted), "its start")
        dispatcher.workers.pod_gone(pod, Loss.REMOVED, "deleted")
        dispatcher.workers.pod_vanished(pod.name)
        dispatcher.workers.pod_started(Pod(f"{TASK}-y", 3, 1))
        await until(lambda: sink.outcome, "the outcome")
        assert sink.outcome is not None
        assert sink.outcome.exit == (255 if bound else 4)
        assert [event.pod for event in events(JobStarted)][1:] == ([] if bound else [f"{TASK}-y"])


@pytest.mark.parametrize("between", [False, True])
async def test_next_life_that_is_ready_before_the_last_one_is_buried_is_kept(two_lives, between):
    """A connection of the first may stay open a moment longer, in a child of the agent or a proxy.

    between: a life that was never dialled comes and goes meanwhile.
    """

    async with two_lives() as (dispatcher, agents, until, events):
        pod = Pod(f"{TASK}-0", 1, 1)
        dispatcher.workers.pod_started(pod)
        await until(lambda: dispatcher.pool.slots == 1, "the first life")
        agents[0].process.send_signal(signal.SIGSTOP)  # its socket stays open
        dispatcher.workers.pod_gone(pod, Loss.REMOVED, "reported gone")
        if between:
            short = replace(pod, instance=2)
            dispatcher.workers.pod_started(short)
            dispatcher.workers.pod_gone(short, Loss.REMOVED, "gone at once")
            await asyncio.sleep(0.1)
        dispatcher.workers.pod_started(replace(pod, instance=3))
        await until(lambda: len(events(PodReady)) == 2, "both lives")
        await until(lambda: events(PodGone), "the end")
        sink = Sink()
        dispatcher.submit(RunRequest(b"exit 4"), sink)
        await until(lambda: sink.outcome, "the outcome")
        assert sink.outcome is not None
        assert sink.outcome.exit == 4
