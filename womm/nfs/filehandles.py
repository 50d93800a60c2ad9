"""File handles: unforgeable, and the same after a restart.

A handle is version, export and the backend's key of the file, then a MAC over them under a key that the
state file keeps. So a client can use only what a server of this instance has given out, and nothing in a
handle depends on a process, a device number or an address.
"""

import hashlib
import hmac
from typing import Final

from womm.nfs.constants import FHSIZE
from womm.nfs.status import NFSError, Status

MAC_BYTES: Final = 16
_VERSION: Final = b"\1"
EXPORT_BYTES: Final = 4
KEY_LIMIT: Final = 48


class HandleCodec:
    """Makes and checks file handles with `secret`, of 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._mac = hashlib.blake2b(key=secret, digest_size=MAC_BYTES, person=b"womm-nfs-fh")

    def encode(self, export: bytes, key: bytes) -> bytes:
        """Return the handle of the file `key` in the export whose id has EXPORT_BYTES bytes."""
        body = _VERSION + export + key
        mac = self._mac.copy()
        mac.update(body)
        return body + mac.digest()

    def decode(self, handle: bytes) -> tuple[bytes, bytes]:
        """Return export and key; raises NFSError(BADHANDLE) for what this codec has not made."""
        if not 1 + EXPORT_BYTES + MAC_BYTES < len(handle) <= FHSIZE:
            raise NFSError(Status.BADHANDLE)
        body, given = handle[:-MAC_BYTES], handle[-MAC_BYTES:]
        mac = self._mac.copy()
        mac.update(body)
        if not hmac.compare_digest(mac.digest(), given) or body[:1] != _VERSION:
            raise NFSError(Status.BADHANDLE)
        return body[1 : 1 + EXPORT_BYTES], body[1 + EXPORT_BYTES :]
