"""An engine by ssh: the command, and a real ssh and sshd with docker behind."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.image.conftest import archive
from womm.errors import ImageError
from womm.image import ssh
from womm.image.daemon import connect
from womm.image.endpoint import Endpoint

SSHD_RUN = Path("/run/sshd")
NEED = "docker is needed for the testbed"


@pytest.mark.parametrize(
    ("url", "login", "there"),
    [
        ("ssh://office", ["--", "office"], "docker system dial-stdio"),
        ("ssh://me@office:2222", ["-l", "me", "-p", "2222", "--", "office"], "docker system dial-stdio"),
        ("ssh://office/run/d k", ["--", "office"], "docker '--host=unix:///run/d k' system dial-stdio"),
    ],
)
def test_command_is_that_of_dockers_own_command_line(url, login, there):
    assert ssh.command(url)[1:] == ["-T", "-o", "ConnectTimeout=30", *login, there]


@pytest.mark.parametrize("url", ["ssh://", "ssh://-oProxyCommand=x", "ssh://-x@office", "ssh://office:port"])
def test_address_that_is_no_machine_is_refused(url):
    with pytest.raises(ImageError, match="names no machine"):
        ssh.command(url)


@pytest.fixture
def sshd(tmp_path, monkeypatch):
    """Put an ssh first in PATH that reaches a real sshd of this test; no port is opened."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if os.geteuid() or program is None or shutil.which("docker") is None:
        pytest.skip("needs root, sshd and docker's command line")
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    config = f"HostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\nStrictModes no\nUsePAM no\n"
    (tmp_path / "sshd_config").write_text(f"{config}PermitRootLogin prohibit-password\nLogLevel ERROR\n")
    (tmp_path / "known_hosts").write_text("office " + (tmp_path / "host.pub").read_text())
    options = {
        "ProxyCommand": f"{program} -i -f {tmp_path}/sshd_config",
        "IdentityFile": f"{tmp_path}/user",
        "UserKnownHostsFile": f"{tmp_path}/known_hosts",
        "BatchMode": "yes",
    }
    lines = [f"{name} {value}\n" for name, value in options.items()]
    (tmp_path / "ssh_config").write_text("".join(lines))
    first = tmp_path / "bin" / "ssh"
    first.parent.mkdir()
    first.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/ssh_config "$@"\n')
    first.chmod(0o755)
    monkeypatch.setenv("PATH", f"{first.parent}:{os.environ['PATH']}")
    made = not SSHD_RUN.exists()
    SSHD_RUN.mkdir(mode=0o755, exist_ok=True)  # sshd insists on it; packages leave it to the service manager
    yield tmp_path
    if made:
        SSHD_RUN.rmdir()


@pytest.mark.slow
def test_engine_on_another_machine_is_reached_by_ssh(own_docker, sshd):
    url = "ssh://root@office" + own_docker.host.removeprefix("unix://")
    with connect(NEED, endpoints=[Endpoint(url, "DOCKER_HOST")]) as daemon:
        assert daemon.is_remote and daemon.host == url
        assert not daemon.can_mount_host
        assert daemon.client.api.images() is not None
        stream = daemon.client.api.events(filters={"type": "image"})  # a second connection meanwhile
        daemon.client.api.import_image_from_data(archive(1000), repository="by-ssh", tag="1")
        assert b"by-ssh:1" in next(iter(stream))
        stream.close()
        daemon.client.images.remove("by-ssh:1")


@pytest.mark.slow
def test_machine_that_refuses_the_login_is_told_in_the_words_of_ssh(sshd):
    (sshd / "user.pub").write_text("")
    with (
        pytest.raises(ImageError) as raised,
        connect(NEED, endpoints=[Endpoint("ssh://root@office", "context office")]),
    ):
        raise AssertionError
    assert raised.value.message.startswith(
        f"{NEED}, and ssh://root@office (context office) does not give it: "
    )
    assert "Permission denied" in raised.value.message
    assert (raised.value.hint or "").startswith("ssh -l root -- office docker version")
