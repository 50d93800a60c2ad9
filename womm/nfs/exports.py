"""What a server offers: exports, and the tree of names above them (RFC 7530 7.3, RFC 8881 7.3).

Strategy: the pseudo-root is a tiny read-only tree made of the exports' paths. It lists nothing but exports
that are `listed`, and compares names in constant time, so a path can hold a secret: NFS has no other
lock that works without Kerberos.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from womm.nfs.attributes import Describe, pack_id
from womm.nfs.constants import FileType
from womm.nfs.filehandles import EXPORT_BYTES
from womm.nfs.filesystem import Attributes, Entry, Filesystem, Limits, Listing, Node, Space
from womm.nfs.rpc import Credential
from womm.nfs.status import NFSError, Status


@dataclass(frozen=True, slots=True)
class Export:
    """A filesystem and where it is offered.

    `path` begins with "/"; a part of it may be a secret. `owner`: the uid and gid that everything has,
    with chown accepted and forgotten and every caller but root treated as the owner; None: owners as the
    backend has them, callers as they say who they are. `listed`: READDIR of the pseudo-root shows it.
    `constant`: its files stay as they are, so clients need not ask about them again (read delegations). When
    they have changed after all, `Server.no_longer_constant` is to hear of it.
    """

    path: str
    filesystem: Filesystem
    read_only: bool = False
    owner: tuple[int, int] | None = None
    listed: bool = False
    constant: bool = False


class Served:
    """An export in a running server.

    `id` and the fsid come from the instance and the path: they are the same after a restart.
    """

    __slots__ = ("constant", "describe", "export", "fs", "id", "mounted_on", "owner", "read_only")

    def __init__(self, export: Export, instance: bytes, lease_s: int) -> None:
        digest = hashlib.blake2b(export.path.encode(), key=instance, digest_size=EXPORT_BYTES + 16).digest()
        self.export = export
        self.fs = export.filesystem
        self.id = digest[:EXPORT_BYTES]
        self.read_only = export.read_only
        self.constant = export.constant
        self.owner = export.owner
        major = int.from_bytes(digest[EXPORT_BYTES : EXPORT_BYTES + 8], "big") >> 1 or 1
        self.describe = Describe((major, 0), lease_s, export.filesystem.limits, pack_id, pack_id)
        self.mounted_on = 0
        if export.owner is not None:
            self.own(export.owner)

    def __repr__(self) -> str:
        # Not the path: it may be a secret.
        return f"<Served {self.id.hex()} {'ro' if self.read_only else 'rw'} {self.fs!r}>"

    def own(self, owner: tuple[int, int]) -> None:
        """Have everything belong to this uid and gid from now on."""
        uid, gid = pack_id(owner[0]), pack_id(owner[1])
        self.owner = owner
        self.describe.owner, self.describe.group = lambda _: uid, lambda _: gid

    def caller(self, credential: Credential, attributes: Attributes) -> Credential:
        """Return who the caller is on this export, for the mode bits of a file."""
        if self.owner is None or credential.uid == 0:
            return credential
        return Credential(attributes.uid, attributes.gid)


def permitted(caller: Credential, attributes: Attributes, want: int) -> bool:
    """Do the mode bits give the caller `want` (4 read, 2 write, 1 execute)?

    Root may, but executes only what someone may.
    """
    mode = attributes.mode
    if caller.uid == 0:
        return not (want & 1) or attributes.kind == FileType.DIRECTORY or bool(mode & 0o111)
    if caller.uid == attributes.uid:
        bits = mode >> 6
    elif caller.gid == attributes.gid or attributes.gid in caller.gids:
        bits = mode >> 3
    else:
        bits = mode
    return bits & want == want


PSEUDO_ID: Final = bytes(EXPORT_BYTES)


class PseudoNode:
    """A directory above the exports, or the place of one."""

    __slots__ = ("above", "children", "key", "kind", "listed", "served")

    def __init__(self, key: bytes, above: "PseudoNode | None") -> None:
        self.key = key
        self.kind = FileType.DIRECTORY
        self.above = above
        self.children: dict[bytes, PseudoNode] = {}
        self.served: Served | None = None
        self.listed = False


class PseudoFilesystem:
    """The names above the exports; everything that changes something is ROFS (see `Served.read_only`)."""

    inline = True
    limits = Limits()

    def __init__(self, paths: Sequence[tuple[str, Served]]) -> None:
        self._root = PseudoNode(b"/", None)
        self._nodes: dict[bytes, PseudoNode] = {b"/": self._root}
        for path, served in paths:
            self._add(path, served)

    def __repr__(self) -> str:
        return f"<PseudoFilesystem of {len(self._nodes)}>"

    def _add(self, path: str, served: Served) -> None:
        node = self._root
        names = [name.encode() for name in path.split("/") if name]
        if not path.startswith("/") or any(name in (b".", b"..") or b"\0" in name for name in names):
            raise ValueError("an export's path begins with / and has no . or ..")
        so_far = b""
        for name in names:
            if node.served is not None:
                raise ValueError("an export cannot be inside of another one")
            so_far += b"/" + name
            if name not in node.children:
                # Not the name itself: a handle is no place for a secret.
                child = PseudoNode(hashlib.blake2b(so_far, digest_size=16).digest(), node)
                node.children[name] = self._nodes[child.key] = child
            node = node.children[name]
            node.listed |= served.export.listed
        if node.served is not None or node.children:
            raise ValueError("two exports with one path, or one inside of another")
        node.served = served
        served.mounted_on = _fileid(node)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def root(self) -> PseudoNode:
        return self._root

    def find(self, key: bytes) -> PseudoNode | None:
        return self._nodes.get(key)

    async def resolve(self, key: bytes) -> PseudoNode:
        found = self._nodes.get(key)
        if found is None:
            raise NFSError(Status.STALE)
        return found

    async def getattr(self, node: PseudoNode, want: int) -> Attributes:
        return _attributes(node)

    async def lookup(self, directory: PseudoNode, name: bytes) -> PseudoNode:
        found = None
        for known, child in directory.children.items():
            if hmac.compare_digest(known, name):
                found = child  # and go on: the time shall not depend on which one it was
        if found is None:
            raise NFSError(Status.NOENT)
        return found

    async def parent(self, directory: PseudoNode) -> PseudoNode:
        if directory.above is None:
            raise NFSError(Status.NOENT)
        return directory.above

    async def readdir(self, directory: PseudoNode, cookie: int, want: int, count: int) -> Listing:
        listed = [(name, child) for name, child in directory.children.items() if child.listed]
        entries = [
            Entry(3 + index, name, child.key, _attributes(child))
            for index, (name, child) in enumerate(listed)
        ]
        return Listing([entry for entry in entries if entry.cookie > cookie], True)

    async def statfs(self) -> Space:
        return Space(0, 0, 0, 0, 0, 0)


def _fileid(node: Node) -> int:
    return int.from_bytes(hashlib.blake2b(node.key, digest_size=7).digest(), "big") + 1


def _attributes(node: PseudoNode) -> Attributes:
    return Attributes(FileType.DIRECTORY, _fileid(node), 1, 0, 0o555, 2, 0, 0, 0, 0, 0, 0, 0, 0)
