"""Running and timing programs: each in a session of its own, ended whatever happens."""

import fcntl
import json
import os
import select
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from bench.stats import order

ROOT = Path(__file__).resolve().parent.parent
PODS = 4
TIMEOUT_S = 120.0
END_S = 20.0
"""The time that womm has to clean up after SIGTERM."""
LEAST_ROUNDS = 3
READ_BYTES = 1 << 20

T = TypeVar("T")


class BenchError(Exception):
    """A program did not do its work: a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens, and with what. `env` points into `folder`, which goes at the end."""

    folder: Path
    env: Mapping[str, str]
    womm: str
    perl: str
    parallel: Path
    quick: bool

    @property
    def womm_parallel(self) -> list[str]:
        return [self.womm, "parallel", "--kube-pods", str(PODS)]

    @property
    def plain_parallel(self) -> list[str]:
        return [self.perl, str(self.parallel)]

    def numbers(self, count: int) -> Path:
        """A file of the lines 1 to `count`."""
        path = self.folder / f"seq-{count}"
        if not path.exists():
            path.write_text("".join(f"{number}\n" for number in range(1, count + 1)))
        return path


@dataclass(frozen=True, slots=True)
class Run:
    """One program from start to exit. `cpu_s` is its own and that of all that it waited for."""

    wall_s: float
    first_s: float | None
    """Until the first byte on stdout; None: there was none."""
    out_bytes: int
    cpu_s: float
    marks: Sequence[tuple[float, int]]
    """Pairs of seconds after the start, and bytes of stdout until then."""
    out: bytes
    """The beginning of stdout."""


def place(folder: Path, *, quick: bool) -> Place:
    """Lay out `folder`. Raises BenchError when a program is not installed."""
    from womm.engine.gnu.locate import locate
    from womm.errors import WommError

    womm = Path(sys.executable).parent / "womm"
    perl = shutil.which("perl")
    if not womm.exists() or perl is None:
        raise BenchError(f"{womm if perl else 'perl'} is not there: run scripts/install")
    try:
        parallel = locate().path
    except WommError as exc:
        raise BenchError(f"{exc}: run scripts/install") from exc
    return Place(folder, environment(folder), str(womm), perl, parallel, quick)


def environment(folder: Path) -> dict[str, str]:
    """This process's environment without variables that steer the candidates; the same for all of them."""
    ours = ("WOMM_", "PARALLEL", "XDG_", "PYTHON", "LC_", "LANG")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    names = {
        "HOME": "home",
        "TMPDIR": "tmp",
        "XDG_CONFIG_HOME": "home/.config",
        "XDG_STATE_HOME": "home/.local/state",
        "XDG_CACHE_HOME": "home/.cache",
        "XDG_DATA_HOME": "home/.local/share",
    }
    for name, below in names.items():
        (folder / below).mkdir(parents=True, exist_ok=True)
        env[name] = str(folder / below)
    return {**env, "LC_ALL": "C", "SHELL": "/bin/sh", "PARALLEL_SHELL": "/bin/sh"}


@contextmanager
def running(
    where: Place, command: Sequence[str], stdin: Path | int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program with stdout a pipe and stderr in a file; end it and its session at the end."""
    with (where.folder / "stderr").open("wb") as stderr:
        if isinstance(stdin, int):
            source = os.dup(stdin)
        else:
            source = os.open(stdin or os.devnull, os.O_RDONLY)
        try:
            process = subprocess.Popen(
                command,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=where.env,
                cwd=where.folder,
                start_new_session=True,
            )
        finally:
            os.close(source)
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process
        finally:
            end(process)


class Talk:
    """A program that answers each line of stdin by one line of JSON."""

    def __init__(self, where: Place, process: "subprocess.Popen[bytes]", lines: IO[str]) -> None:
        self._where = where
        self._process = process
        self._lines = lines

    def ask(self, line: str, timeout_s: float = TIMEOUT_S) -> Any:
        """Raises BenchError when it has ended."""
        with suppress(BrokenPipeError):
            print(line, file=self._lines, flush=True)
        return self.hear(timeout_s)

    def hear(self, timeout_s: float = TIMEOUT_S) -> Any:
        """Wait for a line that is no answer. Raises BenchError."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        answer = self._process.stdout.readline() if readable else b""
        if not answer:
            raise BenchError(f"{_shown(self._words)}: no answer{last_words(self._where)}")
        return json.loads(answer)

    @property
    def _words(self) -> Sequence[str]:
        assert isinstance(self._process.args, list)
        return self._process.args


@contextmanager
def talking(where: Place, command: Sequence[str]) -> Iterator[Talk]:
    """Start a program that answers; at the end close its stdin and wait for it."""
    ours, theirs = os.pipe()
    with open(theirs, "w") as lines, os.fdopen(ours), running(where, command, ours) as process:
        yield Talk(where, process, lines)
        lines.close()
        _exited(process.pid, TIMEOUT_S)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a session's leader to end; wait for it, not for ever; kill what is left of its process group."""
    if process.returncode is None:
        # Not reaped before its group is killed: until then the number cannot be another's.
        os.kill(process.pid, signal.SIGTERM)
        _exited(process.pid, END_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _exited(pid: int, timeout_s: float) -> bool:
    """Wait for a child to exit, without reaping it. False: it has not in time."""
    fd = os.pidfd_open(pid)
    try:
        waiter = select.poll()
        waiter.register(fd, select.POLLIN)
        return bool(waiter.poll(max(0.0, timeout_s) * 1000))
    finally:
        os.close(fd)


def measure(
    where: Place, command: Sequence[str], stdin: Path | None = None, *, timeout_s: float = TIMEOUT_S
) -> Run:
    """Run a program to its end, taking its output as fast as it comes. Raises BenchError."""
    began = time.perf_counter()
    first_s: float | None = None
    size, head = 0, b""
    marks: list[tuple[float, int]] = []
    with running(where, command, stdin) as process, selectors.DefaultSelector() as selector:
        assert process.stdout is not None
        fd = process.stdout.fileno()
        with suppress(OSError):  # fewer, larger reads: the reader must not be the bottleneck
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, READ_BYTES)
        selector.register(fd, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, began + timeout_s - time.perf_counter())):
                raise BenchError(f"{_shown(command)}: not done after {timeout_s:g} s{last_words(where)}")
            data = os.read(fd, READ_BYTES)
            if not data:
                break
            if first_s is None:
                first_s = time.perf_counter() - began
            size += len(data)
            marks.append((time.perf_counter() - began, size))
            head = head or data[:4096]
        if not _exited(process.pid, began + timeout_s - time.perf_counter()):
            raise BenchError(f"{_shown(command)}: not done after {timeout_s:g} s{last_words(where)}")
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchError(f"{_shown(command)}: exit status {process.returncode}{last_words(where)}")
    return Run(wall_s, first_s, size, usage.ru_utime + usage.ru_stime, marks, head)


def last_words(where: Place) -> str:
    """The end of stderr of the program that ran last, for a message."""
    lines = (where.folder / "stderr").read_text(errors="replace").strip().splitlines()
    return "".join("\n    " + line for line in lines[-5:])


def _shown(command: Sequence[str]) -> str:
    return " ".join(Path(word).name if word.startswith("/") else word for word in command)


def interleave(
    candidates: Mapping[str, Callable[[], T]], *, rounds: int, budget_s: float
) -> dict[str, list[T]]:
    """Measure every candidate once a round, the order alternating; the lists have one entry a round.

    Ends early, but not before LEAST_ROUNDS, when another round would go over the budget.
    """
    found: dict[str, list[T]] = {name: [] for name in candidates}
    began = time.monotonic()
    for number in range(rounds):
        for name in order(list(candidates), number):
            found[name].append(candidates[name]())
        spent_s = time.monotonic() - began
        if number + 1 >= LEAST_ROUNDS and spent_s * (number + 2) / (number + 1) > budget_s:
            break
    return found
