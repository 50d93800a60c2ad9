"""The seam between the protocol and what is served: `Filesystem`, and the values that cross it.

A backend knows files as `Node`s and never sees paths, file handles, stateids or clients. Every method
raises NFSError, or OSError, which compound.py translates; after an error nothing has changed unless a
method says otherwise. A backend whose storage is away raises NFSError(DELAY) at once instead of waiting.

All methods are called in one event loop; several may run at a time, also on one node. They may be slow,
but then await: where `inline` is true the methods hardly ever suspend, and the server runs them
without a task of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

from womm.nfs.constants import FileType
from womm.nfs.status import Status

# The attributes that `getattr` is to find: a backend may leave out (0) all others.
WANT_TYPE: Final = 1
WANT_CHANGE: Final = 2
WANT_SIZE: Final = 4
WANT_MODE: Final = 8
WANT_LINKS: Final = 16
WANT_OWNER: Final = 32
WANT_SPACE: Final = 64
WANT_TIMES: Final = 128
WANT_DEVICE: Final = 256
WANT_KEY: Final = 512
"""Only for readdir: the keys of the entries."""
WANT_PERMISSION: Final = WANT_TYPE | WANT_MODE | WANT_OWNER


class Attributes(NamedTuple):
    """A file as `getattr` sees it; a field that was not asked for may be 0."""

    kind: FileType
    fileid: int
    """1 to 2**64 - 1, unique in its filesystem at any time."""
    change: int
    """Grows with every change of content or attributes, and never goes back."""
    size: int
    mode: int
    """07777"""
    nlink: int
    uid: int
    gid: int
    used: int
    """Bytes on the disk."""
    major: int
    minor: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The attributes that `setattr` and `create` set; None: leave it. Times in nanoseconds, or "now"."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: "int | Now | None" = None
    mtime_ns: "int | Now | None" = None


class Now:
    """The server's time."""


NOW: Final = Now()
NOTHING: Final = Settings()


class Change(NamedTuple):
    """A directory's `change` before and after; `atomic`: nothing came in between (change_info4)."""

    before: int
    after: int
    atomic: bool


class Space(NamedTuple):
    """Of the whole filesystem; bytes and numbers of files."""

    total_bytes: int
    free_bytes: int
    available_bytes: int
    """For those who are not root."""
    total_files: int
    free_files: int
    available_files: int


class Node(Protocol):
    """A file, directory or other object of a backend, as long as someone holds it.

    Two nodes of one backend are the same file if their keys are equal. `key` is at most 48 bytes, stays
    the same as long as the file exists, over restarts of the server too, and is not used again for another.
    """

    @property
    def key(self) -> bytes: ...

    @property
    def kind(self) -> FileType: ...


class Entry(NamedTuple):
    """One name in a directory, never "." or "..". `cookie` is where to go on after it: 3 to 2**64 - 1."""

    cookie: int
    name: bytes
    key: bytes
    attributes: Attributes | Status
    """A status where the entry has no attributes to see."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of a directory, in the order of the directory."""

    entries: Sequence[Entry]
    eof: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """The properties of a filesystem."""

    max_name_bytes: int = 255
    max_size_bytes: int = 2**63 - 1
    max_links: int = 65000
    symlinks: bool = True
    hard_links: bool = True
    xattrs: bool = False
    exclusive_times: bool = True
    """`create` keeps a verifier in the file's times, which the client then has to set."""
    case_insensitive: bool = False
    time_delta_ns: int = 1


class File(Protocol):
    """An open file: it stays usable when its name is removed, until `Filesystem.close`."""

    @property
    def node(self) -> Node: ...


class Filesystem(Protocol):
    """What a backend does. Names are any bytes but "", ".", "..", and none with / or NUL.

    Nothing follows symbolic links: a link is a file whose content `readlink` gives.
    """

    inline: bool
    limits: Limits

    async def start(self) -> None:
        """Get ready; called once, before everything else."""

    async def stop(self) -> None:
        """Let go of everything; called once, after the last method has returned."""

    def root(self) -> Node:
        """Return the top directory."""

    def find(self, key: bytes) -> Node | None:
        """Return the node of a key if that needs no waiting."""

    async def resolve(self, key: bytes) -> Node:
        """Return the node of a key; STALE when the file is gone, BADHANDLE when this is no key."""

    async def getattr(self, node: Node, want: int) -> Attributes:
        """Return the attributes of WANT_*."""

    async def setattr(self, node: Node, settings: Settings, file: File | None) -> None:
        """Change attributes; a new size counts as a write, through `file` if there is one.

        After an error some of them may have been changed.
        """

    async def lookup(self, directory: Node, name: bytes) -> Node: ...

    async def parent(self, directory: Node) -> Node:
        """Return the directory above; NOENT for the root."""

    async def readdir(self, directory: Node, cookie: int, want: int, count: int) -> Listing:
        """Return about `count` entries after `cookie`; 0 is the beginning.

        A name that is there all the time comes exactly once however the directory changes between calls.
        """

    async def readlink(self, node: Node) -> bytes: ...

    async def create(
        self,
        directory: Node,
        name: bytes,
        settings: Settings,
        *,
        verifier: bytes | None,
        exclusive: bool,
        access: int,
    ) -> tuple[Node, File, Change, bool]:
        """Make a regular file and open it for `access` (SHARE_*); last of the result: was it made now?

        When the name is taken: EXIST if `exclusive` - but with a verifier of 8 bytes, a file that was made
        with the same one and not changed since is opened. Otherwise the file that is there is opened,
        its attributes unchanged. ISDIR or SYMLINK for what is there and no regular file.
        """

    async def mkdir(self, directory: Node, name: bytes, settings: Settings) -> tuple[Node, Change]: ...

    async def symlink(
        self, directory: Node, name: bytes, target: bytes, settings: Settings
    ) -> tuple[Node, Change]: ...

    async def mknod(
        self, directory: Node, name: bytes, kind: FileType, device: tuple[int, int], settings: Settings
    ) -> tuple[Node, Change]: ...

    async def link(self, node: Node, directory: Node, name: bytes) -> Change: ...

    async def remove(self, directory: Node, name: bytes) -> Change:
        """Remove a name; a directory must be empty."""

    async def rename(self, source: Node, old: bytes, target: Node, new: bytes) -> tuple[Change, Change]:
        """Rename, over what `new` is if that is possible, in one step."""

    async def open(self, node: Node, access: int) -> File:
        """Open a regular file for `access` (SHARE_*).

        The caller's rights are checked already. A mode that forbids it to the file's owner is no obstacle: a
        file may be created read-only, written, and opened again after a restart.
        """

    async def close(self, file: File) -> None:
        """Let go of an open file, once what is under way on it is done. Never fails."""

    async def read(self, file: File, offset: int, count: int) -> tuple[bytes, bool]:
        """Return up to `count` bytes, and whether they reach the end of the file."""

    async def write(self, file: File, offset: int, data: memoryview, sync: bool) -> int:
        """Write; with `sync` return when it is on the disk. Return how many bytes, at least 1."""

    async def commit(self, node: Node, file: File | None) -> None:
        """Return when all that was written to the file before is on the disk."""

    async def seek(self, file: File, offset: int, data: bool) -> int | None:
        """Return where the next data or hole begins; None: no more data. NXIO beyond the end."""

    async def allocate(self, file: File, offset: int, length: int) -> None: ...

    async def deallocate(self, file: File, offset: int, length: int) -> None: ...

    async def copy(self, source: File, offset: int, target: File, target_offset: int, count: int) -> int:
        """Copy within the filesystem; return how much, maybe less than `count`; 0: the source's end."""

    async def statfs(self) -> Space: ...

    async def getxattr(self, node: Node, name: bytes) -> bytes: ...

    async def setxattr(self, node: Node, name: bytes, value: bytes, how: int) -> Change:
        """Set a user attribute; how: 0 either, 1 create only, 2 replace only."""

    async def listxattr(self, node: Node) -> Sequence[bytes]: ...

    async def removexattr(self, node: Node, name: bytes) -> Change: ...


@runtime_checkable
class Waits(Protocol):
    """A backend that waits for its disk in the event loop where that delays nobody: a thread costs more."""

    alone: Callable[[], bool]
    """The server sets it before `start`: is the request that runs the last one, of the only busy client?"""
