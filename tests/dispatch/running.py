"""A dispatcher with a cluster of real agents on this machine, as a task has it."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.link.wires import PERL
from tests.loop import until
from womm.cluster.base import TaskSpec
from womm.cluster.local import LocalCluster
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.journal.events import Event
from womm.journal.store import Journal, TaskStore

# No other test run on this machine may find our processes by it.
TASK = "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(8))
DEADLINE_S = 60.0
E = TypeVar("E", bound=Event)


@dataclass
class Task:
    dispatcher: Dispatcher
    cluster: LocalCluster
    journal: Journal
    store: TaskStore
    runtime: Path
    said: list[str] = field(default_factory=list)

    async def until(self, done: Callable[[], object], what: str) -> None:
        """Wait for something that no single event tells."""
        await until(done, what, DEADLINE_S, seen=lambda: self.said)

    async def ready(self) -> None:
        await self.until(lambda: self.dispatcher.pool.slots, "a worker")

    def events(self, *kinds: type[E]) -> list[E]:
        return [event for event in self.store.read(TASK) if isinstance(event, kinds)]


@asynccontextmanager
async def task(
    runtime: Path,
    tmp_path: Path,
    *,
    pods: int = 2,
    slots: int = 1,
    local_slots: int = 0,
    memory_bytes: int = 1 << 16,
    cap_bytes: int = 1 << 22,
    shell: str = "/bin/sh",
    folder: Path | None = None,
    orphan_timeout_s: float = 1800.0,
    capture_bytes: int = 1 << 20,
    made: Callable[[Path, str], LocalCluster] = LocalCluster,
) -> AsyncIterator[Task]:
    """Start everything of a task but GNU parallel; wait for no worker yet."""
    store = TaskStore(tmp_path / "tasks")
    said: list[str] = []
    with store.create(TASK, on_failure=said.append) as journal:
        cluster = made(runtime, PERL)
        dispatcher = Dispatcher(
            cluster,
            journal,
            said.append,
            DispatchOptions(
                spool_folder=tmp_path,
                stdin_memory_bytes=memory_bytes,
                stdin_cap_bytes=cap_bytes,
                capture_bytes=capture_bytes,
            ),
        )
        spec = TaskSpec(
            task=TASK,
            folder=folder or tmp_path,
            pods=pods,
            slots=slots,
            cpu="1",
            mem="1Gi",
            shell=shell,
            orphan_timeout_s=orphan_timeout_s,
            local_slots=local_slots,
        )
        try:
            await cluster.start(spec, dispatcher.workers)
            yield Task(dispatcher, cluster, journal, store, runtime, said)
        finally:
            await dispatcher.close()
            await cluster.stop()
