"""An engine on another machine, by ssh: a socket here that leads there.

Strategy: each connection to the socket starts the user's own `ssh HOST docker system dial-stdio`, as docker's
command line does, with the connection as its stdin and stdout; no byte passes through womm. So the user's
ssh configuration, agent, known hosts and jump hosts count. A login takes about a second, so the first one is
kept for the others, unless the user's configuration keeps one anyway. docker's library has a way of its own,
over paramiko (LGPL): it reads a part of the configuration only, makes every import of the library slower, and
gives an `exec` a channel that is no socket.
"""

import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from womm import programs, words
from womm.errors import ImageError

_CONNECT_S: Final = 30
_END_S: Final = 5.0
_KEPT_S: Final = 60
_SOCKET_BYTES: Final = 100
"""The longest path of a Unix socket that every system takes."""
_SUFFIX: Final = "/kept.0123456789abcdef"
"""What ssh and womm add to the folder's path."""


def command(url: str) -> list[str]:
    """Return the command that connects stdin and stdout to the engine of `ssh://[USER@]HOST[:PORT][/SOCKET]`.

    Raises ImageError.
    """
    login, path = _parts(url)
    ssh = programs.which("ssh")
    if ssh is None:
        raise ImageError(f"ssh is needed for {words.name(url)}", "sudo apt-get install openssh-client")
    there = ["docker", *([f"--host=unix://{path}"] if path else []), "system", "dial-stdio"]
    return [ssh, "-T", "-o", f"ConnectTimeout={_CONNECT_S}", *login, shlex.join(there)]


def by_hand(url: str) -> str:
    """Return what a user types to reach the other machine; a command for it follows."""
    login, _ = _parts(url)
    return shlex.join(["ssh", *login])


def _parts(url: str) -> tuple[list[str], str]:
    """Return the words that ssh needs for the login, and the path of the engine's socket if it is named."""
    try:
        parts = urlsplit(url)
        user, host, port = parts.username or "", parts.hostname or "", parts.port
    except ValueError:
        user, host, port = "", "", None
    if not host or host.startswith("-") or user.startswith("-"):
        raise ImageError(f"{words.name(url)} names no machine", "export DOCKER_HOST=ssh://USER@HOST")
    options = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    return [*options, "--", host], parts.path.rstrip("/")


@contextmanager
def forwarded(url: str) -> Iterator["Forward"]:
    """Give a socket here that leads to the engine there, until the end of the block. Raises ImageError."""
    argv = command(url)
    with _short_folder() as folder:
        forward = Forward(folder, argv, _Kept.beside(folder, argv))
        try:
            yield forward
        finally:
            forward.close()


@dataclass(frozen=True, slots=True)
class _Kept:
    """The first login, through which the next ones go."""

    options: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    """The command that ends it; empty: there is none."""

    @classmethod
    def beside(cls, folder: Path, argv: Sequence[str]) -> "_Kept":
        """Return how a login is kept in a folder; nothing where the user's configuration says how."""
        ssh, host = argv[0], argv[argv.index("--") : -1]
        try:
            known = subprocess.run(
                [ssh, "-G", *argv[1:-1]], capture_output=True, timeout=_END_S, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return cls()
        if b"\ncontrolpath " in known.lower():
            return cls()
        path = f"ControlPath={folder}/kept"
        # It ends by itself if womm is killed.
        options = ("-o", path, "-o", "ControlMaster=auto", "-o", f"ControlPersist={_KEPT_S}")
        return cls(options, (ssh, "-o", path, "-O", "exit", *host))


@contextmanager
def _short_folder() -> Iterator[Path]:
    """Give a private folder whose path leaves room for a socket."""
    folder = tempfile.mkdtemp(prefix="womm-ssh-")
    if len(os.fsencode(folder)) > _SOCKET_BYTES - len(_SUFFIX):
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="womm-ssh-", dir="/tmp")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Forward(threading.Thread):
    """Starts an ssh for each connection to its socket."""

    def __init__(self, folder: Path, argv: Sequence[str], kept: _Kept) -> None:
        super().__init__(name="womm-ssh", daemon=True)
        self._argv = [argv[0], *kept.options, *argv[1:]]
        self._end = kept.end
        self._errors = open(folder / "errors", "w+b", buffering=0)  # noqa: SIM115 # until close()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen()
        self._wake, self._waker = os.pipe()
        self._children: list[subprocess.Popen[bytes]] = []
        self.url = f"unix://{folder}/socket"
        self.start()

    def complaint(self) -> str:
        """Return what ssh, or docker there, said last; empty: nothing."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return words.line(lines[-1].strip()) if lines else ""

    def run(self) -> None:
        while self._wake not in select.select([self._listener.fileno(), self._wake], [], [])[0]:
            connection, _ = self._listener.accept()
            try:
                self._start(connection)
            except OSError as exc:  # the client sees its connection end
                self._errors.write(f"ssh does not start: {words.cause(exc)}\n".encode())
            finally:
                connection.close()

    def _start(self, connection: socket.socket) -> None:
        child = subprocess.Popen(
            self._argv,
            stdin=connection.fileno(),
            stdout=connection.fileno(),
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is womm's, which ends the connections in order
        )
        self._children.append(child)

    def close(self) -> None:
        os.write(self._waker, b"x")
        self.join()
        for child in self._children:
            child.send_signal(signal.SIGTERM)
        for child in self._children:
            try:
                child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._end:
            try:
                subprocess.run(self._end, capture_output=True, timeout=_END_S, check=False)
            except (OSError, subprocess.TimeoutExpired):  # then it ends by itself
                pass
        self._listener.close()
        self._errors.close()
        os.close(self._wake)
        os.close(self._waker)
