"""Where the container engine listens: what the user has chosen, else the sockets that engines usually have.

The order is that of docker's own command line: DOCKER_HOST, then the context (DOCKER_CONTEXT, or the one
that `docker context use` has chosen), then the usual socket. Where nobody has chosen, rootless docker's and
podman's sockets follow.
"""

import grp
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import docker.errors
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.utils import kwargs_from_env

from womm import words
from womm.errors import ImageError

_UNIX: Final = "unix://"
_LOCAL: Final = ("unix", "http+unix")
USUAL: Final = "the usual socket"
ROOTLESS: Final = "rootless docker's socket"
PODMAN: Final = "podman's socket"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address at which an engine may listen."""

    url: str
    """As in DOCKER_HOST."""
    source: str
    """Where womm has it from: `DOCKER_HOST`, `context NAME`, `the usual socket` and the like."""
    tls: Any = None
    """docker's TLSConfig; None: none, or what the URL says."""

    @property
    def is_remote(self) -> bool:
        """Whether the engine may be another machine's: it would bind that machine's folders."""
        return bool(self.scheme) and self.scheme not in _LOCAL

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0] if "://" in self.url else "tcp" if self.url[:1] != "/" else ""

    @property
    def socket(self) -> str:
        """The path of its Unix socket; empty: it has none."""
        if self.is_remote:
            return ""
        path = self.url.rpartition("://")[2]
        return path if path.startswith("/") else f"/{path}"


def find(environ: Mapping[str, str], uid: int) -> list[Endpoint]:
    """Return the addresses to try, in order. One that the user has chosen is the only one.

    Raises ImageError when the choice names nothing.
    """
    chosen = _of_environment(environ) or _of_context(environ)
    return [chosen] if chosen is not None else usual(environ, uid)


def usual(environ: Mapping[str, str], uid: int) -> list[Endpoint]:
    """Return the sockets of an engine that runs as root, then those of this user's own."""
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    rootless = [Endpoint(f"{_UNIX}{runtime}/docker.sock", ROOTLESS)]
    podman = [f"{runtime}/podman/podman.sock", "/run/podman/podman.sock"]
    if uid == 0:
        podman.reverse()
    return [
        Endpoint(f"{_UNIX}/var/run/docker.sock", USUAL),
        *rootless,
        *(Endpoint(_UNIX + path, PODMAN) for path in podman),
    ]


def _of_environment(environ: Mapping[str, str]) -> Endpoint | None:
    host = environ.get("DOCKER_HOST")
    if not host:
        return None
    try:
        tls = kwargs_from_env(environ).get("tls")
    except docker.errors.DockerException as exc:
        raise ImageError(
            f"DOCKER_CERT_PATH does not hold what docker needs: {words.cause(exc)}", "ls -l $DOCKER_CERT_PATH"
        ) from exc
    return Endpoint(host, "DOCKER_HOST", tls)


def _of_context(environ: Mapping[str, str]) -> Endpoint | None:
    """Return the engine of docker's current context; None: it is the default one."""
    name = environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if not name or name == "default":
        return None
    shown = words.name(name)
    try:
        context = ContextAPI.get_context(name)
        host = str(context.Host or "") if context is not None else ""
        tls = context.TLSConfig if context is not None else None
    # The library raises a bare Exception for a damaged file.
    except Exception as exc:
        raise ImageError(
            f"docker's context {shown} cannot be read: {words.cause(exc)}", f"docker context inspect {shown}"
        ) from exc
    if not host:
        # docker's library would take the usual socket without a word.
        raise ImageError(
            f"docker's context {shown} names no engine", "docker context ls; docker context use default"
        )
    return Endpoint(host, f"context {shown}", tls)


def socket_group(path: str) -> str:
    """Return the group whose members may use a socket; empty: no group may, or it cannot be seen."""
    try:
        found = os.stat(path)
        name = grp.getgrgid(found.st_gid).gr_name
    except (OSError, KeyError):
        return ""
    return name if found.st_mode & 0o060 == 0o060 and name != "root" else ""
