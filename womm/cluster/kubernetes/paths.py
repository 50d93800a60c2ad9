"""Where things lie in the pods of a task.

Nothing outside of this package writes such a path: shares get `SHARE_PATHS`.
"""

from typing import Final

from womm.cluster.base import SharePaths

ROOT: Final = "/womm"
"""Everything of womm's in a pod lies below it, so no share may be mounted over it (womm.project)."""
SCRIPTS: Final = f"{ROOT}/bin"
"""The perl programs of womm/worker, from a ConfigMap."""
RUN: Final = f"{ROOT}/run"
"""Sockets. A folder in memory with room for 16 MiB."""
AGENT_SOCKET: Final = f"{RUN}/agent"
HEARTBEAT: Final = f"{RUN}/heartbeat"
"""The keeper's agent touches it when it hears the coordinator."""
AGENT_BRIDGE: Final = ("perl", f"{SCRIPTS}/bridge.pl", AGENT_SOCKET)
"""Connects an exec's stdin and stdout to the agent."""

# The rest is the file server's.
LIB: Final = f"{ROOT}/lib"
"""Where the bundle goes if the image has no womm (womm.fileserver.bootstrap). It lasts as long as the pod."""
PYTHONPATH: Final = f"{LIB}/current"
BOOTSTRAP: Final = f"{SCRIPTS}/bootstrap.py"
RUN_SERVER: Final = ("python3", "-I", BOOTSTRAP, "run", LIB)
FILL: Final = ("python3", "-I", BOOTSTRAP, "fill", LIB)
SHARE_SOCKET: Final = f"{RUN}/share"
PROGRAMS_SOCKET: Final = f"{RUN}/programs"
SECRET: Final = f"{ROOT}/secret"
PROGRAMS_SECRET: Final = f"{ROOT}/programs-secret"
STATE: Final = f"{ROOT}/state"
CACHE: Final = f"{ROOT}/cache"
"""A lazy share's blocks."""
PROGRAMS_CACHE: Final = f"{ROOT}/programs-cache"
"""Blocks of this machine's programs."""
STORE: Final = f"{ROOT}/store"
"""An eager share's copy."""


def server_bridge(socket: str, *, has_perl: bool) -> tuple[str, ...]:
    """Return what connects an exec's stdin and stdout to a socket of the file server.

    has_perl: the image is womm's own.
    """
    if has_perl:
        return "perl", f"{SCRIPTS}/bridge.pl", socket
    return "python3", "-I", "-S", BOOTSTRAP, "bridge", socket


SHARE_PATHS: Final = SharePaths(
    store=STORE, state=STATE, copy_into_pod=("perl", f"{SCRIPTS}/copy_into_pod.pl")
)
