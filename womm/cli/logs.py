"""`womm logs`: the kept output of jobs, in the order of their end, also while the task runs.

Strategy: it reads the journal once and prints it as it reads; it builds no state of 100,000 jobs, and
to follow is to read on. It remembers only one line per job that has not ended.
"""

import base64
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click

from womm import words
from womm.cli import tables
from womm.cli.completion import complete_tasks
from womm.cli.options import cluster_options, known_settings
from womm.errors import JournalError, UsageError
from womm.journal.events import (
    Event,
    JobEnded,
    JobStarted,
    OutputRef,
    TaskCleaned,
    TaskEnded,
)
from womm.journal.observe import observe
from womm.journal.output import OutputReader
from womm.journal.store import JournalReader, TaskRecord, TaskStore
from womm.task.listing import TaskView, resolve
from womm.task.targets import run_apart

if TYPE_CHECKING:
    from womm.cluster.kubernetes.tasks import RemoteTask

_AGENT_LISTENS: Final = b"womm agent: listening"
# The reader polls: the journal wakes nobody, and people see no difference.
_POLL_S = 0.1
# Names so many jobs one by one whose output is not whole; the summary counts them all.
_NAMED = 10
# More jobs in one argument are a typing error.
_MOST_JOBS = 10_000_000


@click.command("logs")
@click.argument("task", metavar="ID", shell_complete=complete_tasks)
@click.argument("jobs", metavar="[JOB]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Go on until the task ends.")
@click.option("--failed", is_flag=True, help="Only jobs that failed.")
@click.option("--stdout", "stream", flag_value="stdout", help="Only the jobs' stdout.")
@click.option("--stderr", "stream", flag_value="stderr", help="Only the jobs' stderr.")
@click.option("--tag", is_flag=True, help="Begin every line with the job's number and a tab.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["raw", "json"]),
    default="raw",
    help="raw: bytes as they were; json: one object per line and job.",
)
@cluster_options
def command(  # noqa: PLR0917 - click passes by name
    task: str,
    jobs: tuple[str, ...],
    follow: bool,
    stream: str | None,
    tag: bool,
    output: str,
    **flags: str | bool | None,
) -> int:
    """Print what the jobs of a task wrote.

    Jobs come in the order in which they ended. ID can be shortened; `last` is the newest task. JOB is
    a job's number ({#}) or a list of them: 1-3,5. For a task that another machine runs on the cluster, womm
    shows the latest output of the pods that are there, by pod.

    \b
    Examples:
      womm logs last --failed
      womm logs blhqwudx 1-3,17 --tag
    """
    failed = bool(flags.pop("failed"))
    choice = Choice(numbers=parse_numbers(jobs), failed=failed, stream=stream, tag=tag, json=output == "json")
    view = resolve(TaskStore.default(), known_settings(flags), task, tables.say)
    if view.observation is None:
        if jobs or failed or stream or choice.json:
            raise UsageError(
                f"task {view.task} is another machine's: only its pods' logs are here, not its jobs'",
                f"womm logs {view.task}",
            )
        return _print_pod_logs(view, follow=follow, tag=tag)
    record = view.observation.record
    with record.output() as kept:
        printer = Printer(choice, kept)
        _read(record, printer, follow=follow)
        printer.summarise(record)
    return 1 if printer.damaged or printer.missing() else 0


def _print_pod_logs(view: TaskView, *, follow: bool, tag: bool) -> int:
    """Print the logs of the pods of another machine's task; `tag`: lines begin with the pod's name."""
    assert view.remote is not None
    run_apart(_copy_pod_logs(view.remote, follow=follow, tag=tag))
    return 0


async def _copy_pod_logs(task: "RemoteTask", *, follow: bool, tag: bool) -> None:
    from womm.cluster.kubernetes.client import KubeClient
    from womm.cluster.kubernetes.tasks import worker_logs

    client = await KubeClient.connect(task.target)
    begun: dict[str, bytes] = {}  # the last line of each pod, while it is not whole
    try:
        async for pod, piece in worker_logs(client, task.task, follow=follow):
            *lines, begun[pod] = (begun.get(pod, b"") + piece).split(b"\n")
            for line in lines:
                if line != _AGENT_LISTENS:
                    _write_line(pod, line, tag=tag)
        for pod, line in begun.items():
            if line:
                _write_line(pod, line, tag=tag)
    finally:
        await client.close()


def _write_line(pod: str, line: bytes, *, tag: bool) -> None:
    out = sys.stdout.buffer
    out.write((pod.encode() + b"\t" if tag else b"") + line + b"\n")
    out.flush()


def _read(record: TaskRecord, printer: "Printer", *, follow: bool) -> None:
    with JournalReader(record) as reader:
        while True:
            # Asked before the read: when the coordinator is gone, the journal has all that it wrote.
            alive = follow and record.locked()
            printer.print_all(reader.read())
            if not alive or printer.ended:
                break
            time.sleep(_POLL_S)
        printer.print_all(reader.rest())


@dataclass(frozen=True, slots=True)
class Choice:
    """The choice of outputs to print. `numbers`: empty for all jobs; `stream`: None for both."""

    numbers: frozenset[int]
    failed: bool
    stream: str | None
    tag: bool
    json: bool


def parse_numbers(words: Iterable[str]) -> frozenset[int]:
    """Read `1`, `1-3`, `1-3,5`; raises UsageError."""
    numbers: set[int] = set()
    for word in words:
        for part in word.split(","):
            match = re.fullmatch(r"([0-9]{1,15})(?:-([0-9]{1,15}))?", part, re.ASCII)
            if match is None:
                raise UsageError(f"{word!r} is no job: give numbers, such as 7 or 1-3,5", "womm logs --help")
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first or last - first >= _MOST_JOBS:
                raise UsageError(f"{part!r} is no range of jobs", "womm logs --help")
            numbers.update(range(first, last + 1))
    return frozenset(numbers)


@dataclass(slots=True)
class Printer:
    """Prints jobs as their end comes along, and counts."""

    choice: Choice
    kept: OutputReader
    running: dict[int, JobStarted] = field(default_factory=dict)
    ended: bool = False
    jobs: int = 0
    failures: int = 0
    damaged: int = 0
    cut: int = 0
    not_kept: int = 0
    seen: set[int] = field(default_factory=set)

    def print_all(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, JobStarted):
                self.running[event.job] = event
            elif isinstance(event, JobEnded):
                self._end(event, self.running.pop(event.job, None))
            elif isinstance(event, TaskEnded | TaskCleaned):
                self.ended = True

    def _end(self, ended: JobEnded, started: JobStarted | None) -> None:
        failed = has_failed(ended)
        self.jobs += 1
        self.failures += failed
        number = ended.job if ended.seq is None else ended.seq
        numbers = self.choice.numbers
        if numbers:
            if number not in numbers:
                return
            self.seen.add(number)
        if self.choice.failed and not failed:
            return
        if self.choice.failed and not self.choice.json and self.failures <= _NAMED:
            command = f": {words.name(started.command)}" if started else ""
            tables.say(f"womm: job {number}: {_how(ended)}{command}")
        out = self._get(number, "stdout", ended.out, ended.out_bytes)
        err = self._get(number, "stderr", ended.err, ended.err_bytes)
        if self.choice.json:
            tables.write_json(as_json(ended, started, out, err), indent=None)
            return
        if out:
            tables.write(self._tagged(number, out))
        if err:
            tables.write_stderr(self._tagged(number, err))

    def _get(self, number: int, name: str, ref: OutputRef | None, written_bytes: int) -> bytes:
        if self.choice.stream not in {None, name}:
            return b""
        data = b""
        if ref is not None:
            try:
                data = self.kept.get(ref)
            except JournalError as exc:
                self.damaged += 1
                tables.say(f"womm: job {number}: {exc.message}")
                return b""
        if len(data) < written_bytes or (ref is not None and ref.cut):
            self._tell_cut(number, name, len(data), written_bytes)
        return data

    def _tell_cut(self, number: int, name: str, kept_bytes: int, written_bytes: int) -> None:
        if kept_bytes:
            self.cut += 1
            text = f"{name} is cut: the first {kept_bytes} of {written_bytes} bytes were kept"
        else:
            self.not_kept += 1
            text = f"{name}, {words.counted(written_bytes, 'byte')}, was not kept"
        if self.cut + self.not_kept <= _NAMED:
            tables.say(f"womm: job {number}: {text}")

    def _tagged(self, number: int, data: bytes) -> bytes:
        if not self.choice.tag:
            return data
        tag = b"%d\t" % number
        lines = data.split(b"\n")
        last = lines.pop()
        return b"".join(tag + line + b"\n" for line in lines) + (tag + last + b"\n" if last else b"")

    def missing(self) -> list[int]:
        """Return the jobs among JOB that have not ended."""
        return sorted(self.choice.numbers - self.seen)

    def summarise(self, record: TaskRecord) -> None:
        """Print the summary on stderr, in a line or two."""
        missing = self.missing()
        if missing:
            names = ", ".join(map(str, missing[:_NAMED])) + (", ..." if missing[_NAMED:] else "")
            has = "has" if len(missing) == 1 else "have"
            tables.say(f"womm: job {names} of task {record.task} {has} not ended")
        parts = [
            f"{words.counted(self.jobs, 'job')} ended",
            f"{self.failures} failed",
        ]
        if self.running and not self.ended:
            parts.append(f"{len(self.running)} running")
        if self.cut:
            parts.append(f"{words.counted(self.cut, 'output')} cut")
        if self.not_kept:
            parts.append(f"{words.counted(self.not_kept, 'output')} not kept")
        status = observe(record).status.value
        tables.say(f"womm: task {record.task}, {status}: {', '.join(parts)}")


def _how(ended: JobEnded) -> str:
    if ended.reason:
        return ended.reason
    return f"signal {ended.signal}" if ended.signal else f"exit {ended.exit}"


def has_failed(ended: JobEnded) -> bool:
    return ended.exit != 0 or ended.signal != 0 or bool(ended.reason)


def as_json(ended: JobEnded, started: JobStarted | None, out: bytes, err: bytes) -> dict[str, object]:
    """Return the documented object of a job; `command` is null where its start was lost."""
    return {
        "version": 1,
        "seq": ended.seq,
        "job": ended.job,
        "command": started.command if started else None,
        "pod": ended.pod,
        "attempt": ended.attempt,
        "replayed": ended.replayed,
        "exit": ended.exit,
        "signal": ended.signal,
        "reason": ended.reason,
        "started": tables.rfc3339(ended.started),
        "ended": tables.rfc3339(ended.time),
        "utime_us": ended.utime_us,
        "stime_us": ended.stime_us,
        "maxrss_kib": ended.maxrss_kib,
        **_stream_json("stdout", out, ended.out, ended.out_bytes),
        **_stream_json("stderr", err, ended.err, ended.err_bytes),
    }


def _stream_json(name: str, data: bytes, ref: OutputRef | None, written_bytes: int) -> dict[str, object]:
    cut = ref.cut if ref is not None else written_bytes > 0
    values: dict[str, object] = {f"{name}_bytes": written_bytes, f"{name}_cut": cut}
    try:
        values[name] = data.decode("utf-8")
    except UnicodeDecodeError:  # JSON has no bytes
        values[f"{name}_base64"] = base64.b64encode(data).decode("ascii")
    return values
