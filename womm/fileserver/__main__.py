"""`python -m womm.fileserver`: serve a task's folder to its nodes over NFSv4."""

import argparse
import asyncio
import gc
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final, TextIO

from womm import nfs
from womm.background import Background
from womm.errors import WommError
from womm.fileserver.lazy_export import LazyExport, Place
from womm.fileserver.owner import Owner
from womm.memory import keep_memory
from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.filesystem import Filesystem
from womm.nfs.state.recovery import StateError
from womm.wire.secret import export_path, identity

LEAVE_S: Final = 40.0
"""How long it serves on after SIGTERM for clients that have not unmounted: a pod's grace period is longer."""
LOOK_S: Final = 0.1
LEASE_S: Final = 90.0
"""A server that stands still for 30 s must not cost its clients their opens."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m womm.fileserver", description="Serve a task's folder to its nodes over NFSv4."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--local", type=Path, metavar="DIR", help="serve this directory; made if need be")
    what.add_argument("--lazy", type=Path, metavar="SOCKET", help="serve what the user's side offers here")
    parser.add_argument(
        "--programs", type=Path, metavar="SOCKET", help="serve, read-only, the programs that it offers here"
    )

    parser.add_argument(
        "--secret", type=Path, metavar="DIR", help="host_key.pub, client_key, export, identity (the folder's)"
    )
    parser.add_argument("--programs-secret", type=Path, metavar="DIR", help="the same, of --programs")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="kept over restarts")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="blocks of the user's files (--lazy)")
    parser.add_argument("--cache-bytes", type=int, default=4 << 30, metavar="N", help="(4 GiB)")
    parser.add_argument("--programs-cache", type=Path, metavar="DIR", help="blocks of the programs")
    parser.add_argument("--programs-cache-bytes", type=int, default=4 << 30, metavar="N", help="(4 GiB)")
    parser.add_argument("--uid", type=int, default=0, help="everything belongs to it (0)")
    parser.add_argument("--gid", type=int, default=0)
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--host", default="", help="address to listen on; '' is all ('')")
    parser.add_argument("--port", type=int, default=2049, help="0 is any that is free; it is printed (2049)")
    parser.add_argument("--grace", type=float, metavar="SECONDS", help="(as long as the lease)")
    parser.add_argument("-v", "--verbose", action="count", default=0)
    options = parser.parse_args(argv)
    folder = options.local or options.lazy
    if folder is None and options.programs is None:
        parser.error("one of --local, --lazy and --programs is needed")
    for option, secret in ((folder, "--secret"), (options.programs, "--programs-secret")):
        if option is not None and getattr(options, secret[2:].replace("-", "_")) is None:
            parser.error(f"{secret} is needed")
    return options


class Serving:
    """What this process serves: exports, which are added before the server starts, and the server."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.exports: list[nfs.Export] = []
        self.folders: list[LazyExport] = []
        self.server: nfs.Server | None = None

    def __repr__(self) -> str:
        return f"<Serving {len(self.exports)} exports>"

    def add_local(self) -> Owner:
        """Serve a directory; return whose it is, which other programs of the pod tell."""
        options = self.options
        options.local.mkdir(parents=True, exist_ok=True)
        filesystem = LocalFilesystem(options.local, index=options.state / "files.db")
        owner = Owner(options.state, options.uid, options.gid, partial(self._own, filesystem))
        self._add(filesystem, owner)
        return owner

    async def add_lazy(self, stack: AsyncExitStack) -> None:
        """Serve the user's folder."""
        options = self.options
        place = Place(options.lazy, options.secret, options.state, options.cache, options.cache_bytes)
        folder = LazyExport(
            place,
            (options.uid, options.gid),
            lambda uid, gid: self._own(folder.filesystem, uid, gid),
            self.clients_gone,
        )
        await stack.enter_async_context(folder)
        self.folders.append(folder)
        self._add(folder.filesystem, folder.owner)

    async def add_programs(self, stack: AsyncExitStack) -> None:
        """Serve the programs of the user's machine: read-only, and everything is root's."""
        options = self.options
        folder = LazyExport(
            Place(
                options.programs,
                options.programs_secret,
                options.state / "programs",
                options.programs_cache,
                options.programs_cache_bytes,
                static=True,
            ),
            (0, 0),
            None,
            self.clients_gone,
            lambda: self._changed(folder.filesystem),
        )
        await stack.enter_async_context(folder)
        self.folders.append(folder)
        path = export_path(options.programs_secret)
        self.exports.append(nfs.Export(path, folder.filesystem, read_only=True, owner=(0, 0), constant=True))

    def _add(self, filesystem: Filesystem, owner: Owner) -> None:
        path, read_only = export_path(self.options.secret), self.options.read_only
        self.exports.append(nfs.Export(path, filesystem, read_only=read_only, owner=owner.now))

    def _own(self, filesystem: Filesystem, uid: int, gid: int) -> None:
        if self.server is not None:
            self.server.own((uid, gid), of=filesystem)

    def _changed(self, filesystem: Filesystem) -> None:
        if self.server is not None:
            self.server.no_longer_constant(filesystem)

    def make(self) -> nfs.Server:
        """Make the server of all that was added."""
        options = self.options
        self.server = nfs.Server(
            self.exports,
            nfs.ServerOptions(
                host=options.host or None,
                port=options.port,
                state_file=options.state / "nfs.json",
                lease_s=LEASE_S,
                grace_s=options.grace,
                identity=identity(options.secret or options.programs_secret),
            ),
        )
        return self.server

    async def clients_gone(self, timeout_s: float) -> bool:
        """Wait until no client is connected: a kernel that has unmounted closes its connection."""
        assert self.server is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self.server.metrics.connections:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(LOOK_S)
        return True


def _until_signal() -> asyncio.Event:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    return ended


def _tell_metrics(server: nfs.Server) -> None:
    """SIGUSR1 writes what the server has done to stderr, as one line of JSON."""
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, lambda: _say(sys.stderr, json.dumps(server.metrics.as_dict()))
    )


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal.

    At a task's end, or an orphan's, this waits for its clients to unmount, which cannot be done without it,
    LEAVE_S at most. A container of lazy folders that is to start again is gone as soon as it has sent what it
    can: its clients wait for it.
    """
    ended = _until_signal()
    serving = Serving(options)
    async with AsyncExitStack() as stack:
        owner = serving.add_local() if options.local is not None else None
        if options.lazy is not None:
            await serving.add_lazy(stack)
        if options.programs is not None:
            await serving.add_programs(stack)
        server = await stack.enter_async_context(serving.make())
        if owner is not None:
            background = Background()
            stack.push_async_callback(background.close)
            background.spawn(owner.look(), "the owner of the files")
        _tell_metrics(server)
        _say(sys.stdout, f"womm-fileserver ready port={server.port}")
        await ended.wait()
        if owner is not None or any(folder.ends for folder in serving.folders):
            await serving.clients_gone(LEAVE_S)
        for folder in serving.folders:
            await folder.flush()


def _say(where: TextIO, line: str) -> None:
    where.write(line + "\n")
    where.flush()


def main() -> int:
    options = parse()
    logging.basicConfig(
        level=[logging.WARNING, logging.INFO, logging.DEBUG][min(options.verbose, 2)],
        format="%(asctime)s %(name)s: %(message)s",
    )
    # Every open file of a client is a descriptor here.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Asked for by asyncssh; the pod's user may be in no passwd.
    os.environ.setdefault("USER", "womm")
    os.environ.setdefault("HOME", str(options.state))
    keep_memory()
    # Hundreds of thousands of files that stay are not looked at again and again.
    gc.set_threshold(50_000, 20, 100)
    try:
        options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        asyncio.run(serve(options))
    except (OSError, StateError, ValueError, WommError) as exc:
        _say(sys.stderr, f"womm.fileserver: {exc}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
