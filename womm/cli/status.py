"""`womm status`: the tasks that use something, as a table or for scripts."""

import shutil
import sys
import time
from collections.abc import Sequence

import click

from womm import words
from womm.cli import tables
from womm.cli.options import cluster_options, known_settings
from womm.cli.tables import Column
from womm.journal.events import ProgramsTraffic, ShareKept, ShareTraffic, ShareUnsent
from womm.journal.fold import TaskStatus
from womm.journal.observe import this_host
from womm.journal.store import TaskStore
from womm.task.listing import TaskView, all_tasks
from womm.values import cpu_millis, format_cpu, format_mem, mem_bytes

# The widths are those of the first womm.
_BEFORE_HOST = (
    Column("ID", 8),
    Column("AGE", 5),
    Column("STATUS", 7),
    Column("CPU", 5, right=True),
    Column("MEM", 5, right=True),
    Column("HEALTH", 8),
)
# The last column can be long; it is cut, as in `docker ps`, unless -o wide is given.
_AFTER_HOST = (Column("PWD"), Column("COMMAND"))
_LEAST_COMMAND = 20
_WIDTH_WITHOUT_TERMINAL = 120
# One line names so many tasks.
_NAMED = 10
_PROGRAMS_KEYS = ("fetched", "cached", "guessed", "used", "wasted")
_SHARE_KEYS = ("fetched", "cached", "written", "unwritten", "guessed", "used", "wasted")


@click.command("status")
@click.option("-A", "--all-hosts", is_flag=True, help="Also tasks of other machines and users.")
@click.option("-e", "--ended", is_flag=True, help="Also tasks that left nothing behind.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "name"]),
    default="table",
    help="How to print; `wide` cuts no command, `name` prints ids only.",
)
@cluster_options
def command(all_hosts: bool, ended: bool, output: str, **flags: str | None) -> int:
    """List the tasks that run or left something behind.

    \b
    RUNNING   its coordinator is at work
    COMPLETE  its jobs have ended, and something is still to be cleaned up
    ORPHANED  its coordinator went away: womm finish ID

    \b
    Examples:
      womm status
      womm status --ended -o json
    """
    tasks = [
        task
        for task in all_tasks(TaskStore.default(), known_settings(flags), tables.say, all_hosts=all_hosts)
        if (all_hosts or task.here) and (ended or task.status is not TaskStatus.CLEANED)
    ]
    if output == "json":
        now_s = time.time()
        tables.write_json({"version": 1, "tasks": [as_json(task, now_s) for task in tasks]})
    elif output == "name":
        tables.write("".join(f"{task.task}\n" for task in tasks))
    elif tasks:
        width = None if output == "wide" else _terminal_width()
        tables.write(as_table(tasks, time.time(), all_hosts=all_hosts, width=width))
        _tell_shares(tasks)
    else:
        tables.say(_none_text(all_hosts, ended))
    return 0


def _tell_shares(tasks: Sequence[TaskView]) -> None:
    """Print a line about the share of each task that is not over, and one line for all the others."""
    incomplete = []
    for task in tasks:
        unsent = _unsent(task)
        if (kept := _kept(task)) is not None:
            tables.say(f"womm: {task.task}: {_kept_words(kept)}")
        if task.status is TaskStatus.CLEANED:
            incomplete += [task.task] if unsent is not None else []
            continue
        if (share := _share(task)) is not None:
            tables.say(f"womm: {task.task}: {_share_words(share)}")
        if (programs := _programs(task)) is not None:
            tables.say(f"womm: {task.task}: {_programs_words(programs)}")
        if unsent is not None and (unsent.reason or task.status is not TaskStatus.RUNNING):
            tables.say(f"womm: {task.task}: {_unsent_words(unsent)}")
    if incomplete:
        named = ", ".join(incomplete[:_NAMED]) + (", ..." if incomplete[_NAMED:] else "")
        tasks_words = words.counted(len(incomplete), "task that has ended", "tasks that have ended")
        tables.say(
            f"womm: not all that jobs wrote is in the folder of {tasks_words} ({named}): see `unsent` in"
            " womm status --ended -o json"
        )


def _none_text(all_hosts: bool, ended: bool) -> str:
    where = "" if all_hosts else f" on {this_host()}"
    if ended:
        return f"womm: there are no tasks{where}"
    return f"womm: no task uses anything{where} (womm status --ended shows those that have ended)"


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL


def as_table(tasks: Sequence[TaskView], now_s: float, *, all_hosts: bool, width: int | None) -> str:
    """Render tasks; `width`: cut COMMAND so that lines fit, None leaves them long."""
    host = (Column("HOST"),) if all_hosts else ()
    rows = [_row(task, now_s, all_hosts=all_hosts) for task in tasks]
    if width is not None:
        before = tables.render((*_BEFORE_HOST, *host, *_AFTER_HOST), [[*r[:-1], ""] for r in rows])
        start = before.split("\n", 1)[0].index("COMMAND")
        room = max(_LEAST_COMMAND, width - start)
        rows = [[*row[:-1], words.shortened(row[-1], room)] for row in rows]
    return tables.render((*_BEFORE_HOST, *host, *_AFTER_HOST), rows)


def _row(task: TaskView, now_s: float, *, all_hosts: bool) -> list[str]:
    started = task.started
    age = tables.age(now_s - task.time)
    if started is None:  # the disk was full, or the journal is damaged
        unknown = ["-"] * (5 if all_hosts else 4)
        return [task.task, age, task.status.value, *unknown, "(its journal is damaged)"]
    cpu, mem = _totals(task)
    return [
        task.task,
        age,
        task.status.value,
        format_cpu(cpu) if cpu else "-",
        format_mem(mem) if mem else "-",
        "-" if task.status is TaskStatus.CLEANED else f"{task.ready}/{started.pods}",
        *([words.printable(started.host)] if all_hosts else []),
        words.name(started.folder),
        tables.quoted(started.argv),
    ]


def _totals(task: TaskView) -> tuple[int | None, int | None]:
    """Return CPU in thousandths and memory in bytes that all pods of a task reserve; None: unknown."""
    started = task.started
    if task.status is TaskStatus.CLEANED:  # it has no pods any more
        return 0, 0
    if started is None:
        return None, None
    try:
        return cpu_millis(started.cpu) * started.pods, mem_bytes(started.mem) * started.pods
    except ValueError:  # a journal of another version
        return None, None


def _share(task: TaskView) -> ShareTraffic | None:
    return task.observation.state.share if task.observation is not None else None


def _share_words(share: ShareTraffic) -> str:
    from womm.words import shown_bytes

    parts = [(share.fetched, "fetched"), (share.cached, "from the cache"), (share.written, "written back")]
    if share.unwritten:
        parts.append((share.unwritten, "still to be written"))
    return ", ".join(f"{shown_bytes(count)} {what}" for count, what in parts) + _guess_words(share)


def _programs(task: TaskView) -> ProgramsTraffic | None:
    return task.observation.state.programs if task.observation is not None else None


def _programs_words(programs: ProgramsTraffic) -> str:
    from womm.words import shown_bytes

    fetched, cached = shown_bytes(programs.fetched), shown_bytes(programs.cached)
    return f"programs: {fetched} fetched, {cached} from the cache{_guess_words(programs)}"


def _guess_words(traffic: ShareTraffic | ProgramsTraffic) -> str:
    """Return what became of the bytes that were fetched because earlier tasks had read them."""
    from womm.words import shown_bytes

    if not traffic.guessed:
        return ""
    used, wasted = shown_bytes(traffic.used), shown_bytes(traffic.wasted)
    return f", {shown_bytes(traffic.guessed)} guessed ({used} used, {wasted} wasted)"


def _unsent(task: TaskView) -> ShareUnsent | None:
    return task.observation.state.unsent if task.observation is not None else None


def _unsent_words(unsent: ShareUnsent) -> str:
    from womm.share.lazy.unsent import not_in_the_folder

    return not_in_the_folder(unsent.names, unsent.count, unsent.reason or "the coordinator is gone")


def _kept(task: TaskView) -> ShareKept | None:
    return task.observation.state.kept if task.observation is not None else None


def _kept_words(kept: ShareKept) -> str:
    from womm.share.lazy.versions import both_sides

    return both_sides(kept.names, kept.copies, kept.count)


def as_json(task: TaskView, now_s: float) -> dict[str, object]:
    """Return the documented object of a task; keys stay, their values are null when unknown."""
    started = task.started
    ended = task.ended
    cpu, mem = _totals(task)
    return {
        "id": task.task,
        "kind": started.kind if started else None,
        "status": task.status.value,
        "started": tables.rfc3339(task.time),
        "age_s": round(max(0.0, now_s - task.time), 3),
        "cpu_millis": cpu,
        "mem_bytes": mem,
        "ready": task.ready,
        "pods": started.pods if started else None,
        "cluster": started.cluster if started else None,
        "context": started.context or None if started else None,
        "namespace": started.namespace or None if started else None,
        "host": started.host if started else None,
        "user": started.user if started else None,
        "folder": started.folder if started else None,
        "argv": list(started.argv) if started else None,
        "joblog": started.joblog if started else None,
        "share": None
        if (share := _share(task)) is None
        else {name: getattr(share, name) for name in _SHARE_KEYS},
        "programs": None
        if (programs := _programs(task)) is None
        else {name: getattr(programs, name) for name in _PROGRAMS_KEYS},
        "unsent": None
        if (unsent := _unsent(task)) is None
        else {"names": list(unsent.names), "count": unsent.count, "reason": unsent.reason},
        "kept": None
        if (kept := _kept(task)) is None
        else {"names": list(kept.names), "copies": list(kept.copies), "count": kept.count},
        "ended": None
        if ended is None
        else {
            "time": tables.rfc3339(ended.time),
            "status": ended.status,
            "done": ended.done,
            "failed": ended.failed,
        },
    }
