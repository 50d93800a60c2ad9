"""`python -m bench.eager`: the eager share beside tar and rsync, through one and the same stream.

Strategy: the stream is the share's own (womm.share.eager.stream), into a process of this machine that
stands for the pod. So the comparison covers the work of both ends and the number of bytes. Candidates take
turns in every round, each into an empty store, all on tmpfs; ratios are of neighbours (bench.run.interleave).
womm's time includes everything: the start of Python at the far end, the walk of the folder, and the record of
what both sides have.
`make bench` has it as a section, and another one into a pod, over womm's exec of the API server.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from bench.kube import Kube, Project
from bench.report import Figure, Section, as_text, compared
from bench.run import BenchError, Place, interleave
from bench.stats import Target
from tests.realcluster import images
from womm.cluster.kubernetes import client as api
from womm.link.client import Dial
from womm.share.eager.connection import EagerConnection, store_command
from womm.share.eager.options import EagerOptions
from womm.share.eager.report import CopyEvents
from womm.share.eager.stream import ExecDial, LocalStore, PodStream, converse
from womm.store.pack import CHUNK

_FIRST = Target(least=0.8)


class Far(Protocol):
    """Where the store is."""

    python: str
    """How to run Python there."""

    def talk(self, work: Callable[[ExecDial], Coroutine[Any, Any, object]]) -> None:
        """Run `work` with an object that runs commands there."""

    def shell(self, script: str) -> str:
        """Run a script there; return what it prints. Raises BenchError."""


class Here:
    """See Far: on this machine."""

    python = sys.executable

    def talk(self, work: Callable[[ExecDial], Coroutine[Any, Any, object]]) -> None:
        async def main() -> None:
            async with LocalStore() as store:
                await work(store.exec_dial)

        asyncio.run(main())

    def shell(self, script: str) -> str:
        return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout


class InPod:
    """See Far: in a pod, by womm's own exec."""

    python = "python3"

    def __init__(self, project: Project, pod: str) -> None:
        self._project, self._pod = project, pod

    def talk(self, work: Callable[[ExecDial], Coroutine[Any, Any, object]]) -> None:
        async def main() -> None:
            kubeconfig = str(self._project.kube.kubectl.kubeconfig)
            client = await api.KubeClient.connect(
                api.Target(namespace=self._project.namespace, kubeconfig=kubeconfig)
            )

            def exec_dial(command: Sequence[str]) -> Dial:
                return lambda factory: client.exec(self._pod, "main", command, factory)

            try:
                await work(exec_dial)
            finally:
                await client.close()

        asyncio.run(main())

    def shell(self, script: str) -> str:
        words = self._project.kubectl("exec", self._pod, "--", "sh", "-c", script)
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True, slots=True)
class Ground:
    folder: Path
    store: str
    state: Path
    files: int
    far: Far

    def clear(self) -> None:
        self.far.shell(f"rm -rf {self.store} && mkdir {self.store}")
        for path in self.state.parent.glob(self.state.name + "*"):
            path.unlink()


def section(place: Place) -> Section:
    """On the tmpfs that every Linux has."""
    files, rounds = (2000, 1) if place.quick else (50_000, 5)
    with tempfile.TemporaryDirectory(prefix="womm-bench-", dir="/dev/shm") as base:
        return _section(Path(base), files, rounds)


def into_a_pod(place: Place, kube: Kube) -> Section:
    """The same through the API server, into a pod's tmpfs."""
    files, rounds = (2000, 1) if place.quick else (50_000, 5)
    image = images.file_server_image(kube.registry).pinned
    with kube.project(place) as project, tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        container = {
            "name": "main",
            "image": image,
            "command": ["sleep", "100000"],
            "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
        }
        spec = {
            "containers": [container],
            "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
            "terminationGracePeriodSeconds": 0,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "store"}, "spec": spec}
        kube.kubectl.apply(project.namespace, pod)
        kube.kubectl.wait_ready(project.namespace, "store")
        ground = Ground(
            Path(base) / "folder", "/memory/store", Path(base) / "state", files, InPod(project, "store")
        )
        _fill(ground)
        figures = first_copy(ground, rounds)
    return Section(
        "Kubernetes: the eager share",
        f"{files:,} files as above, tmpfs to the tmpfs of a pod on node1, over womm's exec of the API server,"
        " for tar, too; from the start of the exec to its end.",
        figures,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.eager", description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default="/dev/shm", help="where to work: a tmpfs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="womm-bench-", dir=options.folder) as base:
        try:
            print(as_text(_section(Path(base), options.files, options.rounds)))
        except BenchError as exc:
            print(f"bench: {exc}", file=sys.stderr)
            return 1
    return 0


def _section(base: Path, files: int, rounds: int) -> Section:
    ground = Ground(base / "folder", str(base / "store"), base / "state", files, Here())
    _fill(ground)
    return Section(
        "The eager share",
        f"{files:,} files of up to 4,000 bytes in 500 folders, tmpfs to tmpfs, through the share's own stream"
        " into a process of this machine that stands for the pod; rsync through a pipe. The target is for the"
        " first copy. For the next one, one file in a hundred has changed.",
        [*first_copy(ground, rounds), *next_copy(ground, rounds)],
    )


def first_copy(ground: Ground, rounds: int) -> list[Figure]:
    candidates: dict[str, Callable[[], float]] = {
        "womm": partial(_timed, ground, partial(_womm, ground, syncback=False)),
        "tar": partial(_timed, ground, partial(_tar, ground)),
        "womm with syncback": partial(_timed, ground, partial(_womm, ground, syncback=True)),
    }
    if isinstance(ground.far, Here):
        candidates["rsync"] = partial(_timed, ground, partial(_rsync, ground))
    candidates["tar"]()
    found = interleave(candidates, rounds=rounds, budget_s=150)
    rates = {name: [ground.files / seconds for seconds in times] for name, times in found.items()}
    figures = [
        compared("first copy, beside tar", rates["womm"], rates["tar"], "files/s", _FIRST),
        compared("with syncback, beside tar", rates["womm with syncback"], rates["tar"], "files/s"),
    ]
    if "rsync" in rates:
        what = "beside rsync -rlpt --whole-file"
        figures.append(compared(what, rates["womm"], rates["rsync"], "files/s"))
    return figures


def next_copy(ground: Ground, rounds: int) -> list[Figure]:
    """One file in a hundred has changed."""
    ground.clear()
    _womm(ground, syncback=True)

    def changed(copy: Callable[[], None]) -> float:
        for number in range(0, ground.files, 100):
            _path(ground, number).write_bytes(random.randbytes(2000))
        began = time.perf_counter()
        copy()
        return time.perf_counter() - began

    candidates: dict[str, Callable[[], float]] = {
        "womm": partial(changed, partial(_womm, ground, syncback=True)),
        "rsync": partial(changed, partial(_rsync, ground)),
    }
    found = interleave(candidates, rounds=rounds, budget_s=60)
    return [compared("next copy, beside rsync -rlpt --delete", found["womm"], found["rsync"], "s")]


def _path(ground: Ground, number: int) -> Path:
    return ground.folder / f"d{number % 500}" / f"f{number}"


def _fill(ground: Ground) -> None:
    rng = random.Random(1)
    for number in range(ground.files):
        path = _path(ground, number)
        if number < 500:
            path.parent.mkdir(parents=True)
        path.write_bytes(rng.randbytes(rng.randrange(4000)))


def _timed(ground: Ground, copy: Callable[[], None]) -> float:
    ground.clear()
    began = time.perf_counter()
    copy()
    seconds = time.perf_counter() - began
    count = int(ground.far.shell(f"find {ground.store} -type f | wc -l"))
    if count != ground.files:
        raise BenchError(f"{count} files of {ground.files} arrived")
    return seconds


def _womm(ground: Ground, *, syncback: bool) -> None:
    share = EagerConnection(
        ground.folder,
        "bench",
        store_command(ground.store, python=(ground.far.python,)),
        state=ground.state,
        options=EagerOptions(syncback=syncback, yes=True),
        events=CopyEvents(lambda text: None),
    )
    ground.far.talk(share.push)


def _tar(ground: Ground) -> None:
    def send(stream: PodStream) -> None:
        with subprocess.Popen(["tar", "-C", ground.folder, "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
            assert tar.stdout is not None
            while data := os.read(tar.stdout.fileno(), CHUNK):
                stream.send(data)
        # The shell says so when tar is done: a stream into a pod has no half that can be closed.
        said = b""
        while data := stream.receive(CHUNK):
            said += data
        if said != b"done\n":
            raise BenchError(f"tar did not end well: {said!r} {stream.reason}")

    command = ["sh", "-c", f"tar -C {ground.store} -xf - && echo done"]
    ground.far.talk(lambda exec_dial: converse(exec_dial(command), send))


def _rsync(ground: Ground) -> None:
    """Through a pipe, which is faster than the stream."""
    words = [
        "rsync",
        "-rlpt",
        "--delete",
        "--whole-file",
        "-e",
        _SHELL,
        f"{ground.folder}/",
        f"pod:{ground.store}/",
    ]
    subprocess.run(words, check=True)


_SHELL = "sh -c 'shift; exec \"$@\"' sh"


if __name__ == "__main__":
    sys.exit(main())
