"""Where womm looks for the container engine, in which order."""

import hashlib
import json
import os

import pytest

from womm.errors import ImageError
from womm.image.endpoint import Endpoint, find, usual


@pytest.fixture
def docker_config(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def make_context(folder, name, host):
    place = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    place.mkdir(parents=True)
    metadata = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
    (place / "meta.json").write_text(json.dumps(metadata))
    (folder / "config.json").write_text(json.dumps({"currentContext": name}))


def test_usual_sockets_are_dockers_then_those_of_the_user(docker_config):
    found = find({"XDG_RUNTIME_DIR": "/run/me", "DOCKER_HOST": "", "DOCKER_CONTEXT": ""}, 1000)
    assert [(one.socket, one.source) for one in found] == [
        ("/var/run/docker.sock", "the usual socket"),
        ("/run/me/docker.sock", "rootless docker's socket"),
        ("/run/me/podman/podman.sock", "podman's socket"),
        ("/run/podman/podman.sock", "podman's socket"),
    ]
    assert usual({}, 7)[1].socket == "/run/user/7/docker.sock"
    assert usual({}, 0)[2].socket == "/run/podman/podman.sock"


def test_host_of_the_environment_goes_before_the_current_context(docker_config):
    make_context(docker_config, "office", "ssh://me@office")
    assert find({}, 0) == [Endpoint("ssh://me@office", "context office")]
    assert find({"DOCKER_HOST": "unix:///x"}, 0) == [Endpoint("unix:///x", "DOCKER_HOST")]
    assert find({"DOCKER_CONTEXT": "default"}, 0) == usual({}, 0)


def test_context_that_names_no_engine_is_an_error_and_not_the_usual_socket(docker_config):
    with pytest.raises(ImageError, match="context gone names no engine"):
        find({"DOCKER_CONTEXT": "gone"}, 0)
    make_context(docker_config, "broken", "unix:///x")
    next(docker_config.rglob("meta.json")).write_text("{")
    with pytest.raises(ImageError, match="context broken cannot be read"):
        find({}, 0)


def test_certificates_that_are_missing_are_told(docker_config, tmp_path):
    with pytest.raises(ImageError, match="DOCKER_CERT_PATH"):
        find({"DOCKER_HOST": "tcp://x:2376", "DOCKER_CERT_PATH": str(tmp_path / "none")}, os.getuid())


@pytest.mark.parametrize(
    ("url", "socket", "is_remote"),
    [
        ("unix:///run/x", "/run/x", False),
        ("http+unix:///run/x", "/run/x", False),
        ("tcp://127.0.0.1:2375", "", True),
        ("127.0.0.1:2375", "", True),
        ("ssh://me@office", "", True),
    ],
)
def test_only_a_socket_is_of_this_machine_for_sure(url, socket, is_remote):
    endpoint = Endpoint(url, "DOCKER_HOST")
    assert (endpoint.socket, endpoint.is_remote) == (socket, is_remote)
