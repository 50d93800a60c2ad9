"""Plain GNU parallel beside womm: the same arguments and input through both.

Strategy: two folders are filled alike, each of the two runs in one, what it left there is read. Lines
that womm itself says are taken out; what remains must be equal, byte for byte. Both write a joblog,
which says what was run and how it ended; womm's journal says that each of these jobs ran in a worker.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from womm.engine.gnu.locate import locate
from womm.journal.events import JobStarted, PodReady
from womm.journal.store import TaskStore

REPOSITORY = Path(__file__).parents[2]
PLAIN = ("perl", str(REPOSITORY / "vendor" / "parallel" / "build" / "parallel"))
WOMM = (sys.executable, "-m", "womm", "-q", "parallel")
JOBLOG = "interop.joblog"
TIMEOUT_S = 60
_WOMM_SAYS = re.compile(rb"^womm: .*\n", re.MULTILINE)
# Seq Host Starttime JobRuntime Send Receive Exitval Signal Command
_COMPARED_COLUMNS = (0, 1, 4, 5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of a joblog without its times."""

    seq: int
    host: str
    send: int
    receive: int
    exitval: int
    signal: int
    command: bytes


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run left. `joblog` is in the order of Seq; `tree` has no joblog.

    `said`: womm's own lines, which are not in `stderr`.
    """

    stdout: bytes
    stderr: bytes
    status: int
    joblog: tuple[Logged, ...] = ()
    tree: Mapping[str, bytes | None] = field(default_factory=dict)
    said: bytes = b""

    def lines(self) -> tuple[list[bytes], list[bytes]]:
        """stdout and stderr, sorted, for runs whose order is not given."""
        return sorted(self.stdout.splitlines()), sorted(self.stderr.splitlines())


def words(line: str | Sequence[str | bytes]) -> list[str | bytes]:
    """The words of a command line as a shell splits them, without any expansion."""
    return [*shlex.split(line)] if isinstance(line, str) else [*line]


@dataclass(slots=True)
class Pair:
    """Runs plain GNU parallel and womm in `folder`, which begins with `files` both times."""

    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def fill(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name, content in self.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if content.startswith(b"#!") else 0o644)

    def plain(self, line: str | Sequence[str | bytes], jobs: int = 1, stdin: bytes | None = None) -> Ran:
        """Run plain GNU parallel with so many jobslots, in the folder as it is."""
        given = words(line)
        slots = [] if _has_jobs(given) else ["-j", str(jobs)]
        return self.run([*PLAIN, *slots, *given], stdin)

    def womm(
        self,
        line: str | Sequence[str | bytes],
        pods: int = 1,
        stdin: bytes | None = None,
        options: Sequence[str] = (),
    ) -> Ran:
        """Run womm with so many pods, in the folder as it is; each job must be in the journal."""
        before = {task.task for task in TaskStore.default().tasks()}
        joblog = self.folder / JOBLOG
        logged_before = len(read_joblog(joblog)) if joblog.exists() else 0
        ran = self.run([*WOMM, "--kube-pods", str(pods), *options, "--", *words(line)], stdin)
        tasks = [task for task in TaskStore.default().tasks() if task.task not in before]
        if ran.joblog and not logged_before:
            started, pods_ready = set(), set()
            for task in tasks:
                for event in task.events():
                    if isinstance(event, JobStarted):
                        started.add(event.seq)
                        assert event.pod in pods_ready
                    elif isinstance(event, PodReady):
                        pods_ready.add(event.pod)
            outside = {logged.seq for logged in ran.joblog} - started
            assert not outside, f"jobs that ran outside a worker: {outside}"
        return ran

    def both(
        self,
        line: str | Sequence[str | bytes],
        jobs: int = 1,
        stdin: bytes | None = None,
        options: Sequence[str] = (),
    ) -> tuple[Ran, Ran]:
        """Run both at once with a joblog (where `line` has none), each in a fresh folder."""
        given = words(line)
        if "--joblog" not in given:
            given = ["--joblog", JOBLOG, *given]
        # Names of one length: a path in a job's output changes no number.
        beside = [
            replace(self, folder=self.folder.parent / name / self.folder.name) for name in ("plain", "womm.")
        ]
        for one in beside:
            one.fill()
        with ThreadPoolExecutor(1) as thread:
            expected = thread.submit(beside[0].plain, given, jobs, stdin)
            got = beside[1].womm(given, jobs, stdin, options)
            return expected.result(), got

    def run(self, argv: Sequence[str | bytes], stdin: bytes | None = None) -> Ran:
        """Run a command in the folder. In what it left, {folder} stands for the folder's path, and {parallel}
        for that of GNU parallel: an installed womm has its own copy."""
        with subprocess.Popen(
            argv,
            cwd=self.folder,
            env={**os.environ, **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                stdout, stderr = process.communicate(stdin or b"", TIMEOUT_S)
            except BaseException:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=TIMEOUT_S)
                process.kill()
                raise

        def here(text: bytes) -> bytes:
            for program in programs():
                text = text.replace(program, b"{parallel}")
            return text.replace(os.fsencode(self.folder), b"{folder}")

        said = b"".join(_WOMM_SAYS.findall(stderr))
        joblog = self.folder / JOBLOG
        return Ran(
            here(stdout),
            here(_WOMM_SAYS.sub(b"", stderr)),
            process.returncode,
            tuple(read_joblog(joblog)) if joblog.exists() else (),
            {name: content and here(content) for name, content in _tree(self.folder)},
            said,
        )


@cache
def programs() -> set[bytes]:
    """The paths of GNU parallel, plain and womm's."""
    return {os.fsencode(PLAIN[1]), os.fsencode(locate().path)}


def _has_jobs(given: Sequence[str | bytes]) -> bool:
    return any(isinstance(word, str) and re.match(r"-j|-P|--jobs|--max-procs", word) for word in given)


def read_joblog(path: Path) -> list[Logged]:
    """The lines of a joblog in the order of Seq. A command may hold newlines: Seq begins a line."""
    found = []
    _, _, body = path.read_bytes().partition(b"\n")
    for line in re.split(rb"(?m)^(?=\d+\t[^\t\n]*\t\s*[\d.]+\t)", body):
        if line:
            fields = line.removesuffix(b"\n").split(b"\t", 8)
            seq, host, send, receive, exitval, signal, command = (
                fields[column] for column in _COMPARED_COLUMNS
            )
            found.append(
                Logged(
                    int(seq),
                    host.decode(),
                    int(send),
                    int(receive),
                    int(exitval),
                    int(signal),
                    command,
                )
            )
    return sorted(found, key=lambda logged: logged.seq)


def _tree(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    """Every path below `folder` but the joblog: its content, None for what is no file."""
    for path in sorted(folder.rglob("*")):
        name = os.path.relpath(path, folder)
        if name != JOBLOG:
            yield name, path.read_bytes() if path.is_file() else None


def same(expected: Ran, got: Ran) -> None:
    """Assert that two runs are equal in all that the order of jobs does not change, and in it."""
    assert got.stderr == expected.stderr
    assert got.stdout == expected.stdout
    same_but_order(expected, got)


def same_but_order(expected: Ran, got: Ran) -> None:
    """Assert that two runs are equal when the lines they print are sorted."""
    assert got.lines() == expected.lines()
    assert got.joblog == expected.joblog
    assert got.tree == expected.tree
    assert got.status == expected.status
