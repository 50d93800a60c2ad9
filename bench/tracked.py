"""A coordinator of very many pods: the driver's watch, with links and the engine's files or without.

A process of its own:

    python -m bench.tracked KUBECONFIG NAMESPACE PODS FOLDER [SOCKET]

A Deployment makes PODS, on the nodes of tests.cluster.kubernetes.simulation. With SOCKET, the simulation's,
each worker gets a link, and a login file and a width file follow them as in a task. Without it, started pods
are only noted. At first it prints the task's id. A line COUNT on stdin waits until so many workers are there;
the answer is one line of JSON, a Tracked. It ends at the end of stdin.
"""

import asyncio
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.driver import cpu_s, new_dispatcher
from bench.poddriver import about
from tests.cluster.kubernetes.simulation import POD_SPEC
from womm.cluster.base import Loss, Pod, PodObserver, TaskSpec
from womm.cluster.kubernetes.client import KubeClient, Target
from womm.cluster.kubernetes.cluster import KubernetesCluster, PodOptions
from womm.cluster.kubernetes.execs import Execs
from womm.dispatch.dispatcher import Dispatcher
from womm.engine.gnu.width import ChangingFile, login_lines, width_text
from womm.link.client import Dial
from womm.task.session import new_task_id


@dataclass(slots=True)
class Tracked:
    """The workers that are there now, and their cost since the start. Times are seconds since the epoch."""

    heard: dict[str, float] = field(default_factory=dict)
    """When the observer heard that a pod had started, by its name."""
    logins: int = 0
    """Lines of the login file."""
    logins_written: float = 0.0
    cpu_s: float = 0.0
    rss_kib: int = 0


class SimulatedExecs(Execs):
    """The agents of the simulation, behind one socket; without it, none is reached."""

    def __init__(self, client: KubeClient, socket: str) -> None:
        super().__init__(client)
        self._socket = socket

    def dial(self, pod: str, container: str, alive: Callable[[], bool], command: Sequence[str] = ()) -> Dial:
        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            if not alive() or not self._socket:
                raise OSError(f"{pod} cannot be reached")
            return await asyncio.get_running_loop().create_unix_connection(factory, self._socket)

        return connect


class Tracker:
    """A PodObserver that notes when it heard of each pod, and hands on to `inner`, if there is one."""

    def __init__(self, inner: PodObserver | None = None) -> None:
        self._inner = inner
        self.heard: dict[str, float] = {}
        self.live: set[str] = set()
        self.starts = 0
        self.changed = asyncio.Event()

    def pod_started(self, pod: Pod) -> None:
        self.heard[pod.name] = time.time()
        self.live.add(pod.name)
        self.starts += 1
        self.changed.set()
        if self._inner is not None:
            self._inner.pod_started(pod)

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        self.live.discard(pod.name)
        self.changed.set()
        if self._inner is not None:
            self._inner.pod_gone(pod, loss, detail)

    def pod_left(self, name: str, reason: str) -> None:
        if self._inner is not None:
            self._inner.pod_left(name, reason)

    def pod_vanished(self, name: str) -> None:
        if self._inner is not None:
            self._inner.pod_vanished(name)

    def job_processes(self, pod: Pod) -> list[int]:
        return []

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        if self._inner is not None:
            self._inner.pods_wait(reasons)

    def notice(self, text: str) -> None:
        if self._inner is not None:
            self._inner.notice(text)


class Logins:
    """The files by which GNU parallel follows the workers, as a task writes them."""

    def __init__(self, dispatcher: Dispatcher, folder: Path) -> None:
        self._pool = dispatcher.pool
        self._width = ChangingFile(folder / "width", step_s=1)
        self.file = ChangingFile(folder / "logins", step_s=2)
        self.written = 0.0
        self.changed = asyncio.Event()
        dispatcher.follow(self.write)
        self.write()

    def write(self) -> None:
        text, _ = login_lines(sorted((pod, 1) for pod in self._pool.workers))
        self.file.write(text, time.time())
        self._width.write(width_text(self._pool.slots, None), time.time())
        self.written = time.time()
        self.changed.set()

    @property
    def pods(self) -> list[str]:
        """The workers that the login file names."""
        return re.findall(r"^1/(\S+)$", self.file.path.read_text(), re.MULTILINE)


async def track(kubeconfig: str, namespace: str, pods: int, folder: Path, socket: str) -> None:
    """Answer the lines of stdin."""
    task = new_task_id()
    async with AsyncExitStack() as stack:
        client = await KubeClient.connect(Target(namespace=namespace, kubeconfig=kubeconfig), folder)
        options = PodOptions("none", template={"spec": POD_SPEC})
        cluster = KubernetesCluster(client, options, about, SimulatedExecs(client, socket))
        dispatcher = new_dispatcher(task, cluster, stack, folder) if socket else None
        if dispatcher is None:
            stack.push_async_callback(cluster.stop)
        logins = Logins(dispatcher, folder) if dispatcher else None
        tracker = Tracker(dispatcher.workers if dispatcher else None)
        await cluster.start(TaskSpec(task, folder, pods, 1, "1m", "1Mi", "/bin/sh", 600.0), tracker)
        print(json.dumps(task), flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            while len(tracker.live) < int(line):
                tracker.changed.clear()
                await tracker.changed.wait()
            while logins is not None and len(logins.pods) < int(line):
                logins.changed.clear()
                await logins.changed.wait()
            found = Tracked(tracker.heard)
            if logins is not None:
                found.logins, found.logins_written = len(logins.pods), logins.written
            found.cpu_s, found.rss_kib = cpu_s(resource.RUSAGE_SELF), rss_kib(os.getpid())
            print(json.dumps(asdict(found)), flush=True)


def rss_kib(pid: int) -> int:
    """The resident memory of a process."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    _, kubeconfig, namespace, pods, folder, *socket = sys.argv
    asyncio.run(track(kubeconfig, namespace, int(pods), Path(folder), socket[0] if socket else ""))
