"""A docker of the tests' own: a daemon with a private socket, without a network for its containers."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from tests.realcluster.debian import python_layer

START_S = 60.0
STOP_S = 30.0
BASE = "womm-test-python:1"
"""A Debian with python3 and perl-base: what the file server's image is built upon here."""


@dataclass(frozen=True, slots=True)
class Docker:
    host: str
    """As in DOCKER_HOST."""

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.host)


def lacking() -> str:
    """Say in one line what keeps this machine from running a docker of its own; empty: nothing."""
    if not sys.platform.startswith("linux") or os.geteuid():
        return "a docker of the tests' own needs Linux and root"
    return "" if shutil.which("dockerd") else "dockerd is not here: scripts/install gets it on Debian"


@contextmanager
def running(disk: str = "") -> Iterator[Docker]:
    """Start a daemon that knows the image BASE, and remove it afterwards; skips where none can run.

    disk: the size of a disk of its own, such as 500m.
    """
    if why := lacking():
        pytest.skip(why)
    with ExitStack() as stack:
        # Short, for its sockets.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="womm-d-", dir="/tmp")))
        stack.callback(_unmount, folder)
        host = f"unix://{folder}/s"
        if disk:
            (folder / "data").mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={disk}", "none", str(folder / "data")]
            subprocess.run(mount, check=True)
        words = ["dockerd", "--host", host, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/run"]
        words += ["--pidfile", f"{folder}/pid", "--bridge=none", "--iptables=false", "--ip-forward=false"]
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            _wait(process, folder)
            with _import_base(host):
                yield Docker(host)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _unmount(folder: Path) -> None:
    """Unmount what is mounted below a folder: a disk; a network's name, which dockerd leaves."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for path in reversed([path for path in mounted if path.startswith(f"{folder}/")]):
        subprocess.run(["umount", "-l", path], check=True)


def _wait(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "s").exists():
            return
        time.sleep(0.05)
    raise RuntimeError("dockerd does not start:\n" + (folder / "log").read_text()[-2000:])


@contextmanager
def _import_base(host: str) -> Iterator[None]:
    client = docker.DockerClient(base_url=host)
    try:
        repository, _, tag = BASE.partition(":")
        layer = python_layer().read_bytes()
        client.api.import_image_from_data(layer, repository=repository, tag=tag)
        yield
    finally:
        client.close()
