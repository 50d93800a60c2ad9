"""The file server's image: what is in it, how it gets into a registry, and how that fails."""

import socket
import subprocess
import zipfile

import pytest

from tests.image.dockerd import BASE
from tests.realcluster.images import UNPACK, third_party_wheels
from womm.errors import ImageError
from womm.image import fileserver


def wheels_of_cache(folder, machine):
    """Instead of asking pip each time."""
    assert machine in {"x86_64", "aarch64"}
    third_party_wheels(folder)


def output(client, name, command, **options):
    """Run a container as a pod of the file server is run; return what it prints."""
    options |= {"read_only": True, "network_mode": "none", "cap_drop": ["ALL"]}
    container = client.containers.create(name, command, **options)
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0, container.logs()
        return container.logs()
    finally:
        container.remove(force=True)


@pytest.mark.parametrize(
    ("wheel", "version", "fits"),
    [
        ("a-1-py3-none-any.whl", "3.11", True),
        ("a-1-py2.py3-none-any.whl", "3.13", True),
        ("a-1-cp311-abi3-manylinux_2_17_x86_64.whl", "3.13", True),
        ("a-1-cp312-abi3-manylinux_2_17_x86_64.whl", "3.11", False),
        ("a-1-cp312-cp312-manylinux_2_17_x86_64.whl", "3.12", True),
        ("a-1-cp312-cp312-manylinux_2_17_x86_64.whl", "3.13", False),
    ],
)
def test_unpack_takes_the_wheels_that_fit(tmp_path, wheel, version, fits):
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / wheel, "w") as archive:
        archive.writestr("a.py", "")
    words = ["python3", str(UNPACK), str(tmp_path / "wheels"), str(tmp_path / "out"), version]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) == fits
    assert (tmp_path / "out" / "a.py").exists() == fits
    assert fits or f"no wheel of a fits Python {version}" in result.stderr


def test_no_docker_is_one_sentence_and_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    with pytest.raises(ImageError, match="docker is needed") as raised:
        fileserver.provide("localhost:1/x/")
    assert "--fileserver-image" in (raised.value.hint or "")


@pytest.mark.slow
def test_image_is_built_pushed_once_and_runs(own_docker, registry, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", own_docker.host)
    said: list[str] = []
    prefix = f"{registry.host}/built/"
    name = fileserver.provide(prefix, base=BASE, say=said.append, download=wheels_of_cache)
    assert name.startswith(f"{prefix}womm-fileserver@sha256:")
    assert len(said) == 1
    again = fileserver.provide(prefix, base="no-such-base", say=said.append, download=wheels_of_cache)
    assert (again, len(said)) == (name, 1)
    client = own_docker.client()
    try:
        assert client.images.list(filters={"dangling": True, "label": "womm.stage=fileserver"}) == []
        assert b"--secret" in output(client, name, ["--help"])
        config = client.images.get(name).attrs["Config"]
        assert config["User"] == "65532:65532"
        words = ["-c", "import asyncssh, os; print(os.getuid())"]
        assert output(client, name, words, entrypoint="python3") == b"65532\n"
    finally:
        client.close()


@pytest.mark.slow
def test_registry_that_is_away_is_told_in_a_line(own_docker, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", own_docker.host)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        prefix = f"localhost:{taken.getsockname()[1]}/x/"
        with pytest.raises(ImageError) as raised:
            fileserver.provide(prefix, base=BASE, download=wheels_of_cache)
    assert f"{prefix.partition('/')[0]} cannot be reached" in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.slow
def test_base_without_python_is_told_in_a_line(own_docker, registry, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", own_docker.host)
    with pytest.raises(ImageError, match="cannot be built"):
        fileserver.provide(f"{registry.host}/bad/", base="none:1", download=wheels_of_cache)
