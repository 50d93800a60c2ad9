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
from pathlib import Path
from typing import Final, TextIO

from womm import nfs
from womm.errors import WommError
from womm.fileserver.cached import CachedFilesystem
from womm.fileserver.connection import UserLink
from womm.fileserver.contents.blocks import Blocks
from womm.fileserver.contents.contents import Contents
from womm.fileserver.control import Control
from womm.fileserver.listener import Keys, Listener
from womm.fileserver.owner import Owner
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.table import Table
from womm.fileserver.tree.tree import Tree
from womm.memory import keep_memory
from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.filesystem import Filesystem
from womm.nfs.state.recovery import StateError
from womm.wire.secret import export_path, identity

LEAVE_S: Final = 40.0
"""How long it serves on after SIGTERM for clients that have not unmounted: a pod's grace period is longer."""
LOOK_S: Final = 0.1
FLUSH_S: Final = 10.0
"""What is not sent by then is sent by the next container."""
LEASE_S: Final = 90.0
"""A server that stands still for 30 s must not cost its clients their opens."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m womm.fileserver", description="Serve a task's folder to its nodes over NFSv4."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--local", type=Path, metavar="DIR", help="serve this directory; made if need be")
    what.add_argument("--lazy", type=Path, metavar="SOCKET", help="serve what the user's side offers here")

    parser.add_argument(
        "--secret", type=Path, required=True, metavar="DIR", help="host_key.pub, client_key, export, identity"
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="kept over restarts")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="blocks of the user's files (--lazy)")
    parser.add_argument("--cache-bytes", type=int, default=4 << 30, metavar="N", help="(4 GiB)")
    parser.add_argument("--uid", type=int, default=0, help="everything belongs to it (0)")
    parser.add_argument("--gid", type=int, default=0)
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--host", default="", help="address to listen on; '' is all ('')")
    parser.add_argument("--port", type=int, default=2049, help="0 is any that is free; it is printed (2049)")
    parser.add_argument("--grace", type=float, metavar="SECONDS", help="(as long as the lease)")
    parser.add_argument("-v", "--verbose", action="count", default=0)
    return parser.parse_args(argv)


def _server(options: argparse.Namespace, filesystem: Filesystem) -> nfs.Server:
    export = nfs.Export(
        export_path(options.secret),
        filesystem,
        read_only=options.read_only,
        owner=(options.uid, options.gid),
    )
    return nfs.Server(
        [export],
        nfs.ServerOptions(
            host=options.host or None,
            port=options.port,
            state_file=options.state / "nfs.json",
            lease_s=LEASE_S,
            grace_s=options.grace,
            identity=identity(options.secret),
        ),
    )


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


async def serve_local(options: argparse.Namespace) -> None:
    """Serve a directory until a signal, and after that until the clients have unmounted, LEAVE_S at most."""
    options.local.mkdir(parents=True, exist_ok=True)
    server = _server(options, LocalFilesystem(options.local, index=options.state / "files.db"))
    ended = _until_signal()
    owner = Owner(options.state, options.uid, options.gid, lambda uid, gid: server.own((uid, gid)))
    async with server:
        _tell_metrics(server)
        looking = asyncio.create_task(owner.look())
        _say(sys.stdout, f"womm-fileserver ready port={server.port}")
        await ended.wait()
        await clients_gone(server, LEAVE_S)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def serve_lazy(options: argparse.Namespace) -> None:
    """Serve the user's folder until a signal.

    At a task's end, or an orphan's, it waits for its clients to unmount, which cannot be done without it. A
    container that is to start again is gone as soon as it has sent what it can: its clients wait for it.
    """
    keys = Keys(options.secret)
    ended = _until_signal()
    async with AsyncExitStack() as stack:
        table = Table(options.state)
        stack.callback(table.close)
        blocks = Blocks(options.cache, options.cache_bytes)
        stack.callback(blocks.close)
        link = UserLink()
        tree = Tree(table, lambda node: blocks.drop(node.fileid))
        lookup = Lookup(tree, link)
        contents = Contents(lookup, blocks, options.state / "spool")
        filesystem = CachedFilesystem(lookup, contents, options.uid, options.gid)
        server = _server(options, filesystem)

        def own(uid: int, gid: int) -> None:
            filesystem.own(uid, gid)
            server.own((uid, gid))

        owner = Owner(options.state, options.uid, options.gid, own)
        control = Control(
            table, tree, contents, link, owner, gone=lambda timeout_s: clients_gone(server, timeout_s)
        )
        listener = Listener(
            options.lazy,
            keys,
            link,
            connected=control.connected,
            received=control.received,
            lost=contents.flusher.advance,
        )
        await listener.start()
        stack.push_async_callback(listener.stop)
        stack.push_async_callback(control.stop)
        await stack.enter_async_context(server)
        _tell_metrics(server)
        _say(sys.stdout, f"womm-fileserver ready port={server.port}")
        await ended.wait()
        if control.finishing or not link.up:
            await clients_gone(server, LEAVE_S)
        if link.up:
            flush = asyncio.ensure_future(contents.flusher.flush())
            await asyncio.wait([flush], timeout=FLUSH_S)
            flush.cancel()


async def clients_gone(server: nfs.Server, timeout_s: float) -> bool:
    """Wait until no client is connected: a kernel that has unmounted closes its connection."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while server.metrics.connections:
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True


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
    work = serve_local if options.local is not None else serve_lazy
    try:
        options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        asyncio.run(work(options))
    except (OSError, StateError, ValueError, WommError) as exc:
        _say(sys.stderr, f"womm.fileserver: {exc}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
