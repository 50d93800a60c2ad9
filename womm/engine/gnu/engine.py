"""GNU parallel as a child of the coordinator: started, told how many workers there are, ended."""

import asyncio
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from womm import descriptors
from womm.dispatch.dispatcher import Dispatcher
from womm.engine.gnu.locate import GnuParallel
from womm.engine.gnu.plan import RunPlan
from womm.engine.gnu.shim_folder import install_helper, install_shim, plain_name, shim_variable
from womm.engine.gnu.shims import ShimServer
from womm.engine.gnu.start import START, start_words
from womm.engine.gnu.width import ChangingFile, login_lines, width_text
from womm.errors import EngineError
from womm.journal.events import EngineStarted
from womm.journal.store import Journal
from womm.places import naming
from womm.process import identify, send_signal, usual_file_limit
from womm.settings import Settings
from womm.worker import TASK_VARIABLE

_NO_SHIM = 254
"""What start.pl ends with when a job would not have come here."""
_PRCTL = {"x86_64": 157, "aarch64": 167}


@dataclass(frozen=True, slots=True)
class ParallelTask:
    """What `womm parallel` was asked for. `argv` is the whole command line, for `womm status`."""

    settings: Settings
    plan: RunPlan
    parallel: GnuParallel
    perl: str
    shell: str
    folder: Path
    argv: tuple[str, ...]
    pods: int
    quiet: bool = False


class Engine:
    """GNU parallel and what it is told with: shim, width file or login file, socket."""

    def __init__(
        self,
        task: ParallelTask,
        task_id: str,
        dispatcher: Dispatcher,
        runtime: Path,
        on_job: Callable[[], None],
    ) -> None:
        self._task = task
        self._task_id = task_id
        self._dispatcher = dispatcher
        self._socket = runtime / "shims"
        self._bin = runtime / "bin"
        self._parallel = plain_name(runtime / "parallel", task.parallel.path)
        self._shim = self._bin / ("ssh" if task.plan.logins else Path(task.shell).name)
        self._ended = runtime / "ended"
        self._trial = f"exit 87 # {task_id}"  # the real shell, if it should come to that, does nothing
        self._width = ChangingFile(runtime / "width", step_s=1)
        self._logins = ChangingFile(runtime / "logins", step_s=2)
        self._env = self._environment()
        self.shims = ShimServer(
            dispatcher,
            engine_env=self._env,
            live=task.plan.live,
            bound=task.plan.bound,
            on_result=on_job,
        )
        self.shims.trial = self._trial.encode()
        self._process: asyncio.subprocess.Process | None = None
        self._follows = False

    def listen(self) -> None:
        task = self._task
        with naming(self._bin):
            install_shim(self._bin, self._socket, task.perl, self._shim.name)
            install_helper(self._bin, task.perl, task.parallel.path, task.shell)
        with naming(self._socket):
            self.shims.start(self._socket)

    async def start(self, journal: Journal) -> asyncio.subprocess.Process:
        """Start GNU parallel. It has this process's own stdin, stdout and stderr.

        Until `follow` it takes all workers for ready; jobs wait for them in the dispatcher.
        """
        self._changed()
        words = self._arguments()
        prctl = _PRCTL.get(platform.machine(), 0) if sys.platform == "linux" else 0
        try:
            self._process = await asyncio.create_subprocess_exec(
                self._task.perl,
                *(str(START), str(prctl), *self._trial_words()),
                *start_words(self._task.perl, self._parallel, self._modules()),
                *words,
                env=self._env,
                stdin=None,
                pass_fds=descriptors.of_caller(),
            )
        except OSError as exc:
            raise EngineError(f"cannot start GNU parallel: {exc.strerror}") from exc
        usual_file_limit(self._process.pid)  # reading its own program takes it much longer
        who = identify(self._process.pid)
        journal.append(EngineStarted(time.time(), self._process.pid, who.start if who else "", tuple(words)))
        return self._process

    def _trial_words(self) -> tuple[str, str]:
        """How start.pl tries the shim: the shell and the line that GNU parallel would give it for a job."""
        if self._task.plan.logins:
            return self._task.shell, f"{self._shim} womm-tries '{self._trial}'"
        return self._shim.name, self._trial

    def _modules(self) -> tuple[str, ...]:
        shim = "" if self._task.plan.logins else self._shim
        return (f"-MWorkersOnly={shim},{self._ended}", "-MOwnPerl")

    def why_ended(self) -> str:
        """What is known of a GNU parallel that a signal has ended, to stand after that."""
        return "" if self._shim.exists() else f": {self._shim}, which it starts for each job, is gone"

    def missed(self, status: int) -> EngineError | None:
        """Say what is wrong when GNU parallel, which has ended with `status`, has or would have run jobs
        outside the workers. None: each of its jobs came here."""
        if status == _NO_SHIM and not self.shims.tried:
            return EngineError(
                f"GNU parallel's jobs would not run in the workers: it cannot start {self._shim}",
                "export XDG_RUNTIME_DIR=$(mktemp -d ~/run-XXXX)",
            )
        try:
            ended = int(self._ended.read_text())
        except (OSError, ValueError):  # killed: its status says so
            return None
        options, logins = self._task.plan.options, self._task.plan.logins
        # The jobs of --onall are GNU parallels, one a login; those of --dry-run with logins are `true`, here.
        if options.has("onall", "nonall") or (logins and options.has("dry-run")):
            ended = 0
        elif logins:  # files that go along are jobs here, too
            ended = min(1, ended)
        if ended <= self.shims.requests:
            return None
        missed = ended - self.shims.requests
        return EngineError(
            f"GNU parallel ended {ended} job{'s' * (ended != 1)} and {missed} did not come to womm: what they"
            " did, they did outside the workers",
            "womm doctor",
        )

    def follow(self) -> None:
        """Tell GNU parallel from now on how many workers are ready."""
        self._follows = True
        self._dispatcher.follow(self._changed)
        self._changed()

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            send_signal(self._process, signal.SIGKILL)
            await self._process.wait()
        self.shims.close()

    def _arguments(self) -> list[str]:
        plan = self._task.plan
        if plan.logins:
            jobs = ["-j", str(plan.cap)] if plan.cap else []
            told = ["--ssh", str(self._bin / "ssh"), "--sshloginfile", str(self._logins.path), *jobs]
        else:
            told = ["-j", str(self._width.path)]
        if not self._task.parallel.vendored:
            told.append("--will-cite")
        end = ["--"] if plan.options.ended else []
        return [*plan.options.given, *told, *end, *plan.options.command]

    def _environment(self) -> dict[bytes, bytes]:
        task = self._task
        env = dict(os.environb)
        env[b"WOMM_SHIM"] = os.fsencode(shim_variable(self._socket, task.shell, stdin=task.plan.stdin))
        # GNU parallel has children of its own, which `womm finish` must find when it was killed.
        env[os.fsencode(TASK_VARIABLE)] = os.fsencode(self._task_id)
        env[b"PATH"] = os.fsencode(self._bin) + b":" + env.get(b"PATH", os.fsencode(os.defpath))
        if task.plan.logins:
            env[b"PARALLEL_SHELL"] = os.fsencode(task.shell)
        else:
            env[b"PARALLEL_SHELL"] = os.fsencode(Path(task.shell).name)
        return env

    def _changed(self) -> None:
        """The jobslots have changed: tell GNU parallel."""
        pool, plan, settings = self._dispatcher.pool, self._task.plan, self._task.settings
        wanted = self._task.pods * settings.procs_per_pod + settings.local_procs
        slots = pool.slots if self._follows and not plan.fixed_width else wanted
        now = time.time()
        self._width.write(width_text(slots, plan.cap), now)
        if plan.logins:
            text, _ = login_lines(sorted((pod, settings.procs_per_pod) for pod in pool.usable))
            # What GNU parallel has begun in a worker goes on there: its files are in it.
            _, self.shims.pods_of_logins = login_lines((pod, settings.procs_per_pod) for pod in pool.workers)
            self._logins.write(text, now)
