"""A dispatcher with one worker in the memory of the test, and a share that waits for the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.dispatch.memory_agents import MemoryAgent, MemoryCluster, turns
from tests.dispatch.shares import HeldShare
from tests.dispatch.sinks import Sink
from womm.cluster.base import Pod
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.dispatch.phase import Phase
from womm.journal.events import JobEnded
from womm.journal.store import TaskStore
from womm.link.frames import EndKind, RunRequest

TASK = "aaaaaaaa"
POD = Pod(f"{TASK}-0", 1, 2)


class Place:
    """The dispatcher, its worker and its share; `sink` is the sink of all jobs."""

    def __init__(self, dispatcher: Dispatcher, share: HeldShare, said: list[str], store: TaskStore) -> None:
        self.dispatcher = dispatcher
        self.share = share
        self.agent = MemoryAgent()
        self.said = said
        self.sink = Sink()
        self._store = store

    async def submit(self, **options: bool) -> int:
        """Submit a job, and have it started without the share."""
        self.share.is_current = True
        number = self.dispatcher.submit(RunRequest(b"job"), self.sink, **options)  # type: ignore[arg-type]
        await turns()
        assert number in self.agent.jobs
        return number

    async def end(self, number: int, kind: EndKind = EndKind.EXITED) -> None:
        self.agent.end_job(number, kind)
        await turns()

    def phase(self, number: int) -> Phase | None:
        job = self.dispatcher._state.jobs.get(number)
        return job.phase if job is not None else None

    def ends(self) -> list[tuple[int, int, str]]:
        """The journalled results: exit status, signal, reason."""
        events = self._store.read(TASK)
        return [(event.exit, event.signal, event.reason) for event in events if isinstance(event, JobEnded)]


@asynccontextmanager
async def with_one_worker(folder: Path) -> AsyncIterator[Place]:
    """A Place whose worker is ready."""

    store, cluster, share = TaskStore(folder), MemoryCluster(), HeldShare()
    said: list[str] = []
    with store.create(TASK, on_failure=print) as journal:
        options = DispatchOptions(folder, stdin_memory_bytes=1, stdin_cap_bytes=1, capture_bytes=9)
        dispatcher = Dispatcher(cluster, journal, said.append, options, share=share)  # type: ignore[arg-type]
        place = Place(dispatcher, share, said, store)
        cluster.agents[POD.name] = place.agent
        dispatcher.workers.pod_started(POD)
        await turns()
        try:
            yield place
        finally:
            await dispatcher.close(0)
