"""Visits for the tests: a testbed's shell in a pseudo-terminal, as a user has it, or with pipes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect

from tests.cli import running
from tests.image.dockerd import Docker

VISITOR = Path(__file__).with_name("visitor.py")
UID = 1000
GROUP = 4000
"""Another group of that user."""
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user with a project, a state folder and an engine."""

    docker: Docker
    image: str
    folder: Path
    uid: int = 0

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def shared(self) -> Path:
        """What the container sees as /dev/womm."""
        return next((self.folder / "state" / "womm" / "testbeds").glob("*/shared"))

    def terminal(self, *command: str, **env: str | None) -> "pexpect.spawn[str]":
        """Start a visit in a terminal of 100 columns."""
        return pexpect.spawn(
            sys.executable,
            [str(VISITOR), *command],
            cwd=str(self.project),
            env=self.environment(TERM="xterm-256color", **env),
            timeout=TIMEOUT_S,
            dimensions=(30, 100),
            encoding="utf-8",
        )

    def piped(
        self, *command: str, stdin: bytes = b"", **env: str | None
    ) -> "subprocess.CompletedProcess[bytes]":
        words = [sys.executable, str(VISITOR), *command]
        return subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            check=False,
            cwd=self.project,
            env=self.environment(**env),
            timeout=TIMEOUT_S,
        )

    def result(self) -> dict[str, Any]:
        """Return what came of the last visit: the fields of Visit and more."""
        found: dict[str, Any] = json.loads((self.folder / "result").read_text())
        return found

    def containers(self) -> list[str]:
        """Return the testbeds of this project that are there."""
        client = self.docker.client()
        try:
            found = client.api.containers(all=True)
            return [str(one["Id"]) for one in found if self.shared.parent.name in one["Names"][0]]
        finally:
            client.close()

    def environment(self, **env: str | None) -> dict[str, str]:
        settings = {
            "VISIT_HOST": self.docker.host,
            "VISIT_IMAGE": self.image,
            "VISIT_PROJECT": str(self.project),
            "VISIT_RESULT": str(self.folder / "result"),
            "VISIT_UID": str(self.uid or ""),
            "VISIT_GROUP": str(GROUP),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "DOCKER_CONFIG": str(self.folder),
            "LANG": "C.UTF-8",
            "LC_ALL": None,
            "COLORTERM": None,
        }
        return running.environment(**{**settings, **env})


@contextmanager
def visitor(docker: Docker, image: str, uid: int = 0) -> Iterator[Visitor]:
    """Give a visitor a folder of his own. uid: a user that may use the engine's socket meanwhile."""
    socket = Path(docker.host.removeprefix("unix://"))
    folder = Path(tempfile.mkdtemp(prefix="womm-v-", dir="/tmp"))
    try:
        for path in (folder, folder / "project", folder / "state"):
            path.mkdir(exist_ok=True)
            os.chown(path, uid, uid)
        if uid:
            socket.parent.chmod(0o711)
            socket.chmod(0o666)
        yield Visitor(docker, image, folder, uid)
    finally:
        if uid:
            socket.parent.chmod(0o700)
            socket.chmod(0o600)
        shutil.rmtree(folder)


def settled(child: "pexpect.spawn[str]") -> int:
    """Wait for a visit's end; return its status."""
    child.expect(pexpect.EOF)
    print(child.before)  # a traceback, if there is one
    child.close()
    return int(child.exitstatus if child.exitstatus is not None else 128 + (child.signalstatus or 0))
