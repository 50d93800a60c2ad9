"""A new project for `womm setup`. No cluster is there, as for a user who may not read nodes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Home
from tests.image import registry as registries
from tests.image.bases import Bases
from tests.image.registry import Proxy, Registry
from tests.setup.projects import NOTHING, Project


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    with registries.running() as found:
        yield found


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    with registries.proxied(registry) as found:
        yield found


@pytest.fixture
def project(
    bases: Bases, proxy: Proxy, womm_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project's folder. A test must leave no container, volume or image without a tag."""
    config = tmp_path / "kubeconfig"
    content = {
        "current-context": "lab",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "c", "namespace": "research"}}],
    }
    config.write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setenv("DOCKER_HOST", bases.docker.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    folder = tmp_path / "proj"
    folder.mkdir()
    found = Project(folder, bases.debian(), womm_home.runtime, proxy, bases.docker)
    yield found
    assert found.left() == NOTHING
    with found.client() as client:
        images = client.images.list(f"{found.prefix}womm-image")
        for image in sorted(images, key=lambda one: one.attrs["Created"], reverse=True):  # children first
            own = [tag for tag in image.tags if tag.startswith(found.prefix)]
            for name in own if len(own) < len(image.tags) else [image.id]:  # one may be the base's, too
                client.images.remove(name, force=True)
