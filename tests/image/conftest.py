"""The tests' docker as womm reaches it, registries, and small images to push."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests.image import registry as registries
from tests.image.dockerd import Docker
from tests.image.registry import Proxy, Registry
from womm.image.daemon import Daemon, connect
from womm.image.endpoint import Endpoint
from womm.image.progress import Progress
from womm.image.push import push

NUMBERS = count(1)


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of docker's configuration, empty."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture
def daemon(own_docker: Docker, docker_config: Path) -> Iterator[Daemon]:
    with connect("docker", endpoints=[Endpoint(own_docker.host, "DOCKER_HOST")]) as found:
        yield found


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    with registries.running() as found:
        yield found


@pytest.fixture(scope="session")
def private_registry() -> Iterator[Registry]:
    with registries.running(login=True) as found:
        yield found


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    with registries.proxied(registry) as found:
        yield found


@dataclass
class Pusher:
    """Makes small images, and pushes them."""

    daemon: Daemon
    config: Path
    """The folder of docker's configuration."""
    said: list[str] = field(default_factory=list)
    """What the progress has told the user."""
    made: list[str] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        return Progress(self.said.append)

    def image(self, host: str, size: int = 1000) -> str:
        """Make an image of one layer with a file of random bytes; return its repository. The tag is 1."""
        repository = f"{host}/small/{os.getpid()}-{next(NUMBERS)}"
        self.daemon.client.api.import_image_from_data(archive(size), repository=repository, tag="1")
        self.made.append(f"{repository}:1")
        return repository

    def change(self, repository: str, size: int) -> None:
        """Put a layer with a file of random bytes upon REPOSITORY:1."""
        container = self.daemon.client.containers.create(f"{repository}:1", "none")
        try:
            container.put_archive("/", archive(size))
            container.commit(repository, "1")
        finally:
            container.remove(v=True)

    def push(self, repository: str) -> str:
        return push(self.daemon, repository, "1", self.progress)

    def configure(self, config: dict[str, object]) -> None:
        """Write docker's configuration."""
        (self.config / "config.json").write_text(json.dumps(config))
        self.daemon.client.api.reload_config()

    def log_in(self, host: str, password: str = registries.PASSWORD) -> None:
        """Write the login as `docker login` does."""
        self.configure({"auths": {host: {"auth": registries.auth(password)}}})


@pytest.fixture
def pusher(daemon: Daemon, docker_config: Path) -> Iterator[Pusher]:
    one = Pusher(daemon, docker_config)
    yield one
    for name in one.made:
        daemon.client.images.remove(name, force=True)


def archive(size: int) -> bytes:
    """Return a tar archive with a file of random bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(f"file{next(NUMBERS)}")
        info.size = size
        tar.addfile(info, io.BytesIO(os.urandom(size)))
    return out.getvalue()
