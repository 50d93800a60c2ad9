"""Whose all files are: the user that the workers run as, which is known when the first one is there.

Strategy: it is kept in `owner` in the folder of the state, so that a restarted server knows it before anybody
tells it again. A lazy share's user side tells it over the control channel. To a server of a directory that
has none a program in its pod tells it, this module: it writes `owner.new`, which the server looks for, and
waits until it is taken.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.1
TELL_S: Final = 10.0
_NAME: Final = "owner"
_NEW: Final = "owner.new"


class Owner:
    """The owner as `folder` has it, else `uid` and `gid`. `tell` hears it now, and when it changes."""

    def __init__(self, folder: Path, uid: int, gid: int, tell: Callable[[int, int], None]) -> None:
        self._folder = folder
        self._tell = tell
        self.now = _read(folder / _NAME) or (uid, gid)
        tell(*self.now)

    def __repr__(self) -> str:
        return f"<Owner {self.now[0]}:{self.now[1]}>"

    def set(self, uid: int, gid: int) -> bool:
        """Take another owner; return whether it is another one. Raises ValueError."""
        if not (0 <= uid < 0xFFFFFFFF and 0 <= gid < 0xFFFFFFFF):
            raise ValueError("no uid or gid")
        if (uid, gid) == self.now:
            return False
        self.now = uid, gid
        self._tell(uid, gid)
        with contextlib.suppress(OSError):  # a full disk: whoever told it tells it again
            _write(self._folder / _NAME, uid, gid)
        return True

    async def look(self) -> None:
        """Take what other programs of this pod tell, until it is cancelled."""
        new = self._folder / _NEW
        while True:
            found = _read(new)
            if found is not None:
                self.set(*found)
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            await asyncio.sleep(LOOK_S)


def _read(path: Path) -> tuple[int, int] | None:
    try:
        uid, gid = map(int, path.read_text().split())
    except (OSError, ValueError):
        return None
    return uid, gid


def _write(path: Path, uid: int, gid: int) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(f"{uid} {gid}\n")
    os.replace(part, path)


def main(folder: str, uid: str, gid: str) -> int:
    """Tell the file server that runs with `--state FOLDER`; say `taken`, or return 1."""
    new = Path(folder) / _NEW
    _write(new, int(uid), int(gid))
    ends = time.monotonic() + TELL_S
    while new.exists():
        if time.monotonic() > ends:
            return 1
        time.sleep(LOOK_S / 2)
    sys.stdout.write("taken\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
