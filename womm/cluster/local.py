"""The built-in cluster: pods are agent processes on this machine, in the same folder.

It needs nothing but perl. Requests for cpu and memory are shown and not enforced; jobs inherit the
caller's environment. A pod that ends is started again, later each time that it ended at once.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from womm import descriptors, worker
from womm.background import Background
from womm.cluster.base import Loss, Place, Pod, PodObserver, TaskSpec
from womm.errors import ClusterError
from womm.link.client import Dial
from womm.link.frames import WINDOW
from womm.process import end_marked, send_signal, usual_file_limit

MARKER = "WOMM_WORKER"
"""Environment variable that every process of a pod carries, to find those that a lost agent left."""
RESTART_DELAYS_S = (0.0, 0.2, 1.0)
"""Delays after an agent that had come up. They are short: with long ones, workers that are killed every
second would be away nearly all of the time. The pool deals with jobs and workers that do nothing but end."""
START_DELAYS_S = (0.0, 0.2, 1.0, 2.0, 5.0)
HEALTHY_AFTER_S = 5.0
START_TIMEOUT_S = 20.0
MAX_START_FAILURES = 5
"""A pod whose agent never came up this often leaves the pool."""
STOP_TIMEOUT_S = 5.0
STARTS_AT_ONCE = 16
"""A start has some files open for a moment; two CPUs are busy with fewer."""
LOCAL_POD = "local"


@dataclass(slots=True)
class _Life:
    """One agent process."""

    pod: Pod
    process: asyncio.subprocess.Process
    socket: Path
    why_ended: str = ""


@dataclass(slots=True)
class _WantedPod:
    """A pod that is to be there: its name stays, its agents come and go."""

    name: str
    slots: int
    instance: int = 0
    quick_ends: int = 0
    start_failures: int = 0
    life: _Life | None = None
    left: bool = False
    state: str = "starting"
    log: Path = field(default_factory=Path)

    @property
    def delay_s(self) -> float:
        """How long to wait before the next agent is started."""
        if self.start_failures:
            return START_DELAYS_S[min(self.start_failures, len(START_DELAYS_S) - 1)]
        return RESTART_DELAYS_S[min(self.quick_ends, len(RESTART_DELAYS_S) - 1)]


class LocalCluster:
    """See womm.cluster.base.Cluster. `runtime` is a folder of this task alone, with a short path.

    `perl` is the interpreter of the agents.
    """

    name = "local"
    window_bytes = WINDOW

    def __init__(self, runtime: Path, perl: str) -> None:
        self._runtime = runtime
        self._perl = perl
        self._pods: dict[str, _WantedPod] = {}
        self._keeping = Background()
        self._spec: TaskSpec | None = None
        self._observer: PodObserver | None = None
        self._stopping = False
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)

    def __repr__(self) -> str:
        alive = sum(1 for wanted in self._pods.values() if wanted.life)
        return f"<LocalCluster {alive}/{len(self._pods)} pods>"

    @property
    def wanted(self) -> int:
        return sum(1 for wanted in self._pods.values() if not wanted.left)

    @property
    def where(self) -> Place:
        return Place()

    def advice(self) -> str:
        return "womm doctor"

    async def start(self, spec: TaskSpec, observer: PodObserver) -> None:
        if not spec.folder.is_dir():
            raise ClusterError(f"the folder {spec.folder} is gone", "cd to a folder that exists")
        self._spec, self._observer = spec, observer
        names = [(f"{spec.task}-{number}", spec.slots) for number in range(spec.pods)]
        if spec.local_slots:
            names.append((f"{spec.task}-{LOCAL_POD}", spec.local_slots))
        for index, (name, slots) in enumerate(names):
            wanted = _WantedPod(name, slots, log=self._runtime / f"{index}.log")
            self._pods[name] = wanted
            # A pod that nobody keeps any more would leave its jobs waiting: a bug must end the task.
            self._keeping.spawn(self._keep(wanted, index), name=f"pod {name}")

    @property
    def share_host(self) -> None:
        """Pods have the folder itself."""

    def dial(self, pod: Pod) -> Dial:
        life = self._pods[pod.name].life
        path = str(life.socket) if life is not None and life.pod == pod else ""

        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            if not path:
                raise OSError(f"{pod.name} has ended")
            return await asyncio.get_running_loop().create_unix_connection(factory, path)

        return connect

    async def end_pod(self, pod: Pod, reason: str) -> None:
        life = self._pods[pod.name].life
        if life is not None and life.pod == pod:
            life.why_ended = reason
            send_signal(life.process, signal.SIGKILL)

    def leave(self, name: str, reason: str) -> None:
        wanted = self._pods[name]
        if not wanted.left:
            wanted.left = True
            assert self._observer is not None
            self._observer.pod_left(name, reason)
            if wanted.life is not None:
                send_signal(wanted.life.process, signal.SIGKILL)

    @property
    def draining(self) -> bool:
        return self._stopping

    def drain(self) -> None:
        self._stopping = True

    async def stop(self) -> None:
        """Pods whose agent has orders to end get a moment for it; then this kills what is left."""
        self._stopping = True
        await self._keeping.close()
        lives = [wanted.life for wanted in self._pods.values() if wanted.life is not None]
        for life in lives:
            send_signal(life.process, signal.SIGTERM)
        waits = [asyncio.create_task(life.process.wait()) for life in lives]
        if waits:
            await asyncio.wait(waits, timeout=STOP_TIMEOUT_S)
        for life in lives:
            send_signal(life.process, signal.SIGKILL)
            await life.process.wait()
        if self._spec is not None:
            await asyncio.to_thread(end_marked, worker.TASK_VARIABLE, self._spec.task)

    def _is_over(self, wanted: _WantedPod) -> bool:
        return wanted.left or self._stopping

    async def _keep(self, wanted: _WantedPod, index: int) -> None:
        """Start a pod again whenever it ends, until told to stop or to leave."""
        assert self._observer is not None
        loop = asyncio.get_running_loop()
        while not self._is_over(wanted):
            delay = wanted.delay_s
            if delay:
                self._set_state(wanted, "restarting")
                await asyncio.sleep(delay)
                if self._is_over(wanted):
                    return
            began = loop.time()
            wanted.instance += 1
            life, problem = await self._start_agent(wanted, index)
            if life is None:
                wanted.start_failures += 1
                self._set_state(wanted, problem)
                if wanted.start_failures >= MAX_START_FAILURES:
                    self.leave(
                        wanted.name, f"its agent did not start {wanted.start_failures} times: {problem}"
                    )
                continue
            wanted.life = life
            wanted.start_failures = 0
            self._set_state(wanted, "")
            self._observer.pod_started(life.pod)
            status = await life.process.wait()
            if self.draining and status == 0:  # `stop` looks for what is left, once for all pods
                wanted.life = None
                return
            # Whatever the agent's jobs left behind ends before they run again elsewhere.
            sessions = self._observer.job_processes(life.pod)
            await asyncio.to_thread(end_marked, MARKER, wanted.name, sessions)
            wanted.life = None
            wanted.quick_ends = 0 if loop.time() - began >= HEALTHY_AFTER_S else wanted.quick_ends + 1
            detail = life.why_ended or _last_words(wanted.log) or _status_words(status)
            loss = Loss.REMOVED if life.why_ended else Loss.CRASHED
            self._observer.pod_gone(life.pod, loss, detail)

    async def _start_agent(self, wanted: _WantedPod, index: int) -> tuple[_Life | None, str]:
        assert self._spec is not None
        spec = self._spec
        socket = self._runtime / f"{index}.{wanted.instance}"
        env = {
            **worker.agent_environment(os.environ),
            **spec.env,
            MARKER: wanted.name,
            worker.TASK_VARIABLE: spec.task,
            "WOMM_POD": wanted.name,
            "WOMM_ATTEMPT": "1",
        }
        command = [
            self._perl,
            str(worker.AGENT),
            *("--socket", str(socket)),
            *("--shell", spec.shell),
            *("--orphan-timeout", f"{spec.orphan_timeout_s:g}"),
        ]
        try:
            async with self._starting:
                process, said = await self._spawn(command, env, wanted.log)
        except OSError as exc:
            return None, f"{exc.strerror}: {exc.filename or self._perl}"
        line = b""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(START_TIMEOUT_S):
                    line = await _first_line(said)
        except asyncio.CancelledError:  # the task ends while this pod begins
            send_signal(process, signal.SIGKILL)
            await process.wait()
            raise
        if not line:
            send_signal(process, signal.SIGKILL)
            status = await process.wait()
            return None, _last_words(wanted.log) or _status_words(status)
        pod = Pod(wanted.name, wanted.instance, wanted.slots, process.pid)
        return _Life(pod, process, socket), ""

    async def _spawn(
        self, command: Sequence[str], env: Mapping[str, str], log_path: Path
    ) -> tuple[asyncio.subprocess.Process, int]:
        """Start an agent; return it and the pipe that it says its first line into. Raises OSError."""
        assert self._spec is not None
        # Not asyncio's own pipe: Process.wait would last as long as anybody holds its other end.
        said, say = os.pipe()
        try:
            with log_path.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=say,
                    stderr=log,
                    cwd=self._spec.folder,
                    env=env,
                    start_new_session=True,
                    pass_fds=descriptors.of_caller(),  # its jobs stand for GNU parallel's own
                )
            usual_file_limit(process.pid)
        except BaseException:
            os.close(said)
            raise
        finally:
            os.close(say)
        return process, said

    def _set_state(self, wanted: _WantedPod, state: str) -> None:
        wanted.state = state
        assert self._observer is not None
        waiting = (other for other in self._pods.values() if other.state and not other.left)
        self._observer.pods_wait(Counter(other.state for other in waiting))


async def _first_line(pipe: int) -> bytes:
    """Read a line from a pipe, which is closed then. Empty: there was none."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", buffering=0)
    )
    try:
        return await reader.readline()
    finally:
        transport.close()


def _status_words(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def _last_words(log: Path) -> str:
    """The last line an agent wrote before it ended."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
