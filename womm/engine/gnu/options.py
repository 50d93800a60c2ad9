"""GNU parallel: where it is, what the user asked of it, how it is started.

Traps that shape this (PITFALLS A): it must never run a job here by itself, it reads options from four
places, and its --pipe, --fifo and --cat write the name of the shell into commands that run in a worker.
"""

import math
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import womm
from womm import descriptors, programs, worker
from womm.errors import EngineError, UsageError

OLDEST_VERSION = 20221122
_PACKAGE = Path(womm.__file__).parent
_VENDORED = (
    _PACKAGE / "vendor" / "parallel" / "parallel",
    _PACKAGE / "vendor" / "parallel",
    _PACKAGE.parent / "vendor" / "parallel" / "build" / "parallel",
)
_VERSION = re.compile(rb"\$Global::version\s*=\s*(\d{8})")
_HERE = Path(__file__).parent
_OPTIONS = _HERE / "options.pl"

REFUSED = {
    "semaphore": "a semaphore counts jobs of one machine; womm's jobs run in workers",
    "semaphore-name": "a semaphore counts jobs of one machine; womm's jobs run in workers",
    "semaphore-timeout": "a semaphore counts jobs of one machine; womm's jobs run in workers",
    "fg": "it belongs to --semaphore, which works on one machine only",
    "bg": "it belongs to --semaphore, which works on one machine only",
    "wait": "it belongs to --semaphore, which works on one machine only",
    "tmux": "the windows would open here while the jobs run in workers; see womm logs -f",
    "tmux-pane": "the windows would open here while the jobs run in workers; see womm logs -f",
    "sshlogin": "womm gives GNU parallel its workers as logins; choose them with --kube-pods",
    "sshloginfile": "womm gives GNU parallel its workers as logins; choose them with --kube-pods",
    "filter-hosts": "womm gives GNU parallel only workers that are ready",
    "hgrp": "womm's workers have no host groups",
    "controlmaster": "womm reaches its workers over links of its own, not ssh",
    "ssh": "womm reaches its workers over links of its own, not ssh",
    "tty": "a job in a worker has no terminal; use womm shell",
    "open-tty": "a job in a worker has no terminal; use womm shell",
    "cleanup": "workers have this machine's files, so it would delete your own",
    "trc": "workers have this machine's files, so its --cleanup would delete your own",
    "memsuspend": "it stops processes of this machine, not those in a worker",
    "sql": "GNU parallel would start a worker of its own here",
    "sql-master": "GNU parallel would start a worker of its own here",
    "sql-worker": "GNU parallel would start a worker of its own here",
    "sql-and-worker": "GNU parallel would start a worker of its own here",
    "shebang": "it makes GNU parallel the interpreter of a script; call womm parallel in the script",
    "shebang-wrap": "it makes GNU parallel the interpreter of a script; call womm parallel in the script",
}
"""Options that cannot work through workers, each with the reason."""
ONLY_ELSEWHERE = frozenset(["cleanup", "trc"])
"""Of these, what works where the workers have files of their own."""
REFUSED_ELSEWHERE = {
    "tee": "it feeds the jobs through fifos of this machine, which pods do not have",
    "shard": "it feeds the jobs through fifos of this machine, which pods do not have",
    "bin": "it feeds the jobs through fifos of this machine, which pods do not have",
}
"""Options that only work where the workers are on this machine."""

PRINT_ONLY = frozenset(
    "help version min-version embed shell-completion number-of-cpus number-of-sockets number-of-cores"
    " number-of-threads max-line-length-allowed recordenv session".split()
)
"""Options with which GNU parallel prints something and starts no job."""

NEEDS_LOGINS = frozenset("onall nonall transfer transfer-file return basefile".split())
LIVE = frozenset("ungroup line-buffer latest-line compress use-compress-program".split())
"""Options with which output is shown, or passed on, while the job still runs."""
FIXED_WIDTH = frozenset("xargs m X L max-lines max-replace-args tee shard bin round-robin pipe-part".split())
"""Options whose meaning depends on the number of jobslots at the start."""


@dataclass(frozen=True, slots=True)
class GnuParallel:
    path: Path
    version: int
    vendored: bool


def locate(environ: Mapping[str, str] | None = None) -> GnuParallel:
    """Find GNU parallel: the vendored one, else the first on PATH that is GNU's and new enough.

    Raises EngineError that says how to get it.
    """
    for path in _VENDORED:
        if version := _version(path):
            return GnuParallel(path, version, True)
    too_old = ""
    search = programs.search_path(environ if environ is not None else os.environ)
    for folder in search.split(os.pathsep) if search else ():
        path = Path(folder) / "parallel"
        version = _version(path)
        if version >= OLDEST_VERSION:
            return GnuParallel(path, version, False)
        if version:
            too_old = f"; {path} is of {version}, older than {OLDEST_VERSION}"
    raise EngineError(
        f"GNU parallel is not there{too_old}",
        "make vendor (in womm's sources), or apt-get install parallel",
    )


def _version(path: Path) -> int:
    """The version of GNU parallel at `path`; 0 when it is another program (moreutils has one)."""
    try:
        with path.open("rb") as file:
            found = _VERSION.search(file.read(1 << 20))
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


@dataclass(frozen=True, slots=True)
class Options:
    """GNU parallel's options, wherever they came from. `found` keeps their order, later ones win;
    `command` is what follows the options in the arguments, `given` what precedes it. `ended`: a -- stood
    between them; the command may then begin as an option does."""

    found: tuple[tuple[str, str], ...]
    given: tuple[str, ...]
    command: tuple[str, ...]
    ended: bool = False

    def has(self, *names: str) -> bool:
        return any(name in names for name, _ in self.found)

    def last(self, *names: str) -> str | None:
        return next((value for name, value in reversed(self.found) if name in names), None)


def read_options(
    arguments: Sequence[str], perl: str, meanwhile: Callable[[], object] = lambda: None
) -> Options:
    """Let Getopt::Long read the arguments as GNU parallel will; do `meanwhile` in the meantime.

    Raises UsageError.
    """
    with subprocess.Popen(
        [perl, str(_OPTIONS), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=descriptors.of_caller(),  # a profile may be one of them
        env=worker.clean_environment(os.environ),
    ) as reader:
        meanwhile()
        stdout, stderr = reader.communicate()
    if reader.returncode != 0:
        lines = stderr.decode(errors="replace").strip().splitlines() or ["cannot read the options"]
        raise UsageError(f"GNU parallel's options: {lines[0]}", "womm parallel -- --help")
    found: list[tuple[str, str]] = []
    rest, ended = 0, False
    for field in os.fsdecode(stdout).split("\0"):
        if field.startswith("o "):
            name, _, value = field[2:].partition("=")
            found.append((name, value))
        elif field.startswith("r "):
            rest = int(field[2:])
        elif field.startswith("p "):
            path, _, content = field[2:].partition("\n")
            if not descriptors.refill(path, os.fsencode(content)):
                raise UsageError(
                    f"the profile {path} can be read only once, and womm reads it before GNU parallel does",
                    f"cat {path} >profile, then --profile ./profile",
                )
        elif field.startswith("t "):
            ended = True
    at = len(arguments) - rest
    return Options(tuple(found), tuple(arguments[: at - ended]), tuple(arguments[at:]), ended)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the options mean for womm.

    `cap` limits the jobs at once (None: as many as there are jobslots); `fixed_width`: GNU parallel
    is told the final number of jobslots at once; `total` is the number of jobs where it is known
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


def start_words(perl: str, parallel: Path, modules: Sequence[str] = ()) -> list[str]:
    """How GNU parallel is started, with what mends it.

    It would kill processes of others (OwnChildren.pm), lose output (InOrder.pm), and hear of a hang-up
    twice (OneHangUp.pm). `modules`: more of ours that are loaded first, as perl's words.
    """
    ours = ("-MOwnChildren", "-MInOrder", "-MOneHangUp")
    return [perl, f"-I{_HERE}", *ours, *modules, str(parallel)]


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


def plan(options: Options, *, slots: int, logins: bool, elsewhere: bool = False) -> Plan:
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
    return Plan(
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
