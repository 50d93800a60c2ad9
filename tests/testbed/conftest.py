"""A testbed in the tests' docker: the project's folder, the state, what was said, and nothing left behind."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Home
from tests.image.bases import Bases
from tests.image.dockerd import Docker
from womm.image.bases import LABEL, Base, find
from womm.image.daemon import Daemon, connect
from womm.image.endpoint import Endpoint
from womm.image.progress import Progress
from womm.testbed.container import Testbed
from womm.testbed.opening import opened
from womm.testbed.state import State

# A setup that is killed: it works in its testbed, says so, and waits for its end.
_CHILD = """
import sys
from pathlib import Path
from womm.image.bases import find
from womm.image.commit import commit, labels
from womm.image.daemon import connect
from womm.image.endpoint import Endpoint
from womm.image.progress import Progress
from womm.testbed.opening import opened
from womm.testbed.state import State

host, name, project, script, tag = sys.argv[1:]
state = State.of(Path(project))
with state.locked(), connect("docker", endpoints=[Endpoint(host, "DOCKER_HOST")]) as daemon:
    base = find(daemon, name, Progress(print))
    with opened(daemon, base, state, say=print) as testbed:
        testbed.run(["sh", "-c", script])
        if tag:
            commit(
                daemon, testbed.id, base, f"{tag}:1", variables={}, labels=labels(base, "x"),
                comment=testbed.name,
            )
        print("ready", flush=True)
        sys.stdin.read()
"""


@dataclass
class Beds:
    daemon: Daemon
    bases: Bases
    state: State
    said: list[str] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.state.project

    def base(self, name: str = "") -> Base:
        return find(self.daemon, name or self.bases.busybox(), Progress(self.said.append))

    @contextmanager
    def open(self, name: str = "", daemon: Daemon | None = None, network: str = "") -> Iterator[Testbed]:
        with (
            self.state.locked(),
            opened(
                daemon or self.daemon, self.base(name), self.state, network=network, say=self.said.append
            ) as one,
        ):
            yield one

    def child(self, script: str = ":", *, name: str = "", tag: str = "") -> "subprocess.Popen[bytes]":
        """Start another process that works in the project's testbed until its stdin ends."""
        words = [sys.executable, "-P", "-c", _CHILD, self.bases.docker.host, name or self.bases.busybox()]
        words += [str(self.project), script, tag]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.project)

    def killed(self, script: str = ":", *, name: str = "") -> str:
        """Leave the testbed of a process that was killed with -9; return the container's name."""
        with self.child(script, name=name) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if line == b"ready\n":
                    break
            child.send_signal(signal.SIGKILL)
        with self.state.locked():
            return self.state.load().container

    def containers(self) -> list[str]:
        """Return the names of all testbeds."""
        listed = self.daemon.client.api.containers(all=True, filters={"label": LABEL})
        return [one["Labels"][LABEL] for one in listed if f"/{one['Labels'][LABEL]}" in one["Names"]]

    def volumes(self) -> list[str]:
        return [one["Name"] for one in self.daemon.client.api.volumes()["Volumes"] or ()]

    def dangling(self) -> list[str]:
        """Return the ids of images without a tag."""
        return [str(one["Id"]) for one in self.daemon.client.api.images(filters={"dangling": True})]


@pytest.fixture
def daemon(own_docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    with connect("docker", endpoints=[Endpoint(own_docker.host, "DOCKER_HOST")]) as found:
        yield found


@pytest.fixture
def beds(daemon: Daemon, bases: Bases, womm_home: Home, tmp_path: Path) -> Iterator[Beds]:
    """What opens testbeds; the test must leave no container, volume or image without a tag."""
    project = tmp_path / "my project"
    project.mkdir()
    found = Beds(daemon, bases, State.of(project))
    before = found.volumes(), found.dangling()
    yield found
    assert found.containers() == []
    assert (found.volumes(), found.dangling()) == before
    assert found.state.load().container == ""


@pytest.fixture
def testbed(beds: Beds) -> Iterator[Testbed]:
    """A testbed of a busybox."""
    with beds.open() as found:
        yield found
