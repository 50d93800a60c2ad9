"""What a task needs of an engine, and what an engine gets of a task.

An engine brings the jobs of a task: it submits them to the task's dispatcher, as many at once as there are
jobslots, and hears of their ends there.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from womm.dispatch.dispatcher import Dispatcher
from womm.journal.store import Journal


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """The facts on an engine that a task needs before it opens the engine.

    joblog: the file of results, as the user gave it; None: none. resume: jobs in the joblog do not run again,
    but, with `failed_again`, those that failed. has_timeout: the engine ends jobs that take too long. total:
    the number of jobs; None: not known. own_progress: the engine shows the progress itself. needs_workers:
    it cannot start before the first worker is ready.
    """

    joblog: str | None = None
    resume: bool = False
    failed_again: bool = False
    has_timeout: bool = False
    total: int | None = None
    own_progress: bool = False
    needs_workers: bool = False


@dataclass(frozen=True, slots=True)
class EngineHost:
    """A task, as its engine sees it. `runtime`: a folder for the engine's sockets and files.

    jobslots: of all workers together, when every one is ready; procs_per_pod: of each pod.
    """

    task: str
    runtime: Path
    dispatcher: Dispatcher
    journal: Journal
    jobslots: int
    procs_per_pod: int
    say: Callable[[str], None]
    """One line for the user."""
    before_output: Callable[[], None]
    """Called before the engine may print something of a job."""


class Engine(Protocol):
    """An engine of one task, ready to start. Every method is for the event loop's thread."""

    async def start(self) -> None:
        """Begin to submit jobs, as if all workers were ready: jobs can wait. Raises EngineError.

        Called once; the methods below are for after that.
        """

    def follow(self) -> None:
        """From now on go by the number of jobslots that are ready."""

    def signal(self, number: int) -> None:
        """End the engine: SIGTERM has its jobs ended first, SIGKILL has not. It may have ended already."""

    def pass_on(self, number: int) -> None:
        """Give the engine a signal of the user's that does not end the task: SIGHUP, SIGUSR1, SIGUSR2."""

    async def wait(self) -> int:
        """Return when it has ended: its exit status, or minus the number of the signal that ended it."""

    def status(self, ended: int) -> int:
        """Return the task's exit status for what `wait` returned; tell the user what is wrong.

        Raises EngineError when a job has, or would have, run outside the workers.
        """


OpenEngine = Callable[[EngineHost], AbstractAsyncContextManager[Engine]]
"""Makes an engine; at the end of the context it is killed, and all that it made is removed."""
