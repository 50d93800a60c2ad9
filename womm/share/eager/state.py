"""What is remembered of a store: which one it is, and what both sides have in common."""

import hashlib
import os
from pathlib import Path

from womm.errors import ShareError
from womm.share.eager import manifest
from womm.share.eager.manifest import Ancestor


class StoreLost(ShareError):
    """The store is another one than that which was filled: its disk is lost."""


class StoreState:
    """What is remembered of a store.

    `path`: the file that keeps what both sides have in common, if that is needed later (`lasting`). A mark
    beside it says that a copy has begun and not ended: the store may have what is ours and not noted.
    """

    def __init__(self, path: Path, *, lasting: bool) -> None:
        self.path = path
        self._begun = path.with_name(path.name + ".begun")
        self.lasting = lasting
        self._filled = b""
        self.disks: set[bytes] = set()
        """The stores that have answered since the last push began, as far as stores tell."""

    def exists(self) -> bool:
        return self.path.exists()

    def load(self) -> Ancestor | None:
        """None: there is nothing that can be used."""
        return manifest.load(self.path) if self.lasting else None

    def save(self, ancestor: Ancestor) -> None:
        """Raises OSError."""
        manifest.save(self.path, ancestor)

    @property
    def has_begun(self) -> bool:
        return self._begun.exists()

    def begin(self) -> None:
        """From now on the store may have what is ours and not noted: syncback must leave that alone."""
        if self.lasting:
            self._begun.touch(0o600)

    def end(self, identity: bytes) -> None:
        """The store of this identity is filled, and all of it is noted."""
        self._begun.unlink(missing_ok=True)
        self._filled = identity

    def is_another(self, identity: bytes) -> bool:
        """Is it another store than that which was filled, as far as stores tell?"""
        return identity != self._filled and bool(self._filled)

    def recognize(self, identity: bytes) -> None:
        """Raise StoreLost for another store than that which was filled."""
        if self.is_another(identity):
            raise StoreLost("the disk of the file server is lost, and what jobs have written there with it")

    def forget(self) -> None:
        """Remove what is remembered: there is no store any more."""
        for path in (self.path, self._begun):
            path.unlink(missing_ok=True)


def state_name(folder: Path, store: str) -> str:
    """A name for the state file of a folder and its store."""
    return "eager-" + hashlib.sha256(os.fsencode(folder) + b"\0" + os.fsencode(store)).hexdigest()[:32]
