"""What survives a restart: identity, secrets, and who may reclaim (RFC 7530 9.6, RFC 8881 8.4).

Strategy: one small JSON file, replaced in one step and synced, written when a client first gets state, when
it goes, and when a grace period ends. Opens and locks are not in it: their owners bring them back.

A client may reclaim if it had state when the last server ended, and the grace period then was over or it
had reclaimed in it; this rules out both edge conditions of RFC 7530 9.6.3.4.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from womm.nfs.constants import MAX_U32

VERSION: Final = 1
IDENTITY_BYTES: Final = 48


class StateError(Exception):
    """The state file cannot be used: the message names it and says why."""


ClientKey = tuple[int, bytes]
"""1 for a client of 4.1 or later, 0 for one of 4.0; and its own name for itself."""


class Stable:
    """The state file, or with `path` None the same in memory only.

    `boot` counts the starts, from a number that nobody can guess. `random` makes all secrets and identities.

    `identity` (IDENTITY_BYTES, for this server alone) is the server's identity when there is no file: it
    survives the loss of the disk. File handles stay as good as they were; all state of clients is of an
    earlier boot, and is not given back.
    """

    def __init__(
        self, path: Path | None, random: Callable[[int], bytes], identity: bytes | None = None
    ) -> None:
        if identity is not None and len(identity) != IDENTITY_BYTES:
            raise StateError(f"a server's identity has {IDENTITY_BYTES} bytes, not {len(identity)}")
        self.path = path
        # Not 1: a stateid that a client has made up is to be of no boot of ours; and a lost disk may have
        # seen any number of starts.
        self.boot = int.from_bytes(random(4), "big") % (MAX_U32 - 1) + 1
        identity = identity or random(IDENTITY_BYTES)
        self.instance = identity[:16]
        self.secret = identity[16:]
        self.verifier = random(8)
        """The write verifier: another one at every start."""
        self.reclaimers: set[ClientKey] = set()
        """The clients that had state when the last server ended; empty outside of a grace period."""
        self._active: set[ClientKey] = set()
        if path is not None and path.exists():
            self._load(path)
        self._save()

    def _load(self, path: Path) -> None:
        try:
            found = json.loads(path.read_bytes())
            if found["version"] != VERSION:
                raise StateError(f"{path}: version {found['version']!r}, this server knows {VERSION}")
            self.boot = int(found["boot"]) % MAX_U32 + 1
            self.instance = bytes.fromhex(found["instance"])
            self.secret = bytes.fromhex(found["secret"])
            self.reclaimers = {(int(kind), bytes.fromhex(owner)) for kind, owner in found["clients"]}
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise StateError(f"{path}: not a state file of this server: {exc}") from exc
        if len(self.instance) != 16 or len(self.secret) != 32:
            raise StateError(f"{path}: not a state file of this server: a secret is too short")

    def record(self, client: ClientKey) -> None:
        """Note, before a client gets its first open, that it may reclaim after a restart."""
        if client not in self._active:
            self._active.add(client)
            self._save()

    def forget(self, client: ClientKey) -> None:
        """A client is gone, with all its state."""
        if client in self._active:
            self._active.discard(client)
            self._save()

    def end_grace(self) -> None:
        """End the grace period: a client that has not reclaimed by now never may."""
        if self.reclaimers:
            self.reclaimers.clear()
            self._save()

    def _save(self) -> None:
        if self.path is None:
            return
        clients = sorted((kind, owner.hex()) for kind, owner in self._active | self.reclaimers)
        text = json.dumps(
            {
                "version": VERSION,
                "boot": self.boot,
                "instance": self.instance.hex(),
                "secret": self.secret.hex(),
                "clients": clients,
            }
        )
        new = self.path.with_name(self.path.name + ".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(new, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
