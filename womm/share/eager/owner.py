"""Tells the file server of an eager share who owns its files, by a command in its pod."""

import asyncio
from typing import Final

from womm.errors import ShareError
from womm.link.frames import User
from womm.share.eager.stream import ExecDial

RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 5.0)


class _Said(asyncio.Protocol):
    """Collects the output of a command until it ends."""

    def __init__(self) -> None:
        self.text = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.text += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def tell_owner(exec_dial: ExecDial, state: str, user: User) -> None:
    """Return when the file server with `--state` at `state` knows the owner. Raises ShareError."""
    command = ["python3", "-m", "womm.fileserver.owner", state, str(user.uid), str(user.gid)]
    reason = ""
    for delay_s in (*RETRY_DELAYS_S, None):
        said = _Said()
        try:
            await exec_dial(command)(lambda said=said: said)  # type: ignore[misc]
            await said.ended
            if b"taken" in said.text:
                return
            reason = "it does not take it"
        except OSError as exc:
            reason = str(exc)
        if delay_s is not None:
            await asyncio.sleep(delay_s)
    raise ShareError(f"the file server does not take uid {user.uid} as the owner of files: {reason}")
