"""What a server may be given: where it listens, how long state lives, what clients may take."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from womm.nfs.attributes import MAX_IO_BYTES

LEASE_S: Final = 90.0
"""With 10 s a freeze of the server of 30 s gave EIO to programs (measured on another server)."""
COURTESY_S: Final = 3600.0
"""A client whose lease is over keeps its state so long, unless another one wants what it holds."""
OVERHEAD_BYTES: Final = 4096
"""What a request or a reply has besides the data of one READ or WRITE."""


@dataclass(frozen=True, slots=True)
class StateLimits:
    """How much may be remembered."""

    clients: int = 1024
    sessions: int = 16
    """Per client."""
    slots: int = 64
    """Per session."""
    opens: int = 65536
    locks: int = 65536
    owners: int = 65536
    """Per client."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take of the server."""

    connections: int = 1024
    record_bytes: int = MAX_IO_BYTES + 2 * OVERHEAD_BYTES
    requests: int = 64
    """Under way at a time on one connection; then it is not read from."""
    memory_bytes: int = 64 << 20
    """Of records that are not complete, all connections together."""
    write_buffer_bytes: int = 4 << 20
    """Replies that a client has not read; then it is not read from either."""
    stall_s: float = 60.0
    """How long a record may be incomplete, or replies unread."""
    handles: int = 32768
    """So many file handles are remembered with their files; others are looked for again."""
    state: StateLimits = field(default_factory=StateLimits)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where a server listens, who it is after a restart, how long state lives, and its limits."""

    host: str | None = "127.0.0.1"
    """None: all addresses."""
    port: int = 2049
    """0: any that is free, see `Server.port`."""
    state_file: Path | None = None
    """Keeps the instance's identity and who may reclaim over restarts; without one every start is a new
    instance, and file handles of the last one are stale."""
    identity: bytes | None = None
    """48 secret bytes by which a server without its state file is the one that it was, for file handles."""
    lease_s: float = LEASE_S
    grace_s: float | None = None
    """None: as long as the lease."""
    courtesy_s: float = COURTESY_S
    limits: Limits = field(default_factory=Limits)
