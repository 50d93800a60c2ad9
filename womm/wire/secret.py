"""The task's secret: files in the file server's pod, by which it and the user's machine know each other.

Every share has an export and an identity; the two keys are the lazy share's, and made where asyncssh is.
"""

import re
import secrets
from pathlib import Path
from typing import Final

from womm.errors import WommError

HOST_KEY: Final = "host_key.pub"
"""The user's machine proves itself by it."""
CLIENT_KEY: Final = "client_key"
"""The file server proves itself by it."""
EXPORT: Final = "export"
IDENTITY: Final = "identity"

_EXPORT_BYTES: Final = 16
_IDENTITY_BYTES: Final = 48
"""See womm.nfs.state.recovery."""


def nfs_secret() -> dict[str, bytes]:
    """Return a new export and identity for one task, in hex, by their names (see ShareSpec.secret).

    `export`: the 128 bits that name the export; `identity`: what file handles are sealed with, so that a
    server whose pod is lost is followed by one that its clients take for the same.
    """
    sizes = {EXPORT: _EXPORT_BYTES, IDENTITY: _IDENTITY_BYTES}
    return {name: secrets.token_hex(size).encode("ascii") for name, size in sizes.items()}


def export_path(secret: Path) -> str:
    """Return the export's path from the folder of the secret. Raises WommError."""
    try:
        digits = (secret / EXPORT).read_text().strip()
    except OSError as exc:
        raise WommError(f"{secret / EXPORT}: {exc.strerror}") from exc
    if not re.fullmatch(f"[0-9a-f]{{{2 * _EXPORT_BYTES}}}", digits):
        raise WommError(f"{secret / EXPORT} does not hold {2 * _EXPORT_BYTES} hex digits")
    return f"/womm-{digits}"


def identity(secret: Path) -> bytes | None:
    """Return who this server is, whatever becomes of its disk; None: nobody has said. Raises WommError."""
    try:
        return bytes.fromhex((secret / IDENTITY).read_text().strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise WommError(f"{secret / IDENTITY}: {exc}") from exc
