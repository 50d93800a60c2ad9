"""Tasks with real processes, as a coordinator leaves them at any moment."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.cli.running import environment
from tests.journal.samples import STARTED, journal_of
from womm.journal.events import Event, TaskStarted
from womm.journal.fold import fold
from womm.journal.observe import agents, this_host
from womm.journal.store import TaskRecord, TaskStore
from womm.process import ProcessIdentity, end_marked, is_alive, marked

# Ends of processes go by these: another test run on this machine must have others.
TASK, OTHER = ("".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(2))
_COORDINATOR = """
import os, signal, subprocess, sys, time
from dataclasses import replace
from pathlib import Path
from tests.cli.tasks import started_here
from womm.journal.events import EngineStarted, PodStarted, TaskCleaned, TaskEnded
from womm.journal.store import TaskStore
from womm.process import identify

task, folder, runtime, manner = sys.argv[1:]
journal = TaskStore.default().create(task, on_failure=print)
me = identify(os.getpid())
journal.append(started_here(task, folder, pods=2, coordinator_pid=me.pid,
    coordinator_start=me.start, runtime_dir=runtime))
env = {**os.environ, "WOMM_TASK": task}
def start(*words):
    child = subprocess.Popen(words, env=env, start_new_session=True)
    return child, identify(child.pid)
engine, who = start("sleep", "300")
journal.append(EngineStarted(time.time(), who.pid, who.start, ("sleep",)))
children = [engine]
# As an agent does, it ends the jobs that carry no mark when it is told to end.
agent = "trap 'kill $job; exit' TERM; setsid sleep 300 & env -i sleep 300 & job=$!; wait"
for number in range(2):
    child, who = start("sh", "-c", agent)
    journal.append(PodStarted(time.time(), f"pod-{number}", 1, who.pid, who.start))
    children.append(child)
stop = []
signal.signal(signal.SIGTERM, signal.SIG_IGN if manner == "deaf" else lambda *_: stop.append(1))
print("ready", flush=True)
while not stop:
    time.sleep(0.02)
if manner == "polite":
    from womm.process import end_marked
    end_marked("WOMM_TASK", task, [child.pid for child in children])
    os.rmdir(runtime)
    journal.append(TaskEnded(time.time(), 143, 0, 0))
    journal.append(TaskCleaned(time.time()))
"""


def started_here(task: str, folder: str, **changes: object) -> TaskStarted:
    """A task of this machine; its runtime folder is there, so that something is left of it."""
    started = replace(STARTED, task=task, folder=folder, host=this_host(), time=time.time(), runtime_dir="/")
    return replace(started, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Task:
    """A started task. `runtime`: its runtime folder."""

    record: TaskRecord
    coordinator: "subprocess.Popen[str]"
    runtime: Path

    def processes(self) -> list[ProcessIdentity]:
        """Return what is alive of the task, but for its coordinator."""
        state = fold(self.record.events())
        found = {identity for identity in agents(state) if is_alive(identity)}
        return [*found.union(marked("WOMM_TASK", self.record.task))]

    def wait_for_processes(self, number: int) -> None:
        """Return when so many are alive: a child that was just forked is not yet what it will be."""
        deadline = time.monotonic() + 20
        while len(self.processes()) < number:
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.02)

    def orphan(self) -> None:
        self.coordinator.kill()
        self.coordinator.wait()


@contextmanager
def running(folder: Path, runtime_base: Path, *, task: str = TASK, manner: str = "polite") -> Iterator[Task]:
    """Start a coordinator with an engine and two pods; `manner`: what it does on SIGTERM.

    polite: it cleans up. rude: it exits. deaf: nothing.
    """
    runtime = runtime_base / f"womm-{task}"
    runtime.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", _COORDINATOR, task, str(folder), str(runtime), manner],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        record = TaskStore.default().resolve(task)
        try:
            yield Task(record, process, runtime)
        finally:
            process.kill()
            sessions = [agent.pid for agent in agents(fold(record.events())) if is_alive(agent)]
            end_marked("WOMM_TASK", task, sessions)


def write_task(task: str, *events: Event) -> Path:
    """Write the journal of a task without processes into the user's state folder."""
    return journal_of(TaskStore.default(), *events, task=task)
