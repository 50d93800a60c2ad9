"""`python -m womm.nfs DIR`: serve a directory over NFSv4."""

import argparse
import asyncio
import json
import logging
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from womm.nfs import Export, Server, ServerOptions
from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.options import LEASE_S
from womm.nfs.state.recovery import StateError


def _owner(text: str) -> tuple[int, int]:
    uid, _, gid = text.partition(":")
    try:
        numbers = int(uid), int(gid or uid)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not UID or UID:GID") from None
    if not all(0 <= number < 0xFFFFFFFF for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r}: a uid or gid is 0 to 4294967294")
    return numbers


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m womm.nfs",
        description="Serve a directory over NFSv4.0, 4.1 and 4.2 on one TCP port."
        " SIGUSR1 prints metrics as JSON on stderr.",
    )
    parser.add_argument(
        "dir", metavar="DIR", nargs="?", type=Path, help="the directory; without it, files in memory"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; '' is all (127.0.0.1)")
    parser.add_argument("--port", type=int, default=2049, help="0 is any that is free; it is printed (2049)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--path", default="/", help="where clients mount it (/)")
    where.add_argument(
        "--path-file",
        type=Path,
        metavar="FILE",
        help="read it from FILE: a secret is no word of a command line",
    )
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument(
        "--owner", type=_owner, metavar="UID[:GID]", help="of everything; chown is accepted and forgotten"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="kept there: identity, clients, file table")
    parser.add_argument("--lease", type=float, default=LEASE_S, metavar="SECONDS", help=f"({LEASE_S:g})")
    parser.add_argument("--grace", type=float, metavar="SECONDS", help="(as long as the lease)")
    parser.add_argument("-v", "--verbose", action="count", default=0)
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    state = index = None
    if options.state is not None:
        options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        state, index = options.state / "state.json", options.state / "files.db"
    filesystem = MemoryFilesystem() if options.dir is None else LocalFilesystem(options.dir, index=index)
    path = options.path_file.read_text().strip() if options.path_file else options.path
    export = Export(path, filesystem, read_only=options.read_only, owner=options.owner)
    server = Server(
        [export],
        ServerOptions(
            host=options.host or None,
            port=options.port,
            state_file=state,
            lease_s=options.lease,
            grace_s=options.grace,
        ),
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: _say(sys.stderr, json.dumps(server.metrics.as_dict())))
    async with server:
        _say(sys.stdout, f"listening on port {server.port}")
        await ended.wait()


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
    try:
        asyncio.run(serve(options))
    except (OSError, StateError, ValueError) as exc:
        _say(sys.stderr, f"womm.nfs: {exc}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
