"""A podman of the tests' own: its service with a private socket, storage and configuration."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

START_S = 30.0
STOP_S = 20.0
PLAIN = ("127.0.0.1", "localhost")
"""Registries that may speak plain HTTP, on every port; docker takes these two by itself."""


def lacking() -> str:
    """Say in one line what keeps this machine from running a podman of its own; empty: nothing."""
    if not sys.platform.startswith("linux") or os.geteuid():
        return "a podman of the tests' own needs Linux and root"
    return "" if shutil.which("podman") else "podman is not here: scripts/install gets it on Debian"


@contextmanager
def running() -> Iterator[str]:
    """Start the service; give its address, as in DOCKER_HOST. Registries here may speak plain HTTP."""
    if why := lacking():
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="womm-p-", dir="/tmp") as name:  # short, for its socket
        folder = Path(name)
        plain = "".join(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in PLAIN)
        (folder / "registries").write_text(plain)
        (folder / "policy").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/data"\nrunroot = "{folder}/run"\n'
        (folder / "storage").write_text(storage)
        engine = f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\ntmp_dir = "{folder}/tmp"\n'
        # Without the right to raise limits it could start no container: it would ask for 1,048,576 files.
        limits = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        (folder / "conf").write_text(engine + limits)
        environ = {
            **os.environ,
            "CONTAINERS_REGISTRIES_CONF": f"{folder}/registries",
            "CONTAINERS_STORAGE_CONF": f"{folder}/storage",
            "CONTAINERS_CONF": f"{folder}/conf",
            "HOME": name,
        }
        words = ["podman", "system", "service", "--time=0", f"unix://{folder}/s"]
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, env=environ)
        try:
            _wait(process, folder)
            yield f"unix://{folder}/s"
        finally:
            process.terminate()
            process.wait(STOP_S)
            _end_monitors(folder)
            # It mounts the folder of its layers on itself.
            subprocess.run(["umount", f"{folder}/data/overlay"], check=False, capture_output=True)


def _end_monitors(folder: Path) -> None:
    """End the processes that keep the status of each exec for five minutes more."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            words = path.read_bytes().split(b"\0")
            if words[0].endswith(b"conmon") and any(os.fsencode(folder) in word for word in words):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _wait(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "s").exists():
            return
        time.sleep(0.05)
    raise RuntimeError("podman does not start:\n" + (folder / "log").read_text()[-2000:])
