"""Very many small jobs on simulated agents, submitted to the dispatcher. Prints one JSON object.

The agents are one program behind one Unix socket, where each connection is a pod of its own. They end each
job when it has run for as long as asked, with exit status 0. Links, flow control and journal are real.

    python -m bench.crowddriver FOLDER PODS SLOTS JOBS HOLD_S [tls]
    python -m bench.crowddriver agents FOLDER HOLD_S [tls]

With tls a link is what it is in Kubernetes: a websocket with the channels of an exec, over TLS.
"""

import asyncio
import json
import os
import resource
import ssl
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench.driver import Discard, cpu_s, new_dispatcher
from bench.tracked import rss_kib
from tests.cluster.kubernetes.fakeagent import FakeAgent
from womm.cluster.base import Pod
from womm.cluster.kubernetes.channel import STDIN, STDOUT, ExecTransport
from womm.dispatch.dispatcher import Dispatcher
from womm.dispatch.job import Outcome
from womm.link.client import Dial
from womm.link.frames import EndKind, EndRecord, FrameType, RunRequest, encode, encode_ended
from womm.link.session import Session
from womm.process import raise_file_limit

READY_S = 120.0
PARTS = 10
_SOCKET, _CERTIFICATE, _KEY = "agents", "certificate", "key"
_PROTOCOL = "v5.channel.k8s.io"


@dataclass(slots=True)
class Crowd:
    """The cost of a run. Memory is resident (VmRSS); the parts are tenths of the jobs."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    idle_kib: int = 0
    """Before the first worker."""
    connected_kib: int = 0
    """With all workers and no job."""
    running_kib: int = 0
    """With as many jobs as there are slots, when the first of them has just ended."""
    peak_kib: int = 0
    part_s: list[float] = field(default_factory=list)
    part_kib: list[int] = field(default_factory=list)


class _Agent(FakeAgent):
    """Jobs end after a while."""

    def __init__(self, hold_s: float) -> None:
        super().__init__()
        self._hold_s = hold_s

    def run(self, session: Session, job: int) -> None:
        session.send(encode(FrameType.STARTED, job, b"\0\0\0\1"))
        if self._hold_s:
            asyncio.get_running_loop().call_later(self._hold_s, self._end, session, job)
        else:
            session.send(_ended(job))

    def _end(self, session: Session, job: int) -> None:
        session.send(_ended(job))
        self.flush()


def _ended(job: int) -> bytes:
    return encode_ended(job, EndRecord(EndKind.EXITED, 0, 0, 0, 900, 300, 1800))


class _Exec(asyncio.Transport):
    """An agent's end of an exec: what it writes is the exec's stdout."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        super().__init__()
        self._socket = socket
        self._sends: set[asyncio.Task[None]] = set()

    def write(self, data: Any) -> None:
        task = asyncio.ensure_future(self._socket.send_bytes(bytes([STDOUT]) + data))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    def close(self) -> None:
        asyncio.get_running_loop().create_task(self._socket.close()).add_done_callback(self._sends.discard)


async def _serve_exec(hold_s: float, request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=[_PROTOCOL])
    await socket.prepare(request)
    agent = _Agent(hold_s)
    agent.connection_made(_Exec(socket))
    async for message in socket:
        if message.data[0] == STDIN:
            agent.data_received(message.data[1:])
    return socket


async def agents(folder: Path, hold_s: float, *, tls: bool) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    port = 0
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
        app = web.Application()
        app.router.add_get("/", partial(_serve_exec, hold_s))
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=1000).start()
        port = runner.addresses[0][1]
    else:
        await loop.create_unix_server(lambda: _Agent(hold_s), str(folder / _SOCKET), backlog=1000)
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)


class _Cluster:
    """Pods that are but a name, all behind one socket."""

    name = "simulated"
    window_bytes = 524288
    share_host = None
    wanted = 0

    def __init__(self, socket: str, session: aiohttp.ClientSession | None, port: int) -> None:
        self._socket = socket
        self._session = session
        self._port = port

    def dial(self, pod: Pod) -> Dial:
        async def connect(factory: Any) -> object:
            if self._session is None:
                return await asyncio.get_running_loop().create_unix_connection(factory, self._socket)
            url = f"wss://localhost:{self._port}/"
            socket = await self._session.ws_connect(url, protocols=[_PROTOCOL], max_msg_size=0, autoping=True)
            return ExecTransport(socket, factory())

        return connect

    def drain(self) -> None: ...

    def leave(self, name: str, reason: str) -> None: ...

    async def end_pod(self, pod: Pod, reason: str) -> None: ...

    async def stop(self) -> None: ...


class _Sink(Discard):
    """Tells the feeder of the end."""

    __slots__ = ("_feeder",)

    def __init__(self, feeder: "_Feeder") -> None:
        self._feeder = feeder

    def ended(self, outcome: Outcome) -> None:
        self._feeder.ended(outcome)


class _Feeder:
    """Keeps the slots full, as GNU parallel does, and notes time and memory at each tenth."""

    def __init__(self, dispatcher: Dispatcher, jobs: int, crowd: Crowd) -> None:
        self._dispatcher = dispatcher
        self._jobs = jobs
        self._crowd = crowd
        self._left = jobs
        self._submitted = 0
        self._due = 0
        self._began = self._part_began = time.perf_counter()
        self.done = asyncio.Event()

    def start(self, at_once: int) -> None:
        self._submit(min(at_once, self._jobs))

    def ended(self, outcome: Outcome) -> None:
        if outcome != Outcome(0):
            raise RuntimeError(f"a job has ended: {outcome}")
        if not self._due:
            asyncio.get_running_loop().call_soon(self._more)
        self._due += 1

    def _more(self) -> None:
        if self._left == self._jobs:
            self._crowd.running_kib = rss_kib(os.getpid())
        count, self._due = self._due, 0
        for _ in range(count):
            self._left -= 1
            if self._left % max(1, self._jobs // PARTS) == 0:
                now = time.perf_counter()
                self._crowd.part_s.append(now - self._part_began)
                self._crowd.part_kib.append(rss_kib(os.getpid()))
                self._part_began = now
        self._submit(min(count, self._jobs - self._submitted))
        if not self._left:
            self.done.set()

    def _submit(self, count: int) -> None:
        for _ in range(count):
            self._submitted += 1
            request = RunRequest(b"true %d" % self._submitted)
            self._dispatcher.submit(request, _Sink(self), seq=self._submitted)


async def drive(folder: Path, pods: int, slots: int, jobs: int, hold_s: float, *, tls: bool = False) -> Crowd:
    """Run the jobs, as many at a time as there are slots. Raises RuntimeError when one fails."""
    raise_file_limit()
    if tls:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", str(folder / _KEY), "-out", str(folder / _CERTIFICATE)]
        openssl = ["openssl", "req", "-x509", *key, *names, *files]
        subprocess.run(openssl, check=True, capture_output=True)
    words = [
        sys.executable,
        "-m",
        "bench.crowddriver",
        "agents",
        str(folder),
        str(hold_s),
        *["tls"][: int(tls)],
    ]
    simulated = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert simulated.stdin is not None and simulated.stdout is not None
    port = int(await simulated.stdout.readline())
    crowd = Crowd()
    async with AsyncExitStack() as stack:
        session = None
        if tls:
            connector = aiohttp.TCPConnector(
                ssl=ssl.create_default_context(cafile=folder / _CERTIFICATE), limit=0
            )
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        cluster = _Cluster(str(folder / _SOCKET), session, port)
        dispatcher = new_dispatcher("benchmany", cluster, stack, folder)  # type: ignore[arg-type]
        ready = asyncio.Event()
        dispatcher.follow(lambda: ready.set() if dispatcher.pool.slots == pods * slots else None)
        crowd.idle_kib = rss_kib(os.getpid())
        for number in range(pods):
            dispatcher.workers.pod_started(Pod(f"simulated-{number}", 1, slots, 0, f"node-{number // 20}"))
        await asyncio.wait_for(ready.wait(), READY_S)
        crowd.connected_kib = rss_kib(os.getpid())
        before, began = cpu_s(resource.RUSAGE_SELF), time.perf_counter()
        feeder = _Feeder(dispatcher, jobs, crowd)
        feeder.start(pods * slots)
        await feeder.done.wait()
        crowd.wall_s = time.perf_counter() - began
        crowd.cpu_s = cpu_s(resource.RUSAGE_SELF) - before
        crowd.peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    simulated.stdin.close()
    await simulated.wait()
    return crowd


def main() -> None:
    if sys.argv[1] == "agents":
        asyncio.run(agents(Path(sys.argv[2]), float(sys.argv[3]), tls="tls" in sys.argv[4:]))
        return
    _, folder, pods, slots, jobs, hold_s, *rest = sys.argv
    counts = int(pods), int(slots), int(jobs)
    found = asyncio.run(drive(Path(folder), *counts, float(hold_s), tls="tls" in rest))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
