"""Womm for a file server whose image has python3 alone: each pod gets it once, and keeps it over restarts."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_contract import Observer
from tests.cluster.kubernetes.test_file_server import READY, pod
from tests.cluster.kubernetes.test_share_host import ENDED_S, SLOW_S, Shared, host_of
from tests.conftest import Home
from tests.loop import until
from tests.realcluster.fixtures import KubeCluster
from womm import process
from womm.cluster.base import PodPython, ServerSpec
from womm.cluster.kubernetes.execs import Execs
from womm.cluster.kubernetes.file_server import FileServerPods
from womm.cluster.kubernetes.filling import STARTING_S, Filling, _Talk
from womm.cluster.kubernetes.manifests import Object
from womm.cluster.kubernetes.paths import LIB
from womm.cluster.kubernetes.share_manifests import FILE_SERVER
from womm.errors import ImageError
from womm.fileserver import bootstrap
from womm.image.bundle import WommBundles, pack
from womm.link.client import Dial

WAIT_S = 30.0
CONNECTS = "[time.sleep(0.1) for _ in iter(lambda: socket.socket().connect_ex(('localhost', 2049)), 0)]"
SMALL = {"womm/__init__.py": b"", "womm/fileserver/__init__.py": os.urandom(300_000)}


class Bundles:
    """Counts what is asked for. error: is raised instead. is_made: whether there is one at once."""

    def __init__(self, folder: Path, error: ImageError | None = None, *, is_made: bool = True) -> None:
        self.path = folder / "bundle"
        self.path.write_bytes(pack(SMALL))
        self.asked: list[PodPython] = []
        self.ended = threading.Event()
        self._error = error
        self._is_made = is_made

    def provide(
        self,
        python: PodPython,
        *,
        making: Callable[[], None] = lambda: None,
        stop: threading.Event | None = None,
    ) -> Path:
        self.asked.append(python)
        if self._error is not None:
            raise self._error
        if not self._is_made:
            making()
            assert stop is not None and stop.wait(WAIT_S)
            self.ended.set()
        return self.path


class PodsHere(Execs):
    """Runs what is meant for a pod on this machine; each pod has a folder. script: is run instead."""

    def __init__(self, folder: Path, script: str = "") -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.cuts = 0
        """So many of the next execs are cut when half of the bundle is through."""
        self._script = script

    def dial(self, pod: str, container: str, alive: Callable[[], bool], command: Sequence[str] = ()) -> Dial:
        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            self.ran.append(pod)
            assert (container, command[3]) == (FILE_SERVER, "fill")
            lib = self.folder / pod
            lib.mkdir(exist_ok=True)
            words = [sys.executable, "-I", bootstrap.__file__, "fill", command[4].replace(LIB, str(lib))]
            if self._script:
                words = ["sh", "-c", self._script]
            if self.cuts:
                self.cuts -= 1
                words = ["sh", "-c", '"$@" | head -n 1; exit 0', "sh", *words]
            ours, theirs = socket.socketpair()
            with theirs:
                self._child = await asyncio.create_subprocess_exec(
                    *words, stdin=theirs.fileno(), stdout=theirs.fileno()
                )
            transport, _ = await asyncio.get_running_loop().create_connection(factory, sock=ours)
            return transport

        return connect


@asynccontextmanager
async def filling(
    server: FileServerPods,
    bundles: Bundles,
    execs: Execs,
    told: list[str] | None = None,
    *,
    starting_s: float = STARTING_S,
) -> AsyncIterator[list[tuple[str, str]]]:
    """Yield what is given up. told: gets what the user is told."""
    told = [] if told is None else told
    given_up: list[tuple[str, str]] = []
    made = Filling(
        server,
        bundles,
        execs,
        image="some:1",
        tell=lambda: told.append(server.getting),
        give_up=lambda why, hint: given_up.append((why, hint)),
        starting_s=starting_s,
    )
    task = asyncio.ensure_future(made.run())
    try:
        yield given_up
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def ended(execs: PodsHere) -> None:
    await execs._child.wait()


@pytest.mark.slow
async def test_each_pod_gets_womm_once_and_only_then_it_is_the_file_server(tmp_path: Path) -> None:
    server, execs, bundles = FileServerPods(image_has_womm=False), PodsHere(tmp_path), Bundles(tmp_path)
    told: list[str] = []
    async with filling(server, bundles, execs, told) as given_up:
        server.apply(pod("a"))
        assert server.pod is None
        async with asyncio.timeout(WAIT_S):
            assert await server.live_pod() == "a"
        assert (tmp_path / "a/current/womm/__init__.py").exists()
        assert bundles.asked[0].version == "{}.{}".format(*sys.version_info)
        again = {"name": "fileserver", "restartCount": 1, "state": {"running": {}}}
        server.apply(pod("a", **READY, containerStatuses=[again]))
        assert [server.pod, *server.without_womm] == ["a"]  # its folder outlives the container
        server.replace([pod("b")])
        assert server.pod is None
        async with asyncio.timeout(WAIT_S):
            assert await server.oldest_pod() == "b"
        await ended(execs)
    assert (execs.ran, given_up) == (["a", "b"], [])
    assert not [text for text in told if "made ready" in text]  # there was one


async def test_bundle_that_is_being_made_is_told_and_ends_with_the_task(tmp_path: Path) -> None:
    server, execs = FileServerPods(image_has_womm=False), PodsHere(tmp_path)
    bundles, told = Bundles(tmp_path, is_made=False), list[str]()
    async with filling(server, bundles, execs, told):
        server.apply(pod("a"))
        await until(lambda: any("is made ready for its Python" in text for text in told), "it", WAIT_S)
        assert not bundles.ended.is_set()
    assert await asyncio.to_thread(bundles.ended.wait, WAIT_S)
    await ended(execs)


@pytest.mark.slow
async def test_exec_that_is_cut_is_made_again(tmp_path: Path) -> None:
    server, execs, bundles = FileServerPods(image_has_womm=False), PodsHere(tmp_path), Bundles(tmp_path)
    execs.cuts = 1
    async with filling(server, bundles, execs) as given_up:
        server.apply(pod("a"))
        async with asyncio.timeout(WAIT_S):
            assert await server.live_pod() == "a"
        await ended(execs)
    assert (execs.ran, given_up) == (["a", "a"], [])


class NotFoundAtFirst(PodsHere):
    """The first execs find no container."""

    left = 1

    def dial(self, pod: str, container: str, alive: Callable[[], bool], command: Sequence[str] = ()) -> Dial:
        later = super().dial(pod, container, alive, command)

        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            if not self.left:
                return await later(factory)
            self.left -= 1
            self.ran.append(pod)
            ours, theirs = socket.socketpair()
            with theirs:
                transport, talk = await asyncio.get_running_loop().create_connection(factory, sock=ours)
                talk.connection_lost(OSError('container not found ("fileserver")'))
            return transport

        return connect


@pytest.mark.parametrize("starting_s", [3600.0, 0.0])
async def test_container_that_only_starts_is_no_news(tmp_path: Path, starting_s: float) -> None:
    server, execs, bundles = (
        FileServerPods(image_has_womm=False),
        NotFoundAtFirst(tmp_path),
        Bundles(tmp_path),
    )
    told: list[str] = []
    async with filling(server, bundles, execs, told, starting_s=starting_s):
        server.apply(pod("a"))
        async with asyncio.timeout(WAIT_S):
            assert await server.live_pod() == "a"
        await ended(execs)
    assert any("container not found" in text for text in told) == (starting_s == 0)


async def test_pod_whose_image_comes_late_is_filled(tmp_path: Path) -> None:
    server, execs, bundles = (
        FileServerPods(image_has_womm=False),
        NotFoundAtFirst(tmp_path),
        Bundles(tmp_path),
    )

    def waiting(reason: str) -> Object:
        state = {"name": "fileserver", "restartCount": 0, "state": {"waiting": {"reason": reason}}}
        return pod("a", phase="Pending", containerStatuses=[state])

    execs.left = 1000
    async with filling(server, bundles, execs):
        server.apply(waiting("ContainerCreating"))
        await until(lambda: execs.ran, "the first try", WAIT_S)
        server.apply(waiting("ErrImagePull"))
        tries = "womm for a"
        await until(lambda: tries not in {one.get_name() for one in asyncio.all_tasks()}, "no try", WAIT_S)
        execs.left = 0
        server.apply(pod("a"))
        async with asyncio.timeout(WAIT_S):
            assert await server.live_pod() == "a"
        await ended(execs)


async def test_line_that_is_too_long_or_does_not_come_is_an_error_of_the_exec() -> None:
    talk = _Talk()
    with pytest.raises(OSError, match="no answer in 0 s"):
        await talk.line(0.01)
    talk.data_received(bytes(1 << 20))
    with pytest.raises(OSError, match="too long"):
        await talk.line(WAIT_S)


async def test_pod_without_a_known_c_library_is_given_up(tmp_path: Path) -> None:
    about = {"python": "3.13", "machine": "x86_64", "libc": "unknown", "has": "", "wrong": ""}
    execs = PodsHere(tmp_path, f"echo '{bootstrap.GREETING}{json.dumps(about)}'; cat")
    server, bundles = FileServerPods(image_has_womm=False), Bundles(tmp_path)
    async with filling(server, bundles, execs) as given_up:
        server.apply(pod("a"))
        await until(lambda: given_up, "the end", WAIT_S)
        await ended(execs)
    assert "neither glibc nor musl" in given_up[0][0]
    assert bundles.asked == []


async def test_pod_whose_words_are_no_names_gets_nothing(tmp_path: Path) -> None:
    about = {"python": "3.13", "machine": "*", "libc": "glibc 2.36", "has": "", "wrong": ""}
    execs = PodsHere(tmp_path, f"echo '{bootstrap.GREETING}{json.dumps(about)}'; cat")
    server, bundles, told = FileServerPods(image_has_womm=False), Bundles(tmp_path), list[str]()
    async with filling(server, bundles, execs, told):
        server.apply(pod("a"))
        await until(lambda: any("another language" in text for text in told), "the words", WAIT_S)
    await ended(execs)
    assert bundles.asked == []


@pytest.mark.parametrize("of_image", [True, False])
async def test_image_that_cannot_have_womm_is_given_up_with_another_one(
    tmp_path: Path, of_image: bool
) -> None:
    about = {
        "python": "3.9",
        "machine": "m",
        "libc": "glibc 2.36",
        "has": "",
        "wrong": "its python3 is 3.9.2" * of_image,
    }
    execs = PodsHere(tmp_path, f"echo '{bootstrap.GREETING}{json.dumps(about)}'; cat")
    bundles = Bundles(tmp_path, ImageError("pip brings none", "--fileserver-python other"))
    server = FileServerPods(image_has_womm=False)
    async with filling(server, bundles, execs) as given_up:
        server.apply(pod("a"))
        await until(lambda: given_up, "the end", WAIT_S)
        await ended(execs)
    why, hint = given_up[0]
    assert why.startswith(
        "some:1 cannot run the file server: its python3 is 3.9.2" if of_image else "pip brings none"
    )
    assert "--fileserver-python" in hint
    assert server.pod is None


# ---- on a cluster


@pytest.fixture
def shared(kube_cluster: KubeCluster, kube_namespace: str, python_image: str, womm_home: Home) -> Shared:
    """Workers on a node that cannot mount: nothing here needs them."""
    return Shared(kube_cluster, kube_namespace, python_image, ["node1"], womm_home.runtime)


@pytest.mark.slow
@pytest.mark.deadline(3 * SLOW_S + ENDED_S)
async def test_pod_of_a_python_image_is_a_file_server_that_outlives_its_container_and_its_pod(
    shared: Shared, python_image: str, tmp_path: Path
) -> None:
    bundles, cluster, observer = Counted(tmp_path / "bundles"), await shared.cluster(), Observer()

    async def answers() -> str:
        """The file server's pod, once it has what runs beside it, too, and waits for clients."""
        command = ("python3", "-c", f"import socket, time, womm.store; {CONNECTS}; print('up')")
        talk = asyncio.StreamReader()
        await until_dialled(host_of(cluster).share_dial(command), talk)
        assert await talk.readline() == b"up\n"
        (name,) = shared.objects(FILE_SERVER, kinds="pods")
        return name.removeprefix("pod/")

    try:
        spec = replace(shared.spec(kind="eager-syncback"), server=ServerSpec(python_image, bundles))
        with observer.explains():
            await cluster.start(spec, observer)
            first = await answers()
            for one in shared.kube.own.pod_processes(shared.namespace, first):
                with suppress(ProcessLookupError):
                    process.kill(one, signal.SIGKILL)
            path = "{.status.containerStatuses[0].restartCount}"
            words = ("get", "pod", first, "-n", shared.namespace, "-o", f"jsonpath={path}")
            await until(lambda: shared.kube.kubectl.text(*words) == "1", "a restart", SLOW_S)
            assert (await answers(), bundles.asked) == (first, 1)
            shared.kube.kubectl.run("delete", "pod", first, "-n", shared.namespace, "--grace-period=1")
            assert await answers() != first
            assert bundles.asked == 2
    finally:
        await cluster.stop()
    assert shared.objects() == []


async def until_dialled(dial: Dial, talk: asyncio.StreamReader) -> None:
    async with asyncio.timeout(SLOW_S):
        while True:
            try:
                await dial(lambda: asyncio.StreamReaderProtocol(talk))
                return
            except OSError:
                await asyncio.sleep(0.2)


class Counted(WommBundles):
    asked = 0

    def provide(self, python: PodPython, **how: Any) -> Path:
        self.asked += 1
        return super().provide(python, **how)


@pytest.mark.slow
async def test_pod_of_the_bundle_satisfies_restricted(
    kube_cluster: KubeCluster, kube_namespace: str, womm_home: Home, tmp_path: Path
) -> None:
    missing = f"{kube_cluster.registry}/no/such:1"
    shared = Shared(kube_cluster, kube_namespace, missing, ["node1"], womm_home.runtime)
    cluster, observer = await shared.cluster(), Observer()
    try:
        spec = replace(shared.spec(), server=ServerSpec(missing, WommBundles(tmp_path)))
        await cluster.start(spec, observer)
        await observer.until(lambda: any("ImagePull" in r for w in observer.waits for r in w), "the reason")
        assert "--fileserver-python" in cluster.advice()
        words = ["label", "--dry-run=server", "--overwrite", "namespace", kube_namespace]
        level = "pod-security.kubernetes.io/enforce=restricted"
        assert "-files-" not in kube_cluster.kubectl.run(*words, level).stderr
    finally:
        await cluster.stop()
