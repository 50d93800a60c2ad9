"""Processes that a test run has started and not ended, found in /proc (Linux only).

Strategy: the run's environment carries a mark of its own, which every process below it inherits; so
a daemon is found that has long left the process tree. A zombie is found by its parent. A process that has
cleared its environment and has lost its parent is found by a second mark, which no exec clears: the limit of
POSIX message queues (RLIMIT_MSGQUEUE), which nothing here uses and which has a number of the run's own.

What a run has inherited must not decide what tests see: signals that are ignored, as nohup and the background
jobs of a script have them, stay so in every child. `usual_signals` mends that, for all tests.
"""

import os
import random
import resource
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "WOMM_TEST_RUN"
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    state: str
    """One letter, as in proc(5): Z is a zombie."""
    command: str
    test: str
    """The test that was running when it was started; empty where its environment does not say."""

    def __str__(self) -> str:
        started = self.test or "an unknown test"
        return f"{self.pid} ({self.state}) {self.command!r}, started in {started}"


def mark_by_limit() -> int:
    """Give this process, and all that it starts from now on, the run's number; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    most = 800_000 if hard == resource.RLIM_INFINITY else hard
    number = random.SystemRandom().randrange(most // 2, most)
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (number, number))
    return number


def usual_signals() -> None:
    """Let children start with no signal ignored or blocked.

    A signal with a handler is at its default after exec. This process goes on ignoring it.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # nobody could wait for a child
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM"):
        number = signal.Signals[name]
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def left_over(mark: str, limit: int = 0) -> list[Process]:
    """Return the processes that carry `mark`, or the limit, or descend from this one."""
    parents: dict[int, int] = {}
    marked: set[int] = set()
    found: list[Process] = []
    for entry in PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        # A process that ends while it is looked at is not left over.
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int(entry.name)
            # The name in parentheses may hold anything, also a parenthesis.
            stat = (entry / "stat").read_text(errors="replace")
            state, parent = stat.rpartition(") ")[2].split()[:2]
            environ = _environ(entry)
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            test = environ.get("PYTEST_CURRENT_TEST", "")
            found.append(Process(pid, state, command.strip(), test))
            parents[pid] = int(parent)
            if environ.get(MARK) == mark or (limit and _limit(entry) == limit):
                marked.add(pid)
    me = os.getpid()
    return [p for p in found if p.pid != me and (p.pid in marked or _descends(p.pid, me, parents))]


def wait_until_gone(mark: str, timeout_s: float, limit: int = 0) -> list[Process]:
    """Wait for the processes that are left over to end; return those that have not in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        processes = left_over(mark, limit)
        alive = [process for process in processes if process.state != "Z"]
        remaining_s = deadline - time.monotonic()
        if not alive or remaining_s <= 0:
            return processes
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(alive[0].pid)
            try:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                poll.poll(remaining_s * 1000)
            finally:
                os.close(fd)


def _limit(entry: Path) -> int:
    """The limit of message queues: a line of proc_pid_limits(5) ends with soft, hard and unit."""
    for line in (entry / "limits").read_text().splitlines():
        if line.startswith("Max msgqueue size"):
            hard = line.split()[-2]
            return int(hard) if hard.isdecimal() else 0
    return 0


def _environ(entry: Path) -> dict[str, str]:
    try:
        pairs = (entry / "environ").read_bytes().split(b"\0")
    except PermissionError:  # another user's: not ours
        return {}
    return dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs if b"=" in pair)


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False
