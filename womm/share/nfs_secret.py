"""What every kind of share keeps secret of its NFS server; in a module that imports nothing large."""

import secrets
from typing import Final

EXPORT_BYTES: Final = 16
IDENTITY_BYTES: Final = 48
"""See womm.nfs.state.recovery."""


def nfs_secret() -> dict[str, bytes]:
    """Return new ones for one task, in hex, by the names of the file server's files (see ShareSpec.secret).

    `export`: the 128 bits that name the export; `identity`: what file handles are sealed with, so that a
    server whose pod is lost is followed by one that its clients take for the same.
    """
    sizes = {"export": EXPORT_BYTES, "identity": IDENTITY_BYTES}
    return {name: secrets.token_hex(size).encode("ascii") for name, size in sizes.items()}
