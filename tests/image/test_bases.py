"""The image that a testbed begins with: what is read of it."""

import json

import pytest

from womm.errors import ImageError
from womm.image.bases import BASE_DIGEST, BASE_NAME, LABEL, find
from womm.image.progress import Progress


@pytest.mark.slow
def test_find_tells_what_the_engine_knows_of_an_image(daemon, bases):
    found = find(daemon, bases.configured(), Progress(print))
    assert (found.name, found.digest, found.is_ours) == (bases.configured(), "", False)
    assert (found.architecture, found.os) == (daemon.architecture, "linux")
    assert found.volumes == ("/data",)
    assert found.config["User"] == "1000:1000"
    assert found.id == find(daemon, found.id, Progress(print)).id


@pytest.mark.slow
def test_find_of_an_image_of_ours_names_what_it_was_made_of(daemon, bases):
    labels = {LABEL: "", BASE_NAME: "debian:12", BASE_DIGEST: "sha256:1"}
    lines = [
        f"FROM {bases.busybox()}",
        *(f"LABEL {name}={json.dumps(text)}" for name, text in labels.items()),
    ]
    found = find(daemon, bases.built("ours", "\n".join(lines)), Progress(print))
    assert (found.name, found.digest, found.is_ours) == ("debian:12", "sha256:1", True)


@pytest.mark.slow
def test_find_pulls_what_is_missing_by_tag_or_digest_and_knows_the_digest(pusher, registry):
    daemon, repository = pusher.daemon, pusher.image(registry.host)
    digest = pusher.push(repository)
    for name in (f"{repository}:1", f"{repository}:1@{digest}"):
        daemon.client.images.remove(pusher.made[0], force=True)
        assert find(daemon, name, pusher.progress).digest == digest
    daemon.client.images.remove(f"{repository}@{digest}")
    find(daemon, f"{repository}:1", pusher.progress)


@pytest.mark.slow
def test_find_of_an_image_that_no_registry_has_is_one_line(daemon, registry):
    with pytest.raises(ImageError, match=r"/none:1 cannot be pulled"):
        find(daemon, f"{registry.host}/none:1", Progress(print))
