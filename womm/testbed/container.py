"""The testbed's container: programs that run in it, and what it has changed. womm.testbed.opening makes it.

Strategy: the container's own program only holds it open (commit.holder). Everything else is an `exec` as
root, with the environment and the folder given each time, so that the commit has nothing of womm's to forget.
Root is uid 0, whatever user the image names.
"""

import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import docker.errors

from womm.errors import ImageError
from womm.image.bases import Base
from womm.image.daemon import NOT_DONE, Daemon, failed, shown
from womm.testbed.streams import STDOUT, Process

SHELL_FOLDER: Final = "/dev/womm"
"""Where the container sees `State.shared`: docker's /dev is no part of the image."""
HOST_ROOT: Final = "/mnt"
_ROOT: Final = "0"
_KILLED: Final = 128 + 9
_NOT_STARTED_STATUS: Final = frozenset([126, 127])
_CONTAINERS_END_S: Final = 1.0
"""How much later than the end of its last program a container's end may be known."""
_LOOK_S: Final = 0.05
_NOT_STARTED: Final = b"OCI runtime exec failed"
"""So begins what docker writes in the place of the output of a program that it cannot start."""
_NO_DETACHING: Final = "ctrl-@,ctrl-_,ctrl-@,ctrl-_,ctrl-@,ctrl-_"
"""Docker's keys for leaving a terminal would else be Ctrl-P, Ctrl-Q: it holds each Ctrl-P back."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has run in the container."""

    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """A path that the container's layer has (kind A: added, C: changed) or hides (D: deleted)."""

    kind: str
    path: str


class Testbed:
    """A container of the base image that runs. Every method raises ImageError."""

    __test__ = False  # for pytest, which takes every Test* for tests

    def __init__(self, daemon: Daemon, base: Base, name: str, container_id: str, folder: Path | None) -> None:
        """folder: the project's, mounted at its own path; None: the engine is on another machine."""
        self.daemon = daemon
        self.base = base
        self.name = name
        self.id = container_id
        self.folder = folder
        self.kept = False

    def __repr__(self) -> str:
        return f"Testbed({self.name} of {self.base.name} at {self.daemon.host})"

    @property
    def has_shell_folder(self) -> bool:
        """Whether `State.shared` is mounted at SHELL_FOLDER; else files go in and out by `run`."""
        return not self.daemon.is_remote

    def keep(self) -> None:
        """Leave the container to the next `womm setup`, which goes on in it."""
        self.kept = True

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: bool = False,
        tty: bool = False,
    ) -> Process:
        """Start a program as root; use the result in a `with`.

        env: in addition to the image's, and to the proxies of docker's configuration, as `docker run` has it.
        The words must be UTF-8: other bytes go in by stdin. When a program cannot be started the status is
        126 or 127, and the engine's words come on STDOUT.
        """
        api, keys = self.daemon.client.api, _NO_DETACHING if tty else None
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        settings = api._proxy_configs.inject_proxy_environment(settings)
        try:
            made = api.exec_create(
                self.id,
                list(argv),
                user=_ROOT,
                environment=settings,
                workdir=cwd,
                stdin=stdin,
                tty=tty,
                detach_keys=keys,
            )
        except NOT_DONE as exc:
            raise self._failed(exc) from exc
        return Process(self.daemon, made["Id"], tty=tty, failed=self._failed)

    def output(
        self,
        argv: Sequence[str],
        take: Callable[[bytes], None],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> Finished:
        """Run a program to its end, as `run`, and pass its stdout on in pieces as they come."""
        errors = bytearray()
        command = list(argv)
        if stdin and self.daemon.client.api.base_url.startswith("https"):
            # A TLS connection cannot tell the end of the input: count it.
            command = ["sh", "-c", 'n=$1; shift; head -c "$n" | "$@"', "sh", str(len(stdin)), *argv]
        with self.start(command, env=env, cwd=cwd, stdin=bool(stdin)) as process:
            process.pump(stdin, lambda stream, data: take(data) if stream == STDOUT else errors.extend(data))
            return Finished(self.status(process), b"", bytes(errors))

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> Finished:
        """Run a program to its end, as `start` says. For output of any size use `output`."""
        out = bytearray()
        finished = self.output(argv, out.extend, stdin=stdin, env=env, cwd=cwd)
        if finished.status in _NOT_STARTED_STATUS and out.startswith(_NOT_STARTED):
            return replace(finished, err=bytes(out))
        return replace(finished, out=bytes(out))

    def stream(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "/") -> int:
        """Run a program without an input, show its output on stderr as it comes, and return its status."""
        # With two streams nobody knows which of two lines came first.
        in_order = ["sh", "-c", 'exec "$@" 2>&1', "sh", *argv]
        with self.start(in_order, env=env, cwd=cwd) as process:
            process.pump(b"", lambda _, data: _show(data))
            return self.status(process)

    def changes(self) -> list[Change]:
        """Return what the container's layer changes in the image, without the mount points.

        Folders above a mount point are left out, too: docker makes them.
        """
        try:
            found = self.daemon.client.api.diff(self.id) or []
        except NOT_DONE as exc:
            raise self._failed(exc) from exc
        made = self._mount_points()
        kinds = ("C", "A", "D")  # as the API numbers them
        return [Change(kinds[one["Kind"]], one["Path"]) for one in found if one["Path"] not in made]

    def _mount_points(self) -> frozenset[str]:
        places = [Path(HOST_ROOT)] if self.daemon.can_mount_host else []
        places += [self.folder] if self.folder is not None else []
        places += (
            [Path("/etc")] if self.daemon.name == "podman" else []
        )  # it mounts its own hosts and mtab there
        return frozenset(str(path) for place in places for path in (place, *place.parents))

    def status(self, process: Process) -> int:
        """Return a program's status once it has ended. Raises ImageError if its container has."""
        status = process.wait()
        if status == _KILLED or status in _NOT_STARTED_STATUS:  # alone, or with the container?
            # The engine tells of the program's end first.
            deadline_s = time.monotonic() + (_CONTAINERS_END_S if status == _KILLED else 0)
            while self._runs():
                if time.monotonic() >= deadline_s:
                    return status
                time.sleep(_LOOK_S)
            raise self._ended()
        return status

    def _runs(self) -> bool:
        try:
            return bool(self.daemon.client.api.inspect_container(self.id)["State"]["Running"])
        except NOT_DONE as exc:
            raise self._failed(exc) from exc

    def _failed(self, exc: BaseException) -> ImageError:
        """Say what an error of the engine means for this container."""
        if isinstance(exc, docker.errors.NotFound):  # the container, or an exec that went with it
            return ImageError(
                f"the testbed's container {self.name} is gone: another program has removed it", "womm setup"
            )
        if isinstance(exc, docker.errors.APIError) and exc.status_code == 409:
            return self._ended()
        return failed(f"the testbed's container {self.name} does not answer", exc, "womm setup")

    def _ended(self) -> ImageError:
        why = why_ended(self.daemon, self.id)
        return ImageError(f"the testbed's container {self.name} has stopped ({why})", "womm setup")


def why_ended(daemon: Daemon, container_id: str) -> str:
    """Return in a few words what a container that has ended leaves behind: its last line, its status."""
    with suppress(*NOT_DONE):
        state = daemon.client.api.inspect_container(container_id)["State"]
        last = daemon.client.api.logs(container_id, tail=1).decode(errors="replace")
        return shown(
            f"{last.strip() or state.get('Error') or 'it was stopped'}, status {state.get('ExitCode')}"
        )
    return "its engine does not say why"


def _show(data: bytes) -> None:
    """Write a program's bytes to stderr, which another program may have made non-blocking."""
    view = memoryview(data)
    sys.stderr.flush()
    # A reader that has gone away must not stop an installation.
    with suppress(OSError):
        while view:
            try:
                view = view[os.write(sys.stderr.fileno(), view) :]
            except BlockingIOError:
                select.select([], [sys.stderr], [])
