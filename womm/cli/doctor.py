"""`womm doctor`: checks this machine and the cluster, and says what is missing and what to type."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum

import click

from womm import programs, words
from womm.cli import tables
from womm.cli.options import cluster_options, here, load_settings
from womm.errors import WommError
from womm.journal.store import TaskStore
from womm.settings import KUBERNETES

# perl 5.14 is of 2011; the agent and the shim are tested with nothing older.
_OLDEST_PERL = "5.014"
# With less room a larger task can end because its journal does not fit.
_LEAST_FREE_BYTES = 100 << 20
_TIMEOUT_S = 20


class Level(Enum):
    """OK; MISSING: womm does not work without it; OPTIONAL: a part of womm does not work, or not now."""

    OK = "ok"
    MISSING = "!!"
    OPTIONAL = "--"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `hint`: what to type; empty where all is well."""

    name: str
    level: Level
    text: str
    hint: str = ""


@click.command("doctor")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    help="How to print.",
)
@click.option("--no-pod", is_flag=True, help="Only ask the cluster; start no worker.")
@cluster_options
def command(output: str, no_pod: bool, **flags: str | None) -> int:
    """Check what womm needs on this machine and in the cluster.

    The cluster is that of this folder's project. womm checks its version, permissions and quota, and with
    one worker, which it removes again, the image, the clock, and the link's round trip and speed.

    ok is fine, !! is missing and needed, -- is missing but not needed. The exit status is 1 when
    something needed is missing.

    \b
    Examples:
      womm doctor
      womm doctor -o json
    """
    checks: list[Check] = []

    def found(check: Check) -> None:
        checks.append(check)
        if output == "text":
            tables.write(_line(check))

    for check in CHECKS:
        found(check(os.environ))
    _check_cluster(flags, found, pod=not no_pod)
    if output == "json":
        told = [{**asdict(check), "level": check.level.name.lower()} for check in checks]
        tables.write_json({"version": 1, "checks": told})
    return 1 if any(check.level is Level.MISSING for check in checks) else 0


def _check_cluster(flags: Mapping[str, str | None], found: Callable[[Check], None], *, pod: bool) -> None:
    """Check the project's cluster, if it is not the local one. `found` gets each check when it is known."""
    try:
        settings = load_settings(flags)
    except WommError as exc:
        return found(Check("settings", Level.MISSING, exc.message, exc.hint or ""))
    if settings.cluster != KUBERNETES:
        return None
    import asyncio

    from womm.cluster.finding import Finding, Verdict
    from womm.cluster.kubernetes.advice import NO_NFS_CLIENT
    from womm.cluster.kubernetes.checkup import VOLUMES
    from womm.setup import ways
    from womm.task.doctor import Listener, check_cluster

    levels = {Verdict.GOOD: Level.OK, Verdict.BAD: Level.MISSING, Verdict.WEAK: Level.OPTIONAL}
    perl = _find("perl", os.environ) or "perl"

    known: dict[str, Finding] = {}

    def hear(one: Finding) -> None:
        known.setdefault(one.name, one)
        found(Check(one.name, levels[one.verdict], one.text, one.hint))

    def say(text: str) -> None:
        tables.say(f"womm: {text}")

    own = ways.programs(settings, here())
    for one in (*own.findings, ways.server(settings)):
        hear(one)
    asyncio.run(check_cluster(own.settings, perl, here(), Listener(hear, say), pod=pod))
    if VOLUMES in known:
        no_nfs = "" if known[VOLUMES].verdict is Verdict.GOOD else ways.REFUSED
        if "worker" in known and NO_NFS_CLIENT in known["worker"].text:
            no_nfs = ways.NO_CLIENT
        hear(ways.quickest(settings, here=own.works, no_nfs=no_nfs))
    return None


def _line(check: Check) -> str:
    text = f"{check.level.value}  {check.name}: {words.line(check.text)}\n"
    return text + (f"    {words.line(check.hint)}\n" if check.hint else "")


def check_python(env: Mapping[str, str]) -> Check:
    """Python: which one; it is new enough, or this would not run."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", Level.OK, f"{version}, {sys.executable}")


def _find(program: str, env: Mapping[str, str]) -> str | None:
    return programs.which(program, env)


def check_perl(env: Mapping[str, str]) -> Check:
    """perl, with the modules that the agent and the shim load."""
    from womm import worker

    install = "apt-get install perl-base"
    perl = _find("perl", env)
    if perl is None:
        return Check("perl", Level.MISSING, "not on PATH; the workers are perl programs", install)
    # `use VERSION` loads strict.pm, and not that of a relative PERL5LIB.
    absolute = "BEGIN { @INC = grep { m{^/} } @INC }"
    version = _run([perl, "-e", f"{absolute} use {_OLDEST_PERL}; printf '%vd', $^V"])
    if version.returncode:
        return Check("perl", Level.MISSING, f"{perl} does not run, or is older than 5.14", install)
    for script in (worker.AGENT, worker.SHIM):
        result = _run([perl, "-c", str(script)])
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[0]
            return Check("perl", Level.MISSING, f"{perl} cannot load {script}: {reason}", install)
    return Check("perl", Level.OK, f"{version.stdout}, {perl}")


def check_shell(env: Mapping[str, str]) -> Check:
    """sh: every job line goes through a shell."""
    shell = _find("sh", env)
    if shell is None or _run([shell, "-c", "exit 7"]).returncode != 7:
        return Check("sh", Level.MISSING, "not on PATH, or it does not run", "export PATH=$PATH:/bin")
    return Check("sh", Level.OK, shell)


def check_parallel(env: Mapping[str, str]) -> Check:
    """GNU parallel: found, new enough, and with all of its perl modules."""
    from womm.engine.gnu.locate import locate
    from womm.engine.gnu.start import start_words

    try:
        found = locate(env)
    except WommError as exc:
        return Check("GNU parallel", Level.MISSING, exc.message, exc.hint or "")
    perl = _find("perl", env)
    if perl is not None:
        result = _run([*start_words(perl, found.path), "--version"])
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[0]
            text = f"{found.path} does not start: {reason}"
            return Check("GNU parallel", Level.MISSING, text, "apt-get install perl")
    return Check("GNU parallel", Level.OK, f"{found.version}, {found.path}")


def check_state(env: Mapping[str, str]) -> Check:
    """The state folder: journals can be written, and there is room."""
    hint = "export XDG_STATE_HOME=FOLDER"
    try:
        root = TaskStore.default().root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(b"womm")
            file.flush()
        usage = shutil.disk_usage(root)
    except WommError as exc:
        return Check("state folder", Level.MISSING, exc.message, exc.hint or hint)
    except OSError as exc:
        return Check("state folder", Level.MISSING, _cannot_write(exc), hint)
    free = tables.size(usage.free)
    if usage.free < _LEAST_FREE_BYTES:
        return Check("state folder", Level.OPTIONAL, f"{root}: only {free} free", "womm clean")
    return Check("state folder", Level.OK, f"{root}, {free} free")


def check_runtime(env: Mapping[str, str]) -> Check:
    """The runtime folder: programs can be started in it, and sockets' paths are short enough."""
    from womm.task.runtime import runtime_folder

    try:
        with runtime_folder(f"doctor-{os.getpid()}", env) as folder:
            parent = folder.parent
    except WommError as exc:
        return Check("runtime folder", Level.MISSING, exc.message, exc.hint or "")
    except OSError as exc:
        return Check("runtime folder", Level.MISSING, _cannot_write(exc), "export XDG_RUNTIME_DIR=FOLDER")
    return Check("runtime folder", Level.OK, str(parent))


def check_rsync(env: Mapping[str, str]) -> Check:
    """rsync: for eager shares, which need a cluster."""
    path = _find("rsync", env)
    if path is None:
        text = "not on PATH; needed to copy a folder to a cluster (eager share)"
        return Check("rsync", Level.OPTIONAL, text, "apt-get install rsync")
    return Check("rsync", Level.OK, path)


def check_terminal(env: Mapping[str, str]) -> Check:
    """A terminal: for `womm shell` and the bar."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        text = "stdin or stderr is none; `womm shell` and the bar need one"
        return Check("terminal", Level.OPTIONAL, text)
    return Check("terminal", Level.OK, env.get("TERM", "of unknown kind"))


CHECKS: tuple[Callable[[Mapping[str, str]], Check], ...] = (
    check_python,
    check_perl,
    check_shell,
    check_parallel,
    check_state,
    check_runtime,
    check_rsync,
    check_terminal,
)


def _cannot_write(exc: OSError) -> str:
    return f"cannot write {exc.filename or 'it'}: {words.cause(exc)}"


def _run(given: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return subprocess.CompletedProcess(given, 127, "", str(exc))
