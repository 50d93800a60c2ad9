"""The container engine on the user's side: how womm reaches it, what it can do, and how it fails.

It is docker or podman, both by docker's API; womm needs no program of theirs. `connect` takes the first that
answers among the addresses of `endpoint.find`. Every other module of this package and of womm/testbed turns
the library's exceptions (NOT_DONE) into words with `failed`.
"""

import errno
import grp
import json
import os
import pwd
import re
import shlex
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import docker
import docker.errors
import requests
import urllib3
from docker.transport import UnixHTTPAdapter

from womm import programs, words
from womm.errors import ImageError
from womm.image import endpoint, ssh
from womm.image.endpoint import Endpoint

NOT_DONE: Final = (
    docker.errors.DockerException,
    docker.errors.StreamParseError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    json.JSONDecodeError,
    OSError,
)
"""What the docker library raises when something does not work."""
OLDEST_API: Final = (1, 40)
"""docker 19.03, podman 3.4: older ones are not tried."""
WAYS: Final = (
    "install docker or podman (sudo apt-get install docker.io); or name an image that is made already: "
    "womm setup --image NAME; or, on a machine with docker: womm setup --dockerfile FILE"
)
"""The ways on for a user without an engine."""
WORDS_LIMIT: Final = 300
"""The longest reason that is quoted, in characters."""
_ANSWER_S: Final = 30.0
"""How long the first answer may take: systemd may start the engine only now."""
_TIMEOUT_S: Final = 600
"""How long any other answer may take: a commit of some gigabytes takes minutes."""
_HOST_MOUNT_API: Final = (1, 44)
_HOST_MOUNT_KERNEL: Final = (5, 12)
"""Since these a mount may be read-only with all that is mounted below it (mount_setattr)."""
_GONE: Final = {errno.ECONNREFUSED, errno.ENOENT, errno.EPIPE, errno.ECONNRESET}
_CUT: Final = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.ProtocolError,
)
_REFUSED: Final = {errno.EACCES, errno.EPERM}
_NO_SPACE: Final = "no space left on device"
_Found = TypeVar("_Found", bound=BaseException)


@dataclass(frozen=True, slots=True)
class Daemon:
    """A container engine that answers."""

    client: Any = field(repr=False)
    """docker.DockerClient."""
    name: str
    """docker or podman."""
    version: str
    host: str
    """Its address, as in DOCKER_HOST."""
    source: str
    """Where womm has the address from: `DOCKER_HOST`, `context NAME`, `the usual socket` and the like."""
    api_version: tuple[int, int]
    is_remote: bool
    """Whether it may be on another machine: it would bind that machine's folders."""
    is_rootless: bool
    """Whether root in its containers is the user outside."""
    architecture: str
    """As images have it: amd64, arm64."""
    can_mount_host: bool
    """Whether it can mount `/` read-only with all that is mounted below it."""

    def __str__(self) -> str:
        """Say which one it is: `docker 20.10.24 at unix:///run/docker.sock (DOCKER_HOST)`."""
        by = "" if self.source == endpoint.USUAL else f" ({self.source})"
        return words.line(f"{self.name} {self.version} at {self.host}{by}")


class _Complaint(OSError):
    """What the other end of an ssh says: more than the connection that has ended does."""

    @property
    def explanation(self) -> str:
        return str(self)


class _OnePool(UnixHTTPAdapter):  # type: ignore[misc] # the library has no annotations
    """Keeps connections for all requests. The library's own adapter makes one for each URL, an ssh each."""

    def get_connection(self, url: str, proxies: object = None) -> Any:
        return super().get_connection("http+docker://localhost", proxies)


@contextmanager
def connect(
    need: str, otherwise: str = WAYS, *, endpoints: Sequence[Endpoint] | None = None
) -> Iterator[Daemon]:
    """Give the container engine that the user has chosen, else the first one that answers.

    need: begins the message where there is none, `docker is needed for the testbed`. otherwise: the hint
    then. endpoints: where to look; None: see endpoint.find. Raises ImageError. The caller says which
    engine it is.
    """
    # docker's library looks for credential helpers in PATH: keep the current folder out of it.
    os.environ["PATH"] = programs.search_path(os.environ)
    tried = endpoint.find(os.environ, os.getuid()) if endpoints is None else endpoints
    failures: list[tuple[Endpoint, Exception]] = []
    for one in tried:
        with ExitStack() as stack:
            try:
                daemon = _open(one, stack)
            except NOT_DONE as exc:
                failures.append((one, exc))
                continue
            if daemon.api_version < OLDEST_API:
                raise _too_old(need, daemon, otherwise)
            yield daemon
            return
    raise _no_engine(need, failures, otherwise)


def failed(doing: str, exc: BaseException, hint: str | None = None) -> ImageError:
    """Return the error for a user. doing: begins the message, `the image x:1 cannot be committed`.

    hint: the next command where the reason does not name a better one.
    """
    if isinstance(exc, ImageError):
        return exc
    if _behind(exc, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
        return ImageError(f"{doing}: the container engine does not answer in time", "docker info")
    found = words.system_error(exc)
    if isinstance(exc, docker.errors.APIError):
        why = words_of(exc)
        if is_disk_full(why):
            return disk_full(doing)
        return ImageError(f"{doing}: {why}", hint)
    if found is not None and found.errno == errno.ENOSPC:
        return ImageError(f"{doing}: {_NO_SPACE}", "df -h")
    gone = found is not None and found.errno in _GONE
    if gone or _behind(exc, _CUT):
        why = words_of(exc) if found is not None else "the connection has ended"
        return ImageError(
            f"{doing}: the container engine has gone away ({why})",
            "docker info; when it answers again, the same command goes on",
        )
    return ImageError(f"{doing}: {words_of(exc)}", hint or "docker info")


def disk_full(doing: str) -> ImageError:
    return ImageError(
        f"{doing}: the disk of the container engine is full ({_NO_SPACE})",
        "docker system df; docker builder prune",
    )


def is_disk_full(text: str) -> bool:
    return _NO_SPACE in text.lower()


def words_of(exc: BaseException) -> str:
    """Return why something failed, in one line: the engine's own words where there are some."""
    explanation = getattr(exc, "explanation", None) or words.cause(exc)
    return shown(str(explanation))


def shown(text: str) -> str:
    """Return a foreign sentence for use in a message."""
    return words.abridged(words.printable(" ".join(text.split())), WORDS_LIMIT)


def _open(one: Endpoint, stack: ExitStack) -> Daemon:
    """Connect; what is opened for it is closed by `stack`. Raises ImageError, NOT_DONE."""
    url, forward = one.url, None
    if one.scheme == "ssh":
        forward = stack.enter_context(ssh.forwarded(one.url))
        url = forward.url
    elif one.socket:
        _knock(one.socket)
    try:
        version, client = _client(url, one.tls, stack, is_forwarded=forward is not None)
        info = client.info() if _api(version) >= OLDEST_API else {}
    except NOT_DONE as exc:
        complaint = forward.complaint() if forward is not None else ""
        if complaint:
            raise _Complaint(complaint) from exc
        raise
    except ValueError as exc:
        raise ImageError(
            f"docker's configuration cannot be read: {words_of(exc)}", "docker logout; docker login"
        ) from exc
    client.api.timeout = _TIMEOUT_S
    return _described(client, one, version, info)


def _client(url: str, tls: Any, stack: ExitStack, *, is_forwarded: bool) -> tuple[Mapping[str, Any], Any]:
    """Return what the engine says of its version, and a client that speaks its version of the API."""

    def client(spoken: str) -> Any:
        # Without a version the library asks by itself, and leaves a connection open when that fails.
        made = docker.DockerClient(base_url=url, version=spoken, tls=tls or False, timeout=_ANSWER_S)
        stack.callback(made.close)
        if is_forwarded:
            made.api.mount("http+docker://", _OnePool(f"http+{url}", _ANSWER_S))
        return made

    oldest = ".".join(map(str, OLDEST_API))
    version: Mapping[str, Any] = client(oldest).api.version(api_version=False)
    return version, client(str(version["ApiVersion"]) if _api(version) > OLDEST_API else oldest)


def _knock(path: str) -> None:
    """Raise the system's own error for a socket at which nobody listens; the library hides it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_S)
        connection.connect(path)


def _described(client: Any, one: Endpoint, version: Mapping[str, Any], info: Mapping[str, Any]) -> Daemon:
    parts = [str(part.get("Name", "")) for part in version.get("Components") or ()]
    podman = any("podman" in part.lower() for part in parts)
    api = _api(version)
    options = map(str, info.get("SecurityOptions") or ())
    rootless = bool(info.get("Rootless")) or any("rootless" in option for option in options)  # podman, docker
    kernel = _numbers(str(info.get("KernelVersion", "")))
    return Daemon(
        client=client,
        name="podman" if podman else "docker",
        version=words.name(str(version.get("Version", "?"))),
        host=words.name(one.url),
        source=one.source,
        api_version=api,
        is_remote=one.is_remote,
        is_rootless=rootless,
        architecture=str(version.get("Arch", "")),
        can_mount_host=not one.is_remote
        and not rootless
        and api >= _HOST_MOUNT_API
        and kernel >= _HOST_MOUNT_KERNEL,
    )


def _api(version: Mapping[str, Any]) -> tuple[int, int]:
    return _numbers(str(version.get("ApiVersion", "")))


def _numbers(version: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _no_engine(need: str, failures: Sequence[tuple[Endpoint, Exception]], otherwise: str) -> ImageError:
    """Return the error for the failure that says most: no right, then nobody listens, then the others."""

    def rank(failure: tuple[Endpoint, Exception]) -> int:
        number = _number(failure[1])
        if number == errno.ENOENT:
            return 3
        return 0 if number in _REFUSED else 1 if number != errno.ECONNREFUSED else 2

    if not failures:
        return ImageError(f"{need}, and there is none here", otherwise)
    one, exc = min(failures, key=rank)
    number = _number(exc)
    at = f"{words.name(one.url)} ({one.source})"
    if one.scheme == "ssh":
        return ImageError(
            f"{need}, and {at} does not give it: {words_of(exc)}",
            f"{ssh.by_hand(one.url)} docker version; {otherwise}",
        )
    if number == errno.ENOENT and len(failures) > 1:
        return ImageError(
            f"{need}, and there is none here: neither docker nor podman listens", _start(otherwise)
        )
    if number in {errno.ENOENT, errno.ECONNREFUSED}:
        return ImageError(f"{need}, and is not running: nobody listens at {at}", _start(otherwise))
    if number in _REFUSED:
        return ImageError(f"{need}, and you may not use {at}", _grant(one.socket))
    if _behind(exc, (docker.errors.InvalidVersion,)):
        return ImageError(f"{need}, and the one at {at} is too old: {words_of(exc)}", otherwise)
    late = _behind(exc, (requests.Timeout, TimeoutError))
    why = f"no answer within {_ANSWER_S:.0f} s" if late else words_of(exc)
    return ImageError(f"{need}, and does not answer at {at}: {why}", f"docker info; {otherwise}")


def _number(exc: Exception) -> int | None:
    """Return the system's number of an error; None: it has none, as errors of TLS, which have their own."""
    found = words.system_error(exc)
    return found.errno if found is not None and not isinstance(found, ssl.SSLError) else None


def _start(otherwise: str) -> str:
    """Return how to start an engine that is installed, else the other ways."""
    if programs.which("dockerd") or programs.which("docker"):
        return f"sudo systemctl start docker; {otherwise}"
    if programs.which("podman"):
        return f"systemctl --user start podman.socket; {otherwise}"
    return otherwise


def _grant(path: str) -> str:
    """Return the commands that give this user the right to use a socket."""
    group = endpoint.socket_group(path)
    if not group:
        return f"ls -l {shlex.quote(path)}; or podman without root: systemctl --user start podman.socket"
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
        member = user in grp.getgrnam(group).gr_mem
    except KeyError:
        user, member = str(os.getuid()), False
    # A login from before the grant does not have the group yet.
    joined = f"newgrp {shlex.quote(group)}"
    return joined if member else f"sudo usermod -aG {shlex.quote(group)} {shlex.quote(user)}; {joined}"


def _too_old(need: str, daemon: Daemon, otherwise: str) -> ImageError:
    has, wants = (".".join(map(str, version)) for version in (daemon.api_version, OLDEST_API))
    return ImageError(f"{need}, and {daemon} is too old: its API is {has}, womm needs {wants}", otherwise)


def _behind(exc: BaseException, kinds: tuple[type[_Found], ...]) -> _Found | None:
    """Return the first exception of these kinds that is behind an exception, or in its arguments."""
    todo, seen = [exc], set[int]()
    while todo:
        one = todo.pop(0)
        if isinstance(one, kinds):
            return one
        if id(one) not in seen:
            seen.add(id(one))
            behind = (*one.args, one.__cause__, one.__context__)
            todo += [other for other in behind if isinstance(other, BaseException)]
    return None
