"""Clients with their sessions, owners, opens and locks, as plain records.

clients.py and opens.py hold the tables of them, and change them.

Sources: RFC 7530 9.1 (4.0), RFC 8881 2.10 (sessions), 8.2 (stateids).
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import Final, NamedTuple

from womm.nfs.constants import MAX_U32
from womm.nfs.filesystem import Attributes, File
from womm.nfs.state.locks import Ranges
from womm.nfs.state.recovery import ClientKey
from womm.nfs.status import Status

_STATEID = Struct(">I12s")

Principal = tuple[int, int]
"""The flavor and the uid of a credential: the one that made a client may change it."""


@dataclass(slots=True)
class Slot:
    """One slot of a session's reply cache (RFC 8881 2.10.6.1)."""

    seqid: int = 0
    busy: bool = False
    """Its request is under way."""
    reply: bytes | None = None
    """The answer to `seqid`; None: not kept."""
    digest: int = 0
    """Of the request `seqid`, to tell a retry from another request under its number."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """channel_attrs4 as granted."""

    max_request_bytes: int
    max_response_bytes: int
    max_cached_bytes: int
    max_operations: int
    slots: int


@dataclass(slots=True, eq=False)
class Session:
    sessionid: bytes
    client: "Client"
    limits: ChannelLimits
    slots: list[Slot]

    def __repr__(self) -> str:
        return f"<Session {self.sessionid.hex()} of {self.client!r}, {sum(s.busy for s in self.slots)} busy>"


@dataclass(slots=True, eq=False)
class Client:
    """A client of 4.0 (`minor` 0) or of 4.1 and later (1), confirmed or not."""

    clientid: int
    minor: int
    owner: bytes
    verifier: bytes
    principal: Principal
    expires: float
    """When its lease ends, by the server's clock."""
    confirmed: bool = False
    confirm: bytes = b""
    """4.0: what SETCLIENTID_CONFIRM must bring."""
    sequence: int = 0
    """4.1: of the last CREATE_SESSION."""
    created: bytes | None = None
    """4.1: the result of the last CREATE_SESSION."""
    reclaim_complete: bool = False
    may_reclaim: bool = False
    sessions: dict[bytes, Session] = field(default_factory=dict)
    open_owners: "dict[bytes, OpenOwner]" = field(default_factory=dict)
    lock_owners: "dict[bytes, LockOwner]" = field(default_factory=dict)
    revoked: "dict[FileKey, Open]" = field(default_factory=dict)
    """Delegations that hold no more, until it has freed their stateids."""
    opens: int = 0
    locks: int = 0
    """How many stateids of each kind it has."""
    next_stateid: int = 0
    under_way: int = 0
    """Requests of it that run now: it is not expired meanwhile."""

    @property
    def key(self) -> ClientKey:
        return (self.minor, self.owner)

    @property
    def has_state(self) -> bool:
        return self.opens > 0 or self.locks > 0

    def __repr__(self) -> str:
        return f"<Client {self.clientid:#x} 4.{self.minor} {self.opens} opens {self.locks} locks>"


FileKey = tuple[bytes, bytes]
"""Export and the backend's key."""
ToClose = tuple[bytes, File]
"""Export and file."""


class Stateid(NamedTuple):
    seqid: int
    other: bytes

    def pack(self) -> bytes:
        return _STATEID.pack(self.seqid, self.other)


ANONYMOUS: Final = Stateid(0, bytes(12))
BYPASS: Final = Stateid(MAX_U32, b"\xff" * 12)
CURRENT: Final = Stateid(1, bytes(12))
INVALID: Final = Stateid(MAX_U32, bytes(12))


@dataclass(slots=True, eq=False)
class OpenOwner:
    """open_owner4; for 4.0 also its sequence and the last answer (RFC 7530 9.1.7)."""

    client: Client
    owner: bytes
    seqid: int = 0
    confirmed: bool = False
    reply: "tuple[Status, bytes] | None" = None
    replied: int = 0
    """The operation of `reply`."""
    replay_handle: bytes = b""
    """The current file handle after the OPEN of `reply`."""
    opens: "dict[FileKey, Open]" = field(default_factory=dict)
    busy: bool = False
    closed: bytes = b""
    """4.0: the `other` of the open that its last request has closed, for a retry of it."""


@dataclass(slots=True, eq=False)
class LockOwner:
    """lock_owner4; as OpenOwner for 4.0."""

    client: Client
    owner: bytes
    seqid: int = 0
    reply: "tuple[Status, bytes] | None" = None
    replied: int = 0
    locks: "dict[FileKey, LockState]" = field(default_factory=dict)
    busy: bool = False


@dataclass(slots=True, eq=False)
class FileState:
    """What is open and locked of one file."""

    key: FileKey
    opens: "list[Open]" = field(default_factory=list)
    ranges: "Ranges[LockOwner]" = field(default_factory=Ranges)


@dataclass(slots=True, eq=False)
class Open:
    """One owner's open of one file.

    `combinations` has bit 4 * deny + access of each OPEN, for OPEN_DOWNGRADE.
    """

    other: bytes
    seqid: int
    owner: OpenOwner
    state: FileState
    file: File
    access: int
    deny: int
    combinations: int
    locks: "list[LockState]" = field(default_factory=list)
    openers: tuple[Principal, ...] = ()
    """Their rights were checked when it was opened."""
    version: Attributes | None = None
    """A delegation's: the file as it was when it was given."""

    @property
    def client(self) -> Client:
        return self.owner.client

    @property
    def stateid(self) -> Stateid:
        return Stateid(self.seqid, self.other)

    @property
    def open(self) -> "Open":
        return self


@dataclass(slots=True, eq=False)
class LockState:
    """One owner's locks on one file, under the open that it used first."""

    other: bytes
    seqid: int
    owner: LockOwner
    state: FileState
    open: Open

    @property
    def client(self) -> Client:
        return self.owner.client

    @property
    def stateid(self) -> Stateid:
        return Stateid(self.seqid, self.other)
