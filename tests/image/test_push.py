"""Push and pull through a real docker to a real registry, and through a proxy that has every fault."""

import json
import os
import signal
import socket
import threading

import pytest

from tests.image.registry import PASSWORD, USER
from womm.errors import ImageError
from womm.image.progress import Progress
from womm.image.push import digest_in_registry, platforms, pull, push

pytestmark = pytest.mark.slow


def test_push_gives_the_digest_that_the_registry_has(pusher, registry):
    daemon, repository = pusher.daemon, pusher.image(registry.host)
    assert digest_in_registry(daemon, f"{repository}:1") is None
    digest = pusher.push(repository)
    assert digest == registry.digest(repository.partition("/")[2], "1")
    assert digest_in_registry(daemon, f"{repository}:1") == digest
    assert platforms(daemon, f"{repository}@{digest}") == (f"linux/{daemon.architecture}",)
    assert [line for line in pusher.said if line.endswith(": Pushed")]


def test_second_push_sends_nothing_and_a_changed_image_its_new_layer_alone(pusher, proxy):
    repository = pusher.image(proxy.host, 5_000_000)
    pusher.push(repository)
    assert 5_000_000 < proxy.uploaded < 5_100_000
    proxy.uploaded = 0
    pusher.said.clear()
    pusher.push(repository)
    assert proxy.uploaded == 0
    assert [line for line in pusher.said if line.endswith(": Layer already exists")]
    pusher.change(repository, 300_000)
    pusher.push(repository)
    assert 300_000 < proxy.uploaded < 310_000  # its configuration, too


def test_pull_brings_a_missing_image_with_progress(pusher, registry):
    daemon, repository = pusher.daemon, pusher.image(registry.host)
    digest = pusher.push(repository)
    daemon.client.images.remove(f"{repository}:1")
    for name in (f"{repository}@{digest}", f"{repository}:1"):
        pull(daemon, name, pusher.progress)
        assert daemon.client.images.get(name).attrs["RepoDigests"] == [f"{repository}@{digest}"]
    assert [line for line in pusher.said if line.endswith(": Pull complete")]


def test_pull_of_an_image_that_the_registry_lacks_is_told(pusher, registry):
    with pytest.raises(ImageError, match=r"/none:1 cannot be pulled: there is no such image"):
        pull(pusher.daemon, f"{registry.host}/none:1", pusher.progress)


def test_login_is_wanted_then_refused_then_taken(pusher, private_registry):
    host = private_registry.host
    repository = pusher.image(host)
    with pytest.raises(ImageError, match=f"cannot be pushed: {host} wants a login") as none:
        pusher.push(repository)
    assert none.value.hint == f"docker login {host}"
    pusher.log_in(host, "wrong")
    with pytest.raises(ImageError, match="does not accept the login"):
        pusher.push(repository)
    pusher.log_in(host)
    assert pusher.push(repository) == private_registry.digest(repository.partition("/")[2], "1", login=True)


def test_login_of_a_credential_helper_is_used(pusher, private_registry, tmp_path, monkeypatch):
    repository = pusher.image(private_registry.host)
    pusher.configure({"credHelpers": {private_registry.host: "tests"}})
    with pytest.raises(ImageError, match="docker-credential-tests not installed") as missing:
        pusher.push(repository)
    assert str(pusher.config / "config.json") in (missing.value.hint or "")
    helper = tmp_path / "docker-credential-tests"
    answer = json.dumps({"ServerURL": private_registry.host, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    pusher.configure({"credHelpers": {private_registry.host: "tests"}})
    assert pusher.push(repository).startswith("sha256:")


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (401, "wants a login"),
        (403, "you have no right to push there"),
        (500, "has failed"),
    ],
)
def test_registry_that_refuses_is_told_apart(pusher, proxy, status, meaning):
    repository = pusher.image(proxy.host)
    proxy.refuse("PUT", status, path="/manifests/")  # docker tries a layer again for 50 s
    with pytest.raises(ImageError) as raised:
        pusher.push(repository)
    assert meaning in raised.value.message
    assert "\n" not in raised.value.message
    assert digest_in_registry(pusher.daemon, f"{repository}:1") is None


def test_registry_that_is_away_is_told(pusher):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        repository = pusher.image(host)
        for work in (
            lambda: pusher.push(repository),
            lambda: pull(pusher.daemon, f"{repository}:2", pusher.progress),
            lambda: digest_in_registry(pusher.daemon, f"{repository}:1"),
        ):
            with pytest.raises(ImageError, match=f"{host} cannot be reached") as raised:
                work()
            assert (raised.value.hint or "").startswith(f"curl -sS {host}/v2/")


def test_connection_that_breaks_off_once_is_tried_again(pusher, proxy):
    repository = pusher.image(proxy.host, 1_000_000)
    proxy.cut_after = 500_000
    pusher.push(repository)
    assert [line for line in pusher.said if "Retrying in" in line]
    assert len(proxy.pushed()) == 1


def test_stall_is_told_and_the_push_goes_on(pusher, proxy):
    repository = pusher.image(proxy.host, 1_000_000)
    proxy.hold_after(500_000)
    stalls = []

    def say(text):
        if "nothing has moved" in text:
            stalls.append(text)
            proxy.go_on()

    push(pusher.daemon, repository, "1", Progress(say, stall_s=0.5))
    assert stalls and f"waiting for {proxy.host}" in stalls[0]
    assert len(proxy.pushed()) == 1


def test_ctrl_c_ends_a_push_and_the_next_one_works(pusher, proxy):
    repository = pusher.image(proxy.host, 3_000_000)
    proxy.hold_after(1_000_000)

    ended = threading.Event()

    def interrupt():
        proxy.wait_for(1_000_000)
        # Python sees a signal that comes just before it waits only at the next one.
        while not ended.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            ended.wait(5)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        try:
            pusher.push(repository)
        finally:
            ended.set()
    thread.join()
    proxy.go_on()
    assert proxy.pushed() == []
    pusher.push(repository)
    assert len(proxy.pushed()) == 1
