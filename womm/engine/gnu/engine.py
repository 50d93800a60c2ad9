"""GNU parallel as a child of the coordinator: its start, its number of jobslots, its end."""

import asyncio
import os
import platform
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from womm import descriptors, signals, words
from womm.engine.base import EngineHost, EngineTraits
from womm.engine.gnu.joblog import mismatch_check
from womm.engine.gnu.locate import GnuParallel
from womm.engine.gnu.plan import RunPlan
from womm.engine.gnu.shim_folder import install_helper, install_shim, plain_name, shim_variable
from womm.engine.gnu.shims import ShimOptions, ShimServer
from womm.engine.gnu.start import START, start_words
from womm.engine.gnu.width import ChangingFile, login_lines, width_text
from womm.errors import FAILURE_STATUS, EngineError
from womm.journal.events import EngineStarted
from womm.places import naming
from womm.process import identify, send_signal, usual_file_limit
from womm.worker import TASK_VARIABLE

_NO_SHIM = 254
"""start.pl ends with this when a job would not come to the shim."""
_PRCTL = {"x86_64": 157, "aarch64": 167}


@dataclass(frozen=True, slots=True)
class GnuOptions:
    """A run of GNU parallel. `shell`: the one that runs the jobs in the workers."""

    plan: RunPlan
    parallel: GnuParallel
    perl: str
    shell: str
    quiet: bool = False

    @property
    def traits(self) -> EngineTraits:
        plan = self.plan
        return EngineTraits(
            joblog=plan.joblog,
            resume=plan.resume,
            failed_again=plan.options.has("resume-failed"),
            has_timeout=plan.options.has("timeout"),
            total=plan.total,
            own_progress=plan.own_progress,
            needs_workers=plan.logins,
        )


@asynccontextmanager
async def open_gnu(options: GnuOptions, host: EngineHost) -> AsyncIterator["GnuEngine"]:
    """Make the engine, with its shim and its socket. See OpenEngine. Raises OSError."""
    engine = GnuEngine(options, host)
    try:
        engine.listen()
        yield engine
    finally:
        await engine.close()


class GnuEngine:
    """GNU parallel, with its shim, the shim's socket, and its width file or login file. See Engine."""

    def __init__(self, options: GnuOptions, host: EngineHost) -> None:
        plan, runtime = options.plan, host.runtime
        self._options = options
        self._plan = plan
        self._host = host
        self._socket = runtime / "shims"
        self._bin = runtime / "bin"
        self._parallel = plain_name(runtime / "parallel", options.parallel.path)
        self._shim = self._bin / ("ssh" if plan.logins else Path(options.shell).name)
        self._ended = runtime / "ended"
        self._trial = f"exit 87 # {host.task}"  # the real shell, if it should come to that, does nothing
        self._width = ChangingFile(runtime / "width", step_s=1)
        self._logins = ChangingFile(runtime / "logins", step_s=2)
        self._env = self._environment()
        self._shims = ShimServer(
            host.dispatcher,
            ShimOptions(self._env, live=plan.live, bound=plan.bound, trial=self._trial.encode()),
            say=host.say,
            on_result=host.before_output,
            on_first=self._say_first if plan.appends and not options.quiet else None,
            check=mismatch_check(Path(plan.joblog)) if plan.resume and plan.joblog is not None else None,
        )
        self._process: asyncio.subprocess.Process | None = None
        self._follows = False

    def __repr__(self) -> str:
        state = "not started" if self._process is None else f"process {self._process.pid}"
        return f"<GnuEngine {state}, {self._shims.requests} jobs>"

    def _say_first(self, command: str) -> None:
        self._host.say(f"first job (no {{}}: appended): {words.name(command)}")

    def listen(self) -> None:
        options = self._options
        with naming(self._bin):
            install_shim(self._bin, self._socket, options.perl, self._shim.name)
            install_helper(self._bin, options.perl, options.parallel.path, options.shell)
        with naming(self._socket):
            self._shims.start(self._socket)

    async def start(self) -> None:
        """Start GNU parallel. It has this process's own stdin, stdout and stderr."""
        self._changed()
        arguments = self._arguments()
        prctl = _PRCTL.get(platform.machine(), 0) if sys.platform == "linux" else 0
        try:
            process = await asyncio.create_subprocess_exec(
                self._options.perl,
                *(str(START), str(prctl), *self._trial_words()),
                *start_words(self._options.perl, self._parallel, self._modules()),
                *arguments,
                env=self._env,
                stdin=None,
                pass_fds=descriptors.of_caller(),
            )
        except OSError as exc:
            raise EngineError(f"cannot start GNU parallel: {exc.strerror}") from exc
        self._process = process
        usual_file_limit(process.pid)  # reading its own program takes it much longer
        who = identify(process.pid)
        self._host.journal.append(
            EngineStarted(time.time(), process.pid, who.start if who else "", tuple(arguments))
        )

    def _trial_words(self) -> tuple[str, str]:
        """How start.pl tries the shim: the shell and the line that GNU parallel would give it for a job."""
        if self._plan.logins:
            return self._options.shell, f"{self._shim} womm-tries '{self._trial}'"
        return self._shim.name, self._trial

    def _modules(self) -> tuple[str, ...]:
        shim = "" if self._plan.logins else self._shim
        return (f"-MWorkersOnly={shim},{self._ended}", "-MOwnPerl")

    def signal(self, number: int) -> None:
        send_signal(self._started(), number)

    def pass_on(self, number: int) -> None:
        """GNU parallel lists its jobs on USR1 and toggles its progress on USR2; before its first job either
        would kill it."""
        if number == signal.SIGHUP or self._shims.requests > 0:
            self.signal(number)

    async def wait(self) -> int:
        return await self._started().wait()

    def _started(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "the engine is not started"
        return self._process

    def status(self, ended: int) -> int:
        # Nobody reads stdout any more: a shell sees the same of plain GNU parallel.
        if ended == -signal.SIGPIPE:
            return 128 + signal.SIGPIPE
        if ended < 0:
            why = "" if self._shim.exists() else f": {self._shim}, which it starts for each job, is gone"
            self._host.say(f"GNU parallel was ended by {signals.name(-ended)}{why}")
            return FAILURE_STATUS
        if (missed := self._missed(ended)) is not None:
            raise missed
        return ended

    def _missed(self, status: int) -> EngineError | None:
        """Return what is wrong when GNU parallel, which has ended with `status`, has or would have run jobs
        outside the workers. None: each of its jobs came here."""
        if status == _NO_SHIM and not self._shims.tried:
            return EngineError(
                f"GNU parallel's jobs would not run in the workers: it cannot start {self._shim}",
                "export XDG_RUNTIME_DIR=$(mktemp -d ~/run-XXXX)",
            )
        try:
            ended = int(self._ended.read_text())
        except (OSError, ValueError):  # killed: its status says so
            return None
        options, logins = self._plan.options, self._plan.logins
        # The jobs of --onall are GNU parallels, one a login; those of --dry-run with logins are `true`, here.
        if options.has("onall", "nonall") or (logins and options.has("dry-run")):
            ended = 0
        elif logins:  # files that go along are jobs here, too
            ended = min(1, ended)
        if ended <= self._shims.requests:
            return None
        missed = ended - self._shims.requests
        return EngineError(
            f"GNU parallel ended {ended} job{'s' * (ended != 1)} and {missed} did not come to womm: what they"
            " did, they did outside the workers",
            "womm doctor",
        )

    def follow(self) -> None:
        """Tell GNU parallel from now on how many workers are ready."""
        self._follows = True
        self._host.dispatcher.follow(self._changed)
        self._changed()

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            send_signal(self._process, signal.SIGKILL)
            await self._process.wait()
        self._shims.close()

    def _arguments(self) -> list[str]:
        plan = self._plan
        if plan.logins:
            jobs = ["-j", str(plan.cap)] if plan.cap else []
            told = ["--ssh", str(self._bin / "ssh"), "--sshloginfile", str(self._logins.path), *jobs]
        else:
            told = ["-j", str(self._width.path)]
        if not self._options.parallel.vendored:
            told.append("--will-cite")
        end = ["--"] if plan.options.ended else []
        return [*plan.options.given, *told, *end, *plan.options.command]

    def _environment(self) -> dict[bytes, bytes]:
        shell, plan = self._options.shell, self._plan
        env = dict(os.environb)
        env[b"WOMM_SHIM"] = os.fsencode(shim_variable(self._socket, shell, stdin=plan.stdin))
        # GNU parallel has children of its own, which `womm finish` must find when it was killed.
        env[os.fsencode(TASK_VARIABLE)] = os.fsencode(self._host.task)
        env[b"PATH"] = os.fsencode(self._bin) + b":" + env.get(b"PATH", os.fsencode(os.defpath))
        if plan.logins:
            env[b"PARALLEL_SHELL"] = os.fsencode(shell)
        else:
            env[b"PARALLEL_SHELL"] = os.fsencode(Path(shell).name)
        return env

    def _changed(self) -> None:
        """The jobslots have changed: tell GNU parallel."""
        pool, plan, per_pod = self._host.dispatcher.pool, self._plan, self._host.procs_per_pod
        slots = pool.slots if self._follows and not plan.fixed_width else self._host.jobslots
        now = time.time()
        self._width.write(width_text(slots, plan.cap), now)
        if plan.logins:
            text, _ = login_lines(sorted((pod, per_pod) for pod in pool.usable))
            # A login's jobs stay in its worker: their files are there.
            _, pods_of_logins = login_lines((pod, per_pod) for pod in pool.workers)
            self._shims.set_logins(pods_of_logins)
            self._logins.write(text, now)
