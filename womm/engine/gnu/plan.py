"""From GNU parallel's options to what womm does: the plan of a run. Pure, but for `check_order`."""

import math
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from womm.engine.gnu.direct import SENDMSG
from womm.engine.gnu.locate import GnuParallel
from womm.engine.gnu.options import (
    FIXED_WIDTH,
    LIVE,
    NEEDS_LOGINS,
    ONLY_ELSEWHERE,
    REFUSED,
    REFUSED_ELSEWHERE,
    Options,
)
from womm.errors import UsageError


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What the options mean for womm.

    `cap` limits the jobs at once (None: as many as there are jobslots); `fixed_width`: GNU parallel
    hears the final number of jobslots at once; `total` is the number of jobs where it is known
    without reading the input; `bound`: jobs use what GNU parallel has put into the worker of their login, or
    are to run in each of them; `appends`: the command names no place for the argument, so GNU parallel
    puts it at the end, which surprises (`sleep 1` becomes `sleep 1 LINE`).
    """

    options: Options
    logins: bool
    bound: bool
    live: bool
    stdin: bool
    fixed_width: bool
    own_progress: bool
    cap: int | None
    total: int | None
    joblog: str | None
    resume: bool
    appends: bool


def check_order(options: Options, parallel: Path) -> None:
    """Raises UsageError where -k after an earlier run would lose output. See InOrder.pm."""
    resumes = options.has("resume", "resume-failed", "retry-failed")
    if not resumes or not options.has("keep-order") or options.has("no-keep-order"):
        return
    program = parallel.read_bytes()
    if not all(name in program for name in (b"sub print_earlier_jobs(", b"sub is_already_in_results(")):
        raise UsageError(
            f"{parallel} may lose output when -k goes with --resume, --resume-failed or --retry-failed",
            "leave -k out, or make vendor (in womm's sources)",
        )


HANDOVER = "WOMM_HANDOVER"
"""This variable set to `shell` has GNU parallel start a shim for each job."""


def why_not_direct(plan: RunPlan, parallel: GnuParallel, environ: Mapping[str, str]) -> str:
    """Return why GNU parallel cannot hand its jobs over itself (see Direct.pm); empty: it can."""
    if plan.logins:
        return "its logins are programs that GNU parallel starts"
    if environ.get(HANDOVER) == "shell":
        return f"{HANDOVER}=shell"
    if not SENDMSG:
        return f"GNU parallel cannot pass open files on {platform.system()} {platform.machine()}"
    if not parallel.vendored:  # the vendored one is known
        program = parallel.path.read_bytes()
        for what, shape in _SHAPES:
            if not re.search(shape, program):
                return f"GNU parallel {parallel.version} has no {what} as Direct.pm knows it"
    return ""


_SHAPES = (
    ("Job::open3_setpgrp", rb"\n    sub open3_setpgrp \{"),
    ("start of a job", rb"= open3_setpgrp\(::gensym\(\), *\$stdout_fh, *\$stderr_fh, *\$command\)"),
    ("start of a job with --pipe", rb"= open3_setpgrp\(\$stdin_fh, *\$stdout_fh, *\$stderr_fh, *\$command\)"),
    ("reaper", rb"\(\$stiff = waitpid\(-1, *&?WNOHANG(\(\))?\)\) <= 0"),
    ("usleep", rb"\nsub usleep\(\$\) \{"),
    ("reserve_process", rb"\n    sub reserve_process\(\) \{"),
    ("wait_and_exit", rb"\nsub wait_and_exit\(\$\) \{"),
)
"""What Direct.pm replaces or calls, and its shape in GNU parallel's program."""


def plan_run(options: Options, *, slots: int, logins: bool, elsewhere: bool = False) -> RunPlan:
    """Decide; `elsewhere`: the workers are not on this machine. Raises UsageError for what cannot work."""
    refused = REFUSED
    if elsewhere:
        kept = {name: why for name, why in REFUSED.items() if name not in ONLY_ELSEWHERE}
        refused = {**kept, **REFUSED_ELSEWHERE}
    for name, _ in options.found:
        if name in refused:
            raise UsageError(
                f"--{name} does not work through workers: {refused[name]}",
                "leave it out (also in $PARALLEL, ~/.parallel/config and profiles)",
            )
    return RunPlan(
        options=options,
        logins=logins or options.has(*NEEDS_LOGINS),
        bound=options.has(*NEEDS_LOGINS),
        live=options.has(*LIVE) and not options.has("dry-run"),
        stdin=options.has("pipe", "cat", "fifo", "tee", "shard", "bin", "round-robin", "group-by"),
        fixed_width=options.has(*FIXED_WIDTH),
        own_progress=options.has("bar", "eta", "progress", "interactive", "latest-line"),
        cap=_cap(options.last("jobs", "max-procs"), slots),
        total=_total(options),
        joblog=_joblog(options),
        resume=options.has("resume", "resume-failed"),
        appends=_appends(options),
    )


def _joblog(options: Options) -> str | None:
    """The joblog's path; `+FILE` means: append to it."""
    found = options.last("joblog")
    return found.removeprefix("+") if found is not None else None


def _appends(options: Options) -> bool:
    words = options.command
    end = next((at for at, word in enumerate(words) if word.startswith(":::")), len(words))
    command = " ".join(words[:end])
    changed = ("I", "replace", "rpl", "parens", "pipe", "pipe-part", "nonall", "xargs", "X", "m")
    # A program's name alone, as in `parallel gzip`, surprises nobody.
    return "{" not in command and len(command.split()) > 1 and not options.has(*changed)


def _cap(jobs: str | None, slots: int) -> int | None:
    """Map -j: a number is a limit on the jobs at once, a percentage one of the jobslots."""
    if jobs is None or re.fullmatch(r"0+", jobs):
        return None
    if re.fullmatch(r"\d+", jobs):
        return int(jobs)
    if re.fullmatch(r"\d+(\.\d+)?%", jobs):
        return max(1, math.ceil(slots * float(jobs[:-1]) / 100))
    if re.fullmatch(r"[+-]\d+", jobs):
        raise UsageError(
            f"-j {jobs} counts from the CPUs of this machine, and the jobs run in workers",
            "womm parallel --kube-pods N --procs-per-pod N (or -j N as a limit)",
        )
    raise UsageError(
        f"-j {jobs}: a file is what womm itself tells GNU parallel the number of ready jobslots with",
        "womm parallel --kube-pods N --procs-per-pod N (or -j N as a limit)",
    )


def _total(options: Options) -> int | None:
    """The number of jobs, when only `:::` gives arguments and nothing regroups them."""
    regroup = (
        "xargs m X L max-lines max-args max-replace-args max-chars pipe pipe-part cat fifo col-sep csv"
        " header link linkinputsource arg-file arg-sep arg-file-sep eof E no-run-if-empty resume"
        " resume-failed retry-failed onall nonall filter trim delimiter null"
    )
    words = options.command
    if options.has(*regroup.split()) or ":::" not in words:
        return None
    if any(word in ("::::", ":::+", "::::+") for word in words):
        return None
    total, count = 1, -1
    for word in words:
        if word == ":::":
            total *= count if count >= 0 else 1
            count = 0
        elif count >= 0:
            count += 1
    return total * count
