"""GNU parallel as a child of the coordinator: its start, its number of jobslots, its end."""

import asyncio
import logging
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
from womm.engine.gnu.arrivals import Arrivals
from womm.engine.gnu.direct import SENDMSG, DirectOptions, DirectServer
from womm.engine.gnu.joblog import mismatch_check
from womm.engine.gnu.locate import GnuParallel
from womm.engine.gnu.options import STARTS_ANOTHER
from womm.engine.gnu.plan import RunPlan
from womm.engine.gnu.shim_folder import install_helper, install_shim, plain_name, shim_variable
from womm.engine.gnu.shims import ShimOptions, ShimServer
from womm.engine.gnu.start import START, start_words
from womm.engine.gnu.width import ChangingFile, files_needed, login_lines, most_jobs, width_text
from womm.errors import FAILURE_STATUS, EngineError
from womm.journal.events import EngineStarted
from womm.places import naming
from womm.process import file_limit, identify, send_signal, usual_file_limit
from womm.worker import TASK_VARIABLE

log = logging.getLogger(__name__)

_NO_SHIM = 254
"""start.pl ends with this when a job would not come to the shim."""
_PRCTL = {"x86_64": 157, "aarch64": 167}


def _prctl() -> int:
    """Return the number of prctl(2), 0 where there is none."""
    return _PRCTL.get(platform.machine(), 0) if sys.platform == "linux" else 0


@dataclass(frozen=True, slots=True)
class GnuOptions:
    """A run of GNU parallel. `shell`: the one that runs the jobs in the workers.

    direct: GNU parallel hands its jobs over itself (direct.py), where it is one that can. Else it starts a
    shim for each (shims.py).
    """

    plan: RunPlan
    parallel: GnuParallel
    perl: str
    shell: str
    quiet: bool = False
    direct: bool = False

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
    """GNU parallel, the way by which its jobs come in, and its width file or login file. See Engine."""

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
        self._arrivals = Arrivals(
            host.say,
            on_first=self._say_first if plan.appends and not options.quiet else None,
            check=mismatch_check(Path(plan.joblog)) if plan.resume and plan.joblog is not None else None,
        )
        self._direct: DirectServer | None = None
        self._shims: ShimServer | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._follows = self._told_files = False

    def __repr__(self) -> str:
        state = "not started" if self._process is None else f"process {self._process.pid}"
        return f"<GnuEngine {state}, {self._arrivals.count} jobs>"

    def _say_first(self, command: str) -> None:
        self._host.say(f"first job (no {{}}: appended): {words.name(command)}")

    def listen(self) -> None:
        options, plan = self._options, self._plan
        if options.direct:
            self._direct = DirectServer(
                self._host.dispatcher,
                DirectOptions(live=plan.live),
                self._arrivals,
                say=self._host.say,
                on_result=self._host.before_output,
            )
            if plan.options.has(*STARTS_ANOTHER):
                with naming(self._bin):
                    install_helper(self._bin, options.perl, options.parallel.path, options.shell)
        else:
            self._listen_to_shims()

    def _listen_to_shims(self) -> None:
        options, plan = self._options, self._plan
        self._shims = ShimServer(
            self._host.dispatcher,
            ShimOptions(self._environment(), live=plan.live, bound=plan.bound, trial=self._trial.encode()),
            self._arrivals,
            say=self._host.say,
            on_result=self._host.before_output,
        )
        with naming(self._bin):
            install_shim(self._bin, self._socket, options.perl, self._shim.name)
            install_helper(self._bin, options.perl, options.parallel.path, options.shell)
        with naming(self._socket):
            self._shims.start(self._socket)

    async def start(self) -> None:
        """Start GNU parallel. It has this process's own stdin, stdout and stderr."""
        self._changed()
        if self._direct is None:
            await self._start_with_shims()
            return
        with self._direct.open() as theirs:
            files = str(theirs.fileno())
            modules = (
                f"-MWorkersOnly=/dev/null/none,{self._ended}",
                f"-MDirect={files},{SENDMSG},{_prctl()},{file_limit()}",
            )
            await self._spawn(
                start_words(self._options.perl, self._parallel, (*modules, "-MOwnPerl"), hands_over=True),
                self._direct_environment(),
                theirs.fileno(),
            )

    async def _start_with_shims(self) -> None:
        words = [self._options.perl, str(START), str(_prctl()), *self._trial_words()]
        words += start_words(self._options.perl, self._parallel, self._modules())
        await self._spawn(words, self._environment())
        usual_file_limit(self._started().pid)  # reading its own program takes it much longer

    async def _spawn(self, words: list[str], env: dict[bytes, bytes], *files: int) -> None:
        arguments = self._arguments()
        try:
            process = await asyncio.create_subprocess_exec(
                *words, *arguments, env=env, stdin=None, pass_fds=(*files, *descriptors.of_caller())
            )
        except OSError as exc:
            raise EngineError(f"cannot start GNU parallel: {exc.strerror}") from exc
        self._process = process
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
        if number == signal.SIGHUP or self._arrivals.count > 0:
            self.signal(number)

    async def wait(self) -> int:
        ended = await self._started().wait()
        if self._direct is None or ended < 0:
            return ended
        self._direct.catch_up()
        if self._direct.greeted:
            return ended
        # It is not the GNU parallel that Direct.pm knows, and has not begun.
        log.info(
            "jobs come by a shim each: GNU parallel lacks %s", self._direct.lacks or "what Direct.pm needs"
        )
        self._direct.close()
        self._direct = None
        self._listen_to_shims()
        await self._start_with_shims()
        return await self._started().wait()

    def _started(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "the engine is not started"
        return self._process

    def status(self, ended: int) -> int:
        # Nobody reads stdout any more: a shell sees the same of plain GNU parallel.
        if ended == -signal.SIGPIPE:
            return 128 + signal.SIGPIPE
        if ended < 0:
            why = (
                ""
                if self._shims is None or self._shim.exists()
                else f": {self._shim}, which it starts for each job, is gone"
            )
            self._host.say(f"GNU parallel was ended by {signals.name(-ended)}{why}")
            return FAILURE_STATUS
        if (missed := self._missed(ended)) is not None:
            raise missed
        return ended

    def _missed(self, status: int) -> EngineError | None:
        """Return what is wrong when GNU parallel, which has ended with `status`, has or would have run jobs
        outside the workers. None: each of its jobs came here."""
        if status == _NO_SHIM and self._shims is not None and not self._shims.tried:
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
        if ended <= self._arrivals.count:
            return None
        missed = ended - self._arrivals.count
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
        for server in (self._direct, self._shims):
            if server is not None:
                server.close()

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
        env = self._direct_environment()
        env[b"WOMM_SHIM"] = os.fsencode(shim_variable(self._socket, shell, stdin=plan.stdin))
        env[b"PATH"] = os.fsencode(self._bin) + b":" + os.environb.get(b"PATH", os.fsencode(os.defpath))
        if not plan.logins:
            env[b"PARALLEL_SHELL"] = os.fsencode(Path(shell).name)
        return env

    def _direct_environment(self) -> dict[bytes, bytes]:
        env = dict(os.environb)
        # GNU parallel has children of its own, which `womm finish` must find when it was killed.
        env[os.fsencode(TASK_VARIABLE)] = os.fsencode(self._host.task)
        env[b"PARALLEL_SHELL"] = os.fsencode(self._options.shell)
        if self._plan.options.has(*STARTS_ANOTHER):
            env[b"PATH"] = os.fsencode(self._bin) + b":" + env.get(b"PATH", os.fsencode(os.defpath))
        return env

    def _say_files(self, wanted: int, most: int) -> None:
        if not self._told_files:
            self._told_files = True
            self._host.say(
                f"{most} jobs run at once and not {wanted}: no more than {file_limit()} files may be open"
                f" (sudo prlimit --pid $$ --nofile={files_needed(wanted)})"
            )

    def _changed(self) -> None:
        """The jobslots have changed: tell GNU parallel."""
        pool, plan, per_pod = self._host.dispatcher.pool, self._plan, self._host.procs_per_pod
        slots = pool.slots if self._follows and not plan.fixed_width else self._host.jobslots
        now = time.time()
        cap = plan.cap
        if self._direct is not None and (most := most_jobs(file_limit())) < min(slots, cap or slots):
            self._say_files(min(slots, cap or slots), most)
            cap = most
        self._width.write(width_text(slots, cap), now)
        if plan.logins and self._shims is not None:
            text, _ = login_lines(sorted((pod, per_pod) for pod in pool.usable))
            # A login's jobs stay in its worker: their files are there.
            _, pods_of_logins = login_lines((pod, per_pod) for pod in pool.workers)
            self._shims.set_logins(pods_of_logins)
            self._logins.write(text, now)
