"""womm's talk with a real podman, by docker's API: what it says is not always what docker says."""

import json

import pytest

from tests.image.conftest import archive
from womm.errors import ImageError
from womm.image.daemon import connect
from womm.image.endpoint import PODMAN, Endpoint
from womm.image.progress import Progress
from womm.image.push import digest_in_registry, platforms, pull, push

pytestmark = pytest.mark.slow


@pytest.fixture
def podman(own_podman, docker_config):
    with connect("podman", endpoints=[Endpoint(own_podman, PODMAN)]) as daemon:
        yield daemon


def make(podman, name, size=1000):
    """Make an image of one layer; podman gives no name to what it imports."""
    answer = podman.client.api.import_image_from_data(archive(size))
    image = json.loads(answer.splitlines()[0])["status"]
    podman.client.images.get(image).tag(name, "1")


def test_podman_is_described(podman, own_podman):
    assert (podman.name, podman.source, podman.host) == ("podman", PODMAN, own_podman)
    assert (podman.is_remote, podman.is_rootless, podman.can_mount_host) == (False, False, False)


def test_push_by_podman_sends_the_new_layer_and_gives_the_registrys_digest(podman, proxy):
    said: list[str] = []
    repository = f"{proxy.host}/by/podman"
    make(podman, repository, 300_000)
    digest = push(podman, repository, "1", Progress(said.append))
    assert digest == proxy.registry.digest("by/podman", "1")
    assert 300_000 < proxy.uploaded < 310_000
    assert said[0].startswith("The push refers to repository")
    container = podman.client.containers.create(f"{repository}:1", "none")
    container.put_archive("/", archive(1000))
    container.commit(repository, "1")
    container.remove()
    proxy.uploaded = 0
    digest = push(podman, repository, "1", Progress(said.append))
    assert digest == proxy.registry.digest("by/podman", "1")
    assert 1000 < proxy.uploaded < 5000
    pull(podman, f"{repository}@{digest}", Progress(said.append))


def test_podman_that_cannot_ask_a_registry_is_no_error(podman, registry):
    assert digest_in_registry(podman, f"{registry.host}/none:1") is None
    assert platforms(podman, f"{registry.host}/none:1") == ()


def test_refusals_by_podman_are_told_apart(podman, private_registry, proxy):
    def refusal(host):
        make(podman, f"{host}/x")
        with pytest.raises(ImageError) as raised:
            push(podman, f"{host}/x", "1", Progress(lambda text: None))
        return raised.value

    wanted = refusal(private_registry.host)
    assert "wants a login" in wanted.message
    assert wanted.hint == f"podman login {private_registry.host}"
    proxy.refuse("POST", 403)
    assert "you have no right to push there" in refusal(proxy.host).message
    proxy.refuse("GET", 500)
    assert f"{proxy.host} has failed" in refusal(proxy.host).message
    assert "127.0.0.1:1 cannot be reached" in refusal("127.0.0.1:1").message
    with pytest.raises(ImageError, match="there is no such image"):
        pull(podman, f"{proxy.registry.host}/none:1", Progress(lambda text: None))
