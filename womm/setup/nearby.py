"""A cheap look for the container engine, before the first question: nobody shall answer ten for nothing.

womm.image.daemon knows it all, but the import of docker's library takes longer than a question may take.
So this module only finds out where the answer is surely no; then that module says it, and why.
"""

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from womm import places

_ANSWER_S = 1.0


def may_be_there(environ: Mapping[str, str], uid: int) -> bool:
    """Return False if no container engine listens where one would on this machine."""
    host = environ.get("DOCKER_HOST", "")
    if host.startswith("unix://"):
        return _listens(host.removeprefix("unix://"))
    if host or environ.get("DOCKER_CONTEXT") or _has_context(environ):
        return True
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    usual = ("/var/run/docker.sock", f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock")
    return any(map(_listens, (*usual, "/run/podman/podman.sock")))


def _has_context(environ: Mapping[str, str]) -> bool:
    """Return whether the user has chosen another of docker's contexts than the default one, or may have."""
    folder = environ.get("DOCKER_CONFIG") or str((places.home() or Path("/")) / ".docker")
    try:
        return bool(json.loads(Path(folder, "config.json").read_bytes()).get("currentContext"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError):
        return True


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            connection.connect(path)
        except TimeoutError:  # it is busy
            return True
        except (OSError, ValueError):
            return False
    return True
