"""Jobs submitted to the dispatcher by itself: agents and links, no GNU parallel. Prints one JSON object.

A process of its own, so that its CPU time is the coordinator's and that of its children the workers'.
Flow control, the journal with kept output, and rusage in every end record are on.

    python -m bench.driver FOLDER JOBS SLOTS COMMAND     ({} in COMMAND is the job's number)
"""

import asyncio
import json
import resource
import signal
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.run import PODS
from womm.cli.surroundings import find_perl
from womm.cluster.base import Cluster, TaskSpec
from womm.cluster.local import LocalCluster
from womm.dispatch.dispatcher import Dispatcher, DispatchOptions
from womm.dispatch.job import Outcome
from womm.journal.store import TaskStore
from womm.link.frames import RunRequest
from womm.settings import Settings

READY_S = 30.0
TASK = "benchone"


@dataclass(frozen=True, slots=True)
class Driven:
    """The cost of a run; the time is from the first job's submission, with all workers ready."""

    jobs: int
    wall_s: float
    out_bytes: int
    coordinator_cpu_s: float
    workers_cpu_s: float
    """Agents and jobs, from the agents' start to their end."""


class Discard:
    """A sink that takes everything and keeps nothing. `ended` is for those who are one."""

    __slots__ = ()

    def write(self, stream: int, data: bytes | memoryview) -> bool:
        return True

    def can_take_back(self, stream: int) -> bool:
        return True

    def take_back(self, stream: int) -> None:
        pass

    def file(self, stream: int) -> None:
        return None

    def read_back(self, stream: int, size_bytes: int) -> bytes:
        return b""

    def failure(self) -> None:
        return None

    def resume_input(self) -> None:
        pass

    def ended(self, outcome: Outcome) -> None:
        raise NotImplementedError


class _Count(Discard):
    """A sink that counts its bytes."""

    def __init__(self, done: "asyncio.Future[Outcome]") -> None:
        self._done = done
        self.size = 0

    def write(self, stream: int, data: bytes | memoryview) -> bool:
        self.size += len(data)
        return True

    def take_back(self, stream: int) -> None:
        self.size = 0

    def ended(self, outcome: Outcome) -> None:
        self._done.set_result(outcome)


async def drive(folder: Path, jobs: int, slots: int, command: str) -> Driven:
    """Run the jobs, as many at a time as there are slots. Raises RuntimeError when one fails."""
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    assert me is not None
    loop.add_signal_handler(signal.SIGTERM, me.cancel)
    runtime = folder / "run"
    runtime.mkdir()
    async with AsyncExitStack() as stack:
        cluster = LocalCluster(runtime, find_perl())
        dispatcher = new_dispatcher(TASK, cluster, stack, folder)
        ready = asyncio.Event()
        dispatcher.follow(lambda: ready.set() if dispatcher.pool.slots == PODS * slots else None)
        await cluster.start(
            TaskSpec(TASK, folder, PODS, slots, "1", "1", "/bin/sh", 60.0), dispatcher.workers
        )
        await asyncio.wait_for(ready.wait(), READY_S)
        before, began = cpu_s(resource.RUSAGE_SELF), time.perf_counter()
        size = await submit_all(dispatcher, jobs, PODS * slots, command)
        wall_s = time.perf_counter() - began
        coordinator_s = cpu_s(resource.RUSAGE_SELF) - before
    return Driven(jobs, wall_s, size, coordinator_s, cpu_s(resource.RUSAGE_CHILDREN))


def new_dispatcher(task: str, cluster: Cluster, stack: AsyncExitStack, folder: Path) -> Dispatcher:
    """A dispatcher with a journal in `folder`; the stack ends it, then the cluster, then the journal."""
    settings = Settings()
    store = TaskStore(folder / "tasks")
    journal = stack.enter_context(store.create(task, on_failure=_say, task_bytes=settings.log_task_bytes))
    stack.push_async_callback(cluster.stop)
    dispatcher = Dispatcher(
        cluster,
        journal,
        _say,
        DispatchOptions(
            spool_folder=folder,
            stdin_memory_bytes=settings.stdin_memory_bytes,
            stdin_cap_bytes=settings.stdin_cap_bytes,
            capture_bytes=settings.log_job_bytes,
        ),
    )
    stack.push_async_callback(dispatcher.close)
    return dispatcher


async def submit_all(dispatcher: Dispatcher, jobs: int, at_once: int, command: str) -> int:
    """Run so many jobs, so many at once; return the bytes of their output. Raises RuntimeError."""
    loop = asyncio.get_running_loop()
    numbers = iter(range(1, jobs + 1))
    size = 0

    async def slot() -> None:
        nonlocal size
        for number in numbers:
            done: asyncio.Future[Outcome] = loop.create_future()
            sink = _Count(done)
            dispatcher.submit(RunRequest(command.replace("{}", str(number)).encode()), sink)
            outcome = await done
            if outcome != Outcome(0):
                raise RuntimeError(f"job {number}: {outcome}")
            size += sink.size

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(slot())
    return size


def cpu_s(who: int) -> float:
    """Return the CPU time of this process (RUSAGE_SELF) or of its children."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def _say(text: str | OSError) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    _, folder, jobs, slots, command = sys.argv
    print(json.dumps(asdict(asyncio.run(drive(Path(folder), int(jobs), int(slots), command)))))
