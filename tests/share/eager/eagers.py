"""A folder, its store on this machine, and the eager share between them."""

import asyncio
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from womm.share.eager.connection import EagerConnection, store_command
from womm.share.eager.options import EagerOptions
from womm.share.eager.push import PushResult
from womm.share.eager.report import CopyEvents
from womm.share.eager.stream import ExecDial, LocalStore
from womm.share.eager.syncback import PullResult

T = TypeVar("T")
Tree = dict[bytes, tuple[object, ...]]


class Rig:
    """`folder` is the user's, `store` is the pod's. Each `push` and `pull` is a connection of its own."""

    def __init__(self, base: Path, *, task: str = "t1") -> None:
        self.folder = base / "folder"
        self.store = base / "store"
        self.folder.mkdir(exist_ok=True)
        self.store.mkdir(exist_ok=True)
        self.state = base / "state"
        self.disk = base / "disk"
        """The store's file ID, of a share with `identity`."""
        self.task = task
        self.said: list[str] = []

    def share(
        self, *, identity: str = "", python: Sequence[str] = (sys.executable,), **given: Any
    ) -> EagerConnection:
        """`given`: `command`, `clock_ns`, and fields of CopyEvents and EagerOptions."""
        command = given.pop("command", None) or store_command(
            str(self.store), identity=identity, python=python
        )
        clock_ns = given.pop("clock_ns", time.time_ns)
        events = {key: given.pop(key) for key in ("say", "ask", "progress") if key in given}
        options = {"syncback": True, "yes": True, "retry_s": 0.0, **given}
        return EagerConnection(
            self.folder,
            self.task,
            command,
            state=self.state,
            options=EagerOptions(**options),
            events=CopyEvents(**{"say": self.said.append, **events}),
            clock_ns=clock_ns,
        )

    def lose_disk(self) -> None:
        """The store is on another disk, an empty one."""
        self.disk.unlink()
        shutil.rmtree(self.store)
        self.store.mkdir()

    def push(self, **options: Any) -> PushResult:
        share = self.share(**options)
        return in_store(share.push)

    def pull(self, **options: Any) -> PullResult:
        share = self.share(**options)
        return in_store(share.pull)


def in_store(work: Callable[[ExecDial], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        async with LocalStore() as store:
            return await work(store.exec_dial)

    return asyncio.run(main())


def snapshot(folder: Path, *, times: bool = True) -> Tree:
    """All that is in a folder: kinds, modes, nanoseconds and content, by path."""
    found: Tree = {}
    top = os.fsencode(folder)
    for above, directories, files in os.walk(top):
        for name in [*directories, *files]:
            path = os.path.join(above, name)
            now = os.lstat(path)
            mode = stat.S_IMODE(now.st_mode)
            key = os.path.relpath(path, top)
            mtime = now.st_mtime_ns if times else 0
            if stat.S_ISLNK(now.st_mode):
                found[key] = ("link", os.readlink(path), mtime)
            elif stat.S_ISDIR(now.st_mode):
                found[key] = ("directory", mode, mtime)
            elif stat.S_ISREG(now.st_mode):
                found[key] = ("file", mode, mtime, Path(os.fsdecode(path)).read_bytes())
            else:
                found[key] = ("special", stat.S_IFMT(now.st_mode))
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Only the files, only their content."""
    return {
        os.fsdecode(path): entry[3]
        for path, entry in snapshot(folder).items()
        if entry[0] == "file" and isinstance(entry[3], bytes)
    }
