"""Reaching the container engine: which one is taken, what is known of it, and each way to fail."""

import errno
import grp
import os
import socket
import threading

import docker.errors
import docker.tls
import pytest
import requests
import urllib3

from tests.image import sockets
from womm.errors import ImageError
from womm.image.daemon import NOT_DONE, connect, failed
from womm.image.endpoint import PODMAN, USUAL, Endpoint

NEED = "docker is needed for the testbed"


def unix(path, source=USUAL):
    return Endpoint(f"unix://{path}", source)


@pytest.mark.slow
def test_docker_that_the_environment_names_is_reached_and_described(own_docker, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", own_docker.host)
    with connect(NEED) as daemon:
        assert (daemon.name, daemon.source, daemon.host) == ("docker", "DOCKER_HOST", own_docker.host)
        assert daemon.api_version >= (1, 41)
        assert (daemon.is_remote, daemon.is_rootless) == (False, False)
        assert daemon.architecture in {"amd64", "arm64"}
        assert str(daemon) == f"docker {daemon.version} at {own_docker.host} (DOCKER_HOST)"
        assert daemon.client.api.version()["Version"] == daemon.version


@pytest.mark.slow
def test_first_engine_that_answers_is_taken(own_docker, place):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{place}/stale")
    tried = [unix(place / "none"), unix(place / "stale"), Endpoint(own_docker.host, PODMAN)]
    with connect(NEED, endpoints=tried) as daemon:
        assert daemon.source == PODMAN


def test_no_engine_names_three_ways_on(place):
    with (
        pytest.raises(ImageError) as raised,
        connect(NEED, endpoints=[unix(place / "a"), unix(place / "b", PODMAN)]),
    ):
        raise AssertionError
    assert raised.value.message == f"{NEED}, and there is none here: neither docker nor podman listens"
    for way in ("install docker", "womm setup --image NAME", "womm setup --dockerfile FILE"):
        assert way in (raised.value.hint or "")


def test_engine_that_does_not_run_is_told_with_its_address(place):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{place}/stale")
    for name in ("stale", "none"):
        with pytest.raises(ImageError) as raised, connect(NEED, endpoints=[unix(place / name)]):
            raise AssertionError
        assert f"nobody listens at unix://{place}/{name}" in raised.value.message


def test_socket_without_a_right_names_the_command_that_grants_it(place):
    if os.geteuid():
        pytest.skip("only root can make a socket of another group")
    place.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place}/s")
        listener.listen()
        os.chown(place / "s", 0, grp.getgrnam("adm").gr_gid)
        (place / "s").chmod(0o660)
        tried = [unix(place / "none", PODMAN), unix(place / "s")]
        os.seteuid(65534)
        try:
            with pytest.raises(ImageError) as raised, connect(NEED, endpoints=tried):
                raise AssertionError
        finally:
            os.seteuid(0)
    assert f"you may not use unix://{place}/s" in raised.value.message
    assert raised.value.hint == "sudo usermod -aG adm root; newgrp adm"


def test_tls_that_fails_is_no_missing_right():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        host = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        endpoint = Endpoint(host, "DOCKER_HOST", docker.tls.TLSConfig(verify=False))
        with pytest.raises(ImageError) as refused, connect(NEED, endpoints=[endpoint]):
            raise AssertionError
        thread.join()
    assert refused.value.message.startswith(f"{NEED}, and does not answer at {host} (DOCKER_HOST): ")


def test_engine_that_is_too_old_is_told_with_both_versions(place):
    version = {"Version": "18.06", "ApiVersion": "1.38", "Arch": "amd64"}
    with (
        sockets.answering(place, {"/version": version, "/info": {}}) as host,
        pytest.raises(ImageError) as raised,
        connect(NEED, endpoints=[Endpoint(host, USUAL)]),
    ):
        raise AssertionError
    assert f"docker 18.06 at {host} is too old: its API is 1.38, womm needs 1.40" in raised.value.message


@pytest.mark.parametrize(
    ("change", "can"),
    [
        ({}, True),
        ({"ApiVersion": "1.43"}, False),
        ({"KernelVersion": "5.10.0-1-amd64"}, False),
        ({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, False),
        ({"Rootless": True}, False),
    ],
)
def test_root_of_the_machine_is_mounted_only_where_all_of_it_is_read_only(place, change, can):
    version = {"Version": "29.0", "ApiVersion": "1.52", "Arch": "arm64", **change}
    info = {"KernelVersion": "6.1.0", "SecurityOptions": [], **change}
    with (
        sockets.answering(place, {"/version": version, "/info": info}) as host,
        connect(NEED, endpoints=[Endpoint(host, USUAL)]) as daemon,
    ):
        assert daemon.can_mount_host == can
        assert daemon.is_rootless == bool(change.keys() & {"SecurityOptions", "Rootless"})


def test_podman_is_known_by_its_name(place):
    version = {"Version": "5.4.2", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}
    with (
        sockets.answering(place, {"/version": version, "/info": {}}) as host,
        connect(NEED, endpoints=[Endpoint(host, PODMAN)]) as daemon,
    ):
        assert str(daemon) == f"podman 5.4.2 at {host} (podman's socket)"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_engine_that_dies_midway_is_told(own_docker, place):
    with (
        sockets.wire(place, own_docker.host) as wire,
        connect(NEED, endpoints=[Endpoint(wire.host, USUAL)]) as daemon,
    ):
        assert daemon.client.info()
        wire.cut()
        with pytest.raises(NOT_DONE) as raised:
            daemon.client.info()
    assert "container engine has gone away" in failed("x cannot be committed", raised.value).message


def api_error(status, text):
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError("failed", response, text)


@pytest.mark.parametrize(
    ("exc", "meaning"),
    [
        (api_error(409, "it is\n in use"), "it cannot be done: it is in use"),
        (api_error(500, "write /x: no space left on device"), "the disk of the container engine is full"),
        (OSError(errno.ENOSPC, "no"), "it cannot be done: no space left on device"),
        (requests.ReadTimeout("read timed out"), "does not answer in time"),
        (
            requests.ConnectionError(urllib3.exceptions.ReadTimeoutError(None, "", "timed out")),  # type: ignore[arg-type]
            "does not answer in time",
        ),
        (requests.ConnectionError(ConnectionRefusedError(errno.ECONNREFUSED, "no")), "has gone away"),
        (requests.exceptions.ChunkedEncodingError("broken"), "has gone away"),
        (docker.errors.DockerException("odd"), "it cannot be done: odd"),
        (ImageError("said already"), "said already"),
    ],
)
def test_failure_of_the_library_becomes_a_sentence(exc, meaning):
    found = failed("it cannot be done", exc, "again")
    assert meaning in found.message
    assert "\n" not in found.message
