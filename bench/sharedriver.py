"""A task with a lazy share on Kubernetes, whose pods run the commands of stdin. A process of its own.

    python -m bench.sharedriver FILE     (JSON: see Options)

It prints the names of its pods when they are ready. Each line of stdin is a JSON object, answered by one:

    {"run": COMMAND, "pods": [0, 1]}    a job in these pods at once: {"out": [...], "wall_s": N}
    {"arrive": COMMAND, "file": NAME, "bytes": N}   a job that prints a line before it closes the file and one
                                        after it: from the first one, {"s": ...} until the file is in the
                                        folder with all its bytes, {"closed_s": ...} until the second one
    {"list": FOLDER}                    one SFTP client lists it recursively from the file server's pod:
                                        {"names": N, "s": ...}
    {"stats": true}                     what went through the share so far, and the CPU of its two sides

A job is what it is in a task: the share's barrier before it, its flush after it. The end of stdin is its end.
"""

import asyncio
import json
import os
import resource
import secrets
import signal
import stat
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.driver import cpu_s
from bench.poddriver import about
from tests.link.wires import Recorder
from womm.cluster.base import Loss, Pod, ServerSpec, ShareSpec, TaskSpec
from womm.cluster.kubernetes.client import KubeClient, Target
from womm.cluster.kubernetes.cluster import KubernetesCluster, PodOptions
from womm.cluster.kubernetes.paths import RUN, SCRIPTS, SECRET
from womm.link.client import Link
from womm.link.frames import RunRequest, encode_run
from womm.share.lazy import ssh
from womm.share.lazy.connection import LazyConnection
from womm.share.lazy.task import LazyJobHooks

READY_S = 400.0
"""Nodes in user-mode Linux pull images slowly."""
JOB_S = 900.0
POLL_S = 0.002
LIST_SOCKET = f"{RUN}/listing"
LISTING = r"""
import asyncio, stat, sys, time
from pathlib import Path
from womm.fileserver.connection import UserLink
from womm.fileserver.listener import Keys, Listener
async def main():
    socket, secret, top = sys.argv[1:]
    link = UserLink()
    listener = Listener(
        Path(socket),
        Keys(Path(secret)),
        link,
        connected=lambda _: None,
        received=lambda _, line: None,
        lost=lambda: None,
    )
    await listener.start()
    print("ready", flush=True)
    session = await link.wait()
    began, count, folders = time.monotonic(), 0, [top.encode()]
    while folders:
        folder = folders.pop()
        for name, found in await session.listing(folder):
            count += 1
            if stat.S_ISDIR(found.mode):
                folders.append(folder + b"/" + name)
    print(count, time.monotonic() - began, flush=True)
    await listener.stop()
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Options:
    """`template`: of the workers' pods. `runtime`: for sockets, so a short path."""

    kubeconfig: str
    namespace: str
    task: str
    folder: str
    runtime: str
    image: str
    fileserver_image: str
    pods: int
    template: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps(asdict(self))


class _Observer:
    """A PodObserver: pods are wanted once, and none may be lost."""

    def __init__(self) -> None:
        self.pods: list[Pod] = []
        self.changed = asyncio.Event()

    def pod_started(self, pod: Pod) -> None:
        self.pods.append(pod)
        self.changed.set()

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        _say(f"{pod} is gone: {loss} {detail}")

    def pod_left(self, name: str, reason: str) -> None:
        _say(f"{name} has left: {reason}")

    def pod_vanished(self, name: str) -> None:
        pass

    def job_processes(self, pod: Pod) -> list[int]:
        return []

    def notice(self, text: str) -> None:
        _say(text)

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        _say(f"pods: {dict(reasons)}")


class _Mute:
    """The control channel of a connection that nobody controls."""

    def received(self, data: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def closed(self) -> None: ...


class _Words(asyncio.Protocol):
    """Yield the lines that a command in the file server's pod prints."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.lines.put_nowait(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lines.put_nowait(b"")


class Driver:
    """The task: its share and links to its pods."""

    def __init__(self, share: LazyConnection, folder: Path, cluster: KubernetesCluster) -> None:
        self._share = share
        self._folder = folder
        assert cluster.share_host is not None
        self._cluster, self.host = cluster, cluster.share_host
        self._jobs = LazyJobHooks(share, folder, folder, writable=True)
        self._links: list[tuple[Pod, Link, Recorder]] = []
        self._job = 0

    async def link(self, stack: AsyncExitStack, pod: Pod) -> None:
        seen = Recorder()
        link = Link(pod.name, self._cluster.dial(pod), secrets.token_bytes(16), seen)
        link.start()
        stack.push_async_callback(link.close)
        await seen.until(lambda: seen.calls, "a link")
        self._links.append((pod, link, seen))

    async def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if "run" in asked:
            began = time.perf_counter()
            outs = await asyncio.gather(*(self._run(number, asked["run"]) for number in asked["pods"]))
            return {"out": outs, "wall_s": time.perf_counter() - began}
        if "arrive" in asked:
            return await self._arrive(asked["arrive"], self._folder / asked["file"], asked["bytes"])
        if "list" in asked:
            return await self._list(asked["list"])
        traffic, stats = self._share.traffic, await self._share.stats()
        cpu = {"user_cpu_s": cpu_s(resource.RUSAGE_SELF), "server_cpu_s": await self._server_cpu_s()}
        return {**asdict(traffic), **asdict(stats), **cpu}

    async def _server_cpu_s(self) -> float:
        words = _Words()
        transport = await self.host.share_dial(("cat", "/proc/1/stat"))(lambda: words)
        assert isinstance(transport, asyncio.Transport)
        try:
            fields = (await words.lines.get()).rpartition(b") ")[2].split()
        finally:
            transport.abort()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def _start(self, number: int, command: str) -> tuple[int, Recorder]:
        pod, link, seen = self._links[number]
        self._job += 1
        job = self._job
        await self._jobs.refresh()
        request = RunRequest(command.encode(), folder=str(self._folder).encode())
        link.send(encode_run(job, self._jobs.revalidate(request, job, pod.name)))
        return job, seen

    async def _finish(self, number: int, job: int) -> str:
        pod, _, seen = self._links[number]
        await seen.until(lambda: job in seen.ends, f"job {job}", JOB_S)
        said = seen.out(job).decode(errors="replace")
        if trouble := await self._jobs.wait_written(job, pod.name):
            raise RuntimeError(trouble)
        if seen.ends[job][0].value:
            raise RuntimeError(f"job {job}: {seen.ends[job]} {said} {seen.out(job, 2).decode()}")
        return said

    async def _run(self, number: int, command: str) -> str:
        job, _ = await self._start(number, command)
        return await self._finish(number, job)

    async def _arrive(self, command: str, path: Path, size: int) -> dict[str, Any]:
        job, seen = await self._start(0, command)

        async def line(count: int) -> float:
            await seen.until(
                lambda: seen.out(job).count(b"\n") >= count or job in seen.ends, f"line {count}", JOB_S
            )
            return time.perf_counter()

        began = await line(1)
        closed = asyncio.create_task(line(2))
        while not _has(path, size):
            await asyncio.sleep(POLL_S)
        there = time.perf_counter()
        await self._finish(0, job)
        return {"s": there - began, "closed_s": await closed - began}

    async def _list(self, top: str) -> dict[str, Any]:
        words = _Words()
        script = ("python3", "-c", LISTING, LIST_SOCKET, SECRET, top)
        transport = await self.host.share_dial(script)(lambda: words)
        assert isinstance(transport, asyncio.Transport)
        try:
            if await words.lines.get() != b"ready":
                raise RuntimeError("the listing does not begin")
            bridge = ("perl", f"{SCRIPTS}/bridge.pl", LIST_SOCKET)
            dial = self.host.share_dial(bridge)
            # Any user's side of a share will do: each serves the same folder by the same code.
            export = self._share._export
            connection = await ssh.connect(dial, self._share.keys, export, lambda _: _Mute())
            try:
                names, seconds = (await words.lines.get()).split()
            finally:
                connection.abort()
                with suppress(OSError):
                    await connection.wait_closed()
        finally:
            transport.abort()
        return {"names": int(names), "s": float(seconds)}


def _has(path: Path, size: int) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


async def serve(options: Options) -> None:
    """Answer the lines of stdin."""
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    folder = Path(options.folder)
    async with AsyncExitStack() as stack:
        share = LazyConnection(folder, on_lost=_say, say=_say)
        spec = ShareSpec("lazy", folder, share.keys.secret(), cache_bytes=4 << 30)
        task = TaskSpec(
            options.task,
            folder,
            options.pods,
            1,
            "500m",
            "256Mi",
            "/bin/sh",
            60.0,
            share=spec,
            server=ServerSpec(options.fileserver_image),
        )
        target = Target(namespace=options.namespace, kubeconfig=options.kubeconfig)
        client = await KubeClient.connect(target, Path(options.runtime))
        cluster = KubernetesCluster(client, PodOptions(options.image, template=options.template), about)
        stack.push_async_callback(share.close)
        stack.push_async_callback(cluster.stop)
        observer = _Observer()
        await cluster.start(task, observer)
        driver = Driver(share, folder, cluster)
        share.start(driver.host.share_dial())
        driver.host.before_share_ends(lambda: share.finish(30.0))
        async with asyncio.timeout(READY_S):
            await share.ready()
            while len(observer.pods) < options.pods:
                observer.changed.clear()
                await observer.changed.wait()
        for pod in observer.pods:
            await driver.link(stack, pod)
        print(json.dumps([pod.name for pod in observer.pods]), flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            print(json.dumps(await driver.answer(json.loads(line))), flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Options(**json.loads(Path(sys.argv[1]).read_text()))))
