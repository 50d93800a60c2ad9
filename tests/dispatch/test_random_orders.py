"""A dispatcher whose jobs, workers and share do things in random orders."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.dispatch.memory_agents import MemoryAgent, MemoryCluster, turns
from tests.dispatch.shares import HeldShare
from tests.dispatch.sinks import Sink
from womm.cluster.base import Loss, Pod
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.dispatch.phase import Phase
from womm.journal.events import JobEnded
from womm.journal.store import TaskStore
from womm.link.frames import EndKind, RunRequest

TASK = "aaaaaaaa"
DEADLINE_S = 30.0
HAS_PROCESS = {Phase.RUNNING, Phase.OUTPUT_LOST, Phase.CANCELLED, Phase.FAILED}


class World:
    """A dispatcher, its workers, and what its jobs' submitters have heard."""

    def __init__(self, dispatcher: Dispatcher, cluster: MemoryCluster, share: HeldShare) -> None:
        self.dispatcher = dispatcher
        self.cluster = cluster
        self.share = share
        self.sinks: dict[int, Sink] = {}
        self.unwanted: set[int] = set()
        self.instances = itertools.count(1)

    # ---- steps: `which` chooses the job, the pod, or the kind

    def submit(self, which: int) -> None:
        sink = Sink(files=() if which & 1 else (1, 2))
        number = self.dispatcher.submit(
            RunRequest(b"job", stdin=bool(which & 2)), sink, seq=which, no_retry=bool(which & 4)
        )
        self.sinks[number] = sink

    def feed(self, which: int) -> None:
        self.dispatcher.feed(self._job(which), b"y" * 40)

    def signal(self, which: int) -> None:
        self.dispatcher.signal(self._job(which), 15)

    def cancel(self, which: int) -> None:
        number = self._job(which)
        self.dispatcher.cancel(number)
        if number in self.sinks and self.sinks[number].outcome is None:
            self.unwanted.add(number)

    def fail(self, which: int) -> None:
        self.dispatcher.fail(self._job(which), "the test says so")

    def start_pod(self, which: int) -> None:
        name = f"{TASK}-{which % 3}"
        if name not in self.cluster.pods:
            pod = Pod(name, next(self.instances), 1 + which % 2)
            self.cluster.pods[name], self.cluster.agents[name] = pod, MemoryAgent()
            self.dispatcher.workers.pod_started(pod)

    def lose_pod(self, which: int) -> None:
        if self.cluster.pods:
            name = sorted(self.cluster.pods)[which % len(self.cluster.pods)]
            self.cluster.agents.pop(name).end()
            loss = (Loss.CRASHED, Loss.REMOVED, Loss.OOM_KILLED)[which % 3]
            self.dispatcher.workers.pod_gone(self.cluster.pods.pop(name), loss, "")

    def cut(self, which: int) -> None:
        if self.cluster.agents:
            self.cluster.agents[sorted(self.cluster.agents)[which % len(self.cluster.agents)]].cut()

    def print(self, which: int) -> None:
        self._in_agent(which, MemoryAgent.print)

    def end_job(self, which: int) -> None:
        self._in_agent(which, MemoryAgent.end_job)

    def out_of_memory(self, which: int) -> None:
        self._in_agent(which, lambda agent, job: agent.end_job(job, EndKind.OOM_KILLED))

    def not_started(self, which: int) -> None:
        self._in_agent(which, lambda agent, job: agent.end_job(job, EndKind.NOT_STARTED))

    def lose_disk(self, which: int) -> None:
        self.dispatcher.disk_lost()

    def release(self, which: int) -> None:
        self.share.release(which, "" if which % 4 else "no room")

    def change_share(self, which: int) -> None:
        self.share.is_current = not self.share.is_current

    # ---- what holds after each step

    def check(self) -> None:
        state = self.dispatcher._state
        self.dispatcher.pool.check()
        running = [job for agent in self.cluster.agents.values() for job in agent.jobs]
        assert len(running) == len(set(running)), "a job runs twice at a time"
        for number, job in state.jobs.items():
            assert (job.phase is Phase.WAITING) == (state.pool.where(number) is None), job
            assert job.phase is not Phase.ENDED, job
            assert (job.pod in state.links) == (job.phase is not Phase.WAITING), job
        known = {number for number in running if number in state.jobs}
        assert all(state.jobs[number].phase in HAS_PROCESS for number in known)

    def _job(self, which: int) -> int:
        """The number of a job that has no result yet, if there is one: of another job for 11."""
        live = list(self.dispatcher._state.jobs) if which != 11 else []
        return live[which % len(live)] if live else 1 + len(self.sinks) // 2

    def _in_agent(self, which: int, do: Callable[[MemoryAgent, int], None]) -> None:
        running = [(agent, job) for agent in self.cluster.agents.values() for job in agent.jobs]
        if running:
            do(*running[which % len(running)])


STEPS = [
    *(World.submit, World.submit, World.submit, World.feed, World.signal, World.cancel, World.fail),
    *(World.start_pod, World.lose_pod, World.cut, World.print, World.out_of_memory, World.not_started),
    *(World.end_job, World.end_job, World.lose_disk, World.lose_disk, World.change_share),
    *(World.release, World.release, World.release),
]


async def play(folder: Path, steps: list[tuple[Callable[[World, int], None], int]]) -> None:
    bugs: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(context))
    store = TaskStore(folder)
    with store.create(TASK, on_failure=print) as journal:
        cluster, share = MemoryCluster(), HeldShare()
        options = DispatchOptions(folder, stdin_memory_bytes=50, stdin_cap_bytes=100, capture_bytes=100)
        said: list[str] = []
        dispatcher = Dispatcher(cluster, journal, said.append, options, share=share)  # type: ignore[arg-type]
        world = World(dispatcher, cluster, share)
        world.start_pod(1)
        for step, which in steps:
            await turns()
            world.check()
            step(world, which)
        share.patient = False
        async with asyncio.timeout(DEADLINE_S):
            while dispatcher._state.jobs:
                await turns()
                while share.waits:
                    world.release(1)
                world.start_pod(0)
                world.end_job(0)
                await asyncio.sleep(0.001)
        world.check()
        await dispatcher.close(0)
    assert bugs == []
    for number, sink in world.sinks.items():
        assert (sink.outcome is None) == (number in world.unwanted), number
    ended = [event.job for event in store.read(TASK) if isinstance(event, JobEnded)]
    assert len(ended) == len(set(ended)), "two results of one job"
    assert {number for number, sink in world.sinks.items() if sink.outcome} <= set(ended)


# Ways to phases that random steps reach seldom: the job waits for no news of the share.
QUIET = [(World.change_share, 0), (World.submit, 0)]
SETTLING = [*QUIET, (World.end_job, 0)]
OUTPUT_LOST = [*QUIET, (World.lose_disk, 0)]
FLUSHING = [*OUTPUT_LOST, (World.end_job, 0)]
LOST_WHILE_SETTLING = [*SETTLING, (World.lose_disk, 0), (World.cancel, 0), (World.release, 1)]


@example([*SETTLING, (World.cancel, 0)])
@example([*SETTLING, (World.fail, 0)])
@example([*SETTLING, (World.lose_pod, 0)])
@example([*OUTPUT_LOST, (World.cancel, 0)])
@example([*OUTPUT_LOST, (World.signal, 0), (World.lose_pod, 0)])
@example([*FLUSHING, (World.cancel, 0)])
@example([*FLUSHING, (World.fail, 0), (World.lose_pod, 0)])
@example([*FLUSHING, (World.signal, 0)])
@example(LOST_WHILE_SETTLING)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 11)), min_size=10, max_size=80))
def test_every_job_that_is_wanted_has_one_outcome(tmp_path_factory, steps):
    asyncio.run(play(tmp_path_factory.mktemp("tasks"), steps))
