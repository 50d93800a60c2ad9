"""`womm parallel` as a user runs it, while its workers, its coordinator or the disk go away."""

import os
import random
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from womm.journal.events import Event
from womm.journal.store import TaskRecord, TaskStore
from womm.process import end_marked

WOMM = [sys.executable, "-X", "faulthandler", "-m", "womm"]
DEADLINE_S = 300.0
END_S = 20.0
E = TypeVar("E", bound=Event)


def environment(**changes: str | None) -> dict[str, str]:
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


@dataclass
class Run:
    """A running `womm`; what it prints goes to files, so that nothing ever waits for a reader."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    out_path: Path
    err_path: Path

    @property
    def out(self) -> bytes:
        return self.out_path.read_bytes()

    @property
    def err(self) -> str:
        return self.err_path.read_text(errors="replace")

    @property
    def task(self) -> str:
        """The task's id; waits until it is told."""
        wait_for(lambda: re.search(r"task ([a-z]{8}) created", self.err) or self.process.poll(), "its id")
        found = re.search(r"task ([a-z]{8}) created", self.err)
        assert found, self.err
        return found[1]

    @property
    def record(self) -> TaskRecord:
        return TaskStore.default().resolve(self.task)

    def events(self, *kinds: type[E]) -> list[E]:
        return [event for event in self.record.events() if isinstance(event, kinds)]

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {deadline_s:.0f} s: {self.err[-2000:]}") from None


@contextmanager
def started(
    folder: Path,
    *words: str,
    stdin: bytes | Path | None = None,
    name: str = "womm",
    **env: str | None,
) -> Iterator[Run]:
    """Start `womm WORDS`, leader of a process group of its own; what is left of it is ended."""
    out_path, err_path = folder / f"{name}.out", folder / f"{name}.err"
    if isinstance(stdin, bytes):
        (folder / f"{name}.in").write_bytes(stdin)
        stdin = folder / f"{name}.in"
    with open(stdin or os.devnull, "rb") as given, open(out_path, "wb") as out, open(err_path, "wb") as err:
        process = subprocess.Popen(
            [*WOMM, *words],
            stdin=given,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=environment(**env),
            process_group=0,
        )
    run = Run(process, folder, out_path, err_path)
    try:
        yield run
    finally:
        if process.poll() is None:
            print(_state(run))
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # its stacks, on its stderr
                process.wait()
            print(run.err[-20_000:])
        found = re.search(r"task ([a-z]{8}) created", run.err)
        if found:
            end_marked("WOMM_TASK", found[1])


def _state(run: Run) -> str:
    """What is known of a run that a test ends: pytest shows it if that was no part of the test."""
    found = re.search(r"task ([a-z]{8}) created", run.err)
    if not found:
        return "no task yet"
    words = ["ps", "-o", "pid,ppid,pgid,stat,wchan:20,etimes,args", "--sort", "pid"]
    pids = [str(run.process.pid), *map(str, carriers(f"WOMM_TASK={found[1]}"))]
    listing = subprocess.run([*words, "-p", ",".join(pids)], capture_output=True, text=True, check=False)
    events = "\n".join(map(repr, list(run.record.events())[-60:]))
    return f"{listing.stdout}\n{events}"


def womm(folder: Path, *words: str, **env: str | None) -> "subprocess.CompletedProcess[str]":
    """Run a short command to its end."""
    return subprocess.run(
        [*WOMM, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(**env),
        timeout=DEADLINE_S,
        check=False,
    )


def wait_for(done: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for something that no event tells."""
    deadline = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < deadline, f"waited {deadline_s:.0f} s for {what}"
        time.sleep(0.02)


def wait_for_end(pids: Sequence[int], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until processes, of anybody, have ended."""
    deadline = time.monotonic() + deadline_s
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            gone = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert gone, f"{what}: process {pid} is still there after {deadline_s:.0f} s"
        finally:
            os.close(fd)


def carriers(variable: str, *, command: str = "") -> list[int]:
    """Return the pids of living processes with NAME=VALUE (or NAME=) at the start of a variable.

    command: only those with this in their command line.
    """
    found = []
    wanted = variable.encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):
            variables = (entry / "environ").read_bytes().split(b"\0")
            exact = not variable.endswith("=")
            if not any(v == wanted if exact else v.startswith(wanted) for v in variables):
                continue
            if command.encode() not in (entry / "cmdline").read_bytes():
                continue
            if (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX":
                continue
            found.append(int(entry.name))
    return found


def agents(task: str) -> list[int]:
    """The agents, without what one has forked for a job that has not called exec yet."""
    found = carriers(f"WOMM_TASK={task}", command="agent.pl\0--socket")
    return [pid for pid in found if _parent(pid) not in found]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def nothing_left(task: str, runtime: Path) -> None:
    """Check that the task has left no process, no runtime folder and no temporary file."""
    wait_for(lambda: not carriers(f"WOMM_TASK={task}"), "the end of all processes", 30)
    left = [path for path in runtime.iterdir() if path.name.startswith("womm-")]
    assert left == []


@dataclass
class Killer:
    """Kills a worker of the task now and then, with SIGKILL, in a thread."""

    task: str
    every_s: float
    kills: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def __enter__(self) -> "Killer":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(self.every_s):
            alive = sorted(agents(self.task))
            if alive:
                with suppress(ProcessLookupError):
                    os.kill(self.chance.choice(alive), signal.SIGKILL)
                    self.kills += 1


def joblog_lines(path: Path) -> list[list[str]]:
    """The fields of each line but the heading."""
    return [line.split("\t") for line in path.read_text(errors="replace").splitlines()[1:]]
