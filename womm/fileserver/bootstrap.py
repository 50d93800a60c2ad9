"""The part of a file server that comes by a ConfigMap, into a pod whose image has python3 and no womm.

    python3 -I bootstrap.py run LIB ARGUMENT...   wait until LIB has womm, then be womm.fileserver
    python3 -I bootstrap.py fill LIB [SECONDS]    put womm into LIB, from stdin
    python3 -I bootstrap.py bridge SOCKET         what womm/worker/bridge.pl does, without perl

Strategy: the container's program is `run`. The user's side runs `fill` beside it and sends the bundle (see
womm/image/bundle.py). `fill` unpacks it beside its place, compares the hash, and renames it: so womm is there
as a whole or not at all. A FIFO wakes `run`. LIB outlives the container, so the next one finds womm at once.

It is one file that needs nothing but Python's own library. An old Python can still read it, and say that it
is too old. It runs with -I: neither the variables of the image nor its current folder bring modules.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

CURRENT = "current"
"""The folder of LIB that womm is in, once it is there as a whole."""
HASH = ".sha256"
FIFO = "filled"
PART = "part-"
GONE = "gone-"
GREETING = "womm bootstrap 1 "
"""What `fill` begins with; JSON follows: see `about`."""
OLDEST = (3, 11)
CHUNK = 65536
TELL_BYTES = 262144
LIMIT = 262144
"""How much a bridge holds in each direction."""
SILENCE_S = 120.0
"""An exec's process outlives the user's side, and its stdin need not end. Twice what that side waits."""
MAKING_S = 600.0
"""So long the user's side may make the bundle."""
PATIENCE_S = 5.0
PAUSE_S = 0.02
PARTS = ("_lzma", "_sqlite3", "_ssl")
"""What a python3 that was built without some library lacks."""
WARM = ("asyncio", "logging", "sqlite3", "ssl", "argparse", "dataclasses", "ipaddress", "uuid", "zipfile")
"""Modules of the file server that take long to import. `run` has nothing else to do while it waits."""


def run(lib: str, arguments: list[str]) -> None:
    """Be the file server, as soon as `lib` has it."""
    # A container's first process has no default for signals: without this it would wait until it is killed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    current = os.path.join(lib, CURRENT)
    if not os.path.isdir(current):
        _wait(lib, current)
    sys.path.insert(0, current)
    sys.argv = ["womm.fileserver", *arguments]
    runpy.run_module("womm.fileserver", run_name="__main__", alter_sys=True)


def _wait(lib: str, current: str) -> None:
    fifo = os.path.join(lib, FIFO)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(fifo, 0o600)
    # Open for both, so that it neither waits here nor ends when `fill` does. From now on no word is missed.
    word = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
    for name in WARM:
        with contextlib.suppress(ImportError):
            __import__(name)
    while not os.path.isdir(current):
        os.read(word, 1)
    os.close(word)


def fill(lib: str, silence_s: float = SILENCE_S) -> None:
    """Say what this Python is and what `lib` has; take the bundle that follows, if one does.

    silence_s: so long its next byte may take.
    """
    _say(GREETING + json.dumps(about(lib)))
    line = _line()
    if not line:
        return
    digest, size = line.split()
    part, held = "", -1
    try:
        _clear(lib)
        part = tempfile.mkdtemp(prefix=PART, dir=lib)
        held = os.open(part, os.O_RDONLY)  # so that no other directory gets its number
        _unpack(part, digest, int(size), silence_s)
        if not os.path.samestat(os.stat(part), os.fstat(held)):
            raise OSError("another exec brings the bundle")
        _place(part, os.path.join(lib, CURRENT), digest)
    except (OSError, EOFError, ValueError, tarfile.TarError) as exc:
        _say("failed " + (str(exc) or type(exc).__name__).replace("\n", " "))
        return
    finally:
        if held >= 0:
            os.close(held)
        if part:
            shutil.rmtree(part, ignore_errors=True)
    _wake(lib)
    _say("filled")


def _clear(lib: str) -> None:
    """Remove what earlier execs have begun: the user's side has lost them, since it has made this one.

    One of them may still run. What it has is renamed first, so it cannot put half of it in its place.
    """
    for name in os.listdir(lib):
        if name.startswith((PART, GONE)):
            gone = tempfile.mkdtemp(prefix=GONE, dir=lib)
            with contextlib.suppress(OSError):
                os.rename(os.path.join(lib, name), gone)
            shutil.rmtree(gone, ignore_errors=True)


def about(lib: str) -> dict[str, str]:
    """Return what the user's side must know to choose a bundle. wrong: why there is none for this Python."""
    return {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "machine": os.uname().machine,
        "libc": _libc(),
        "has": _has(os.path.join(lib, CURRENT)),
        "wrong": _wrong(),
    }


def _wrong() -> str:
    if sys.version_info[:2] < OLDEST:
        return f"its python3 is {sys.version.split()[0]}, and womm needs {OLDEST[0]}.{OLDEST[1]} or newer"
    if sys.implementation.name != "cpython":
        return f"its python3 is {sys.implementation.name}, and womm needs CPython"
    if sys.maxsize < 1 << 32:
        return "its python3 is one of 32 bits"
    if "t" in sys.abiflags:
        return "its python3 is a free-threaded one, which the ssh library has no stable ABI for"
    lacking = [name for name in PARTS if importlib.util.find_spec(name) is None]
    return f"its python3 has no {' and no '.join(lacking)}" if lacking else ""


def _libc() -> str:
    """Return the C library with its version."""
    try:
        found = os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):
        found = None
    if found:
        return found
    with open("/proc/self/maps") as maps:
        loader = re.search(r"\S*/(ld-musl|libc\.musl)-\S+", maps.read())
    if loader is None:
        return "unknown"
    told = subprocess.run([loader.group()], capture_output=True, text=True, check=False).stderr
    version = re.search(r"Version (\d+\.\d+)", told)
    return "musl " + (version.group(1) if version else "1.1")


def _has(current: str) -> str:
    try:
        with open(os.path.join(current, HASH)) as file:
            return file.read()
    except OSError:
        return ""


def _unpack(part: str, digest: str, size: int, silence_s: float) -> None:
    """Unpack `size` bytes of stdin, a tar archive, while they come; what is not as it was sent is refused."""
    stream = _Stream(size, silence_s)
    extra = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    failed = None
    try:
        with tarfile.open(fileobj=stream, mode="r|xz") as archive:  # type: ignore[call-overload]
            archive.extractall(part, **extra)
    except (tarfile.TarError, EOFError) as exc:
        failed = exc
    while stream.read(CHUNK):
        pass
    if stream.digest.hexdigest() != digest:
        raise ValueError("what arrived is not what was sent")
    if failed is not None:
        raise failed


class _Stream:
    """So many bytes of stdin, as a file, hashed as they are read. They are told of on stdout."""

    def __init__(self, size: int, silence_s: float) -> None:
        self._left = self._size = size
        self._silence_s = silence_s
        self._told = 0
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and self._left:
            _await_stdin(self._silence_s)
            piece = os.read(0, min(CHUNK, size - len(data), self._left))
            if not piece:
                raise EOFError("the connection has ended")
            data += piece
            self._left -= len(piece)
        self.digest.update(data)
        got = self._size - self._left
        if got - self._told >= TELL_BYTES:
            self._told = got
            _say(f"got {got}")
        return data


def _place(part: str, current: str, digest: str) -> None:
    with open(os.path.join(part, HASH), "w") as file:
        file.write(digest)
    try:
        os.rename(part, current)
    except OSError as exc:
        # Another one was quicker: an exec that the user's side had lost.
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _wake(lib: str) -> None:
    try:
        word = os.open(os.path.join(lib, FIFO), os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return  # `run` does not wait yet, so it will look first
    with contextlib.suppress(OSError):
        os.write(word, b"\n")
    os.close(word)


def _line() -> str:
    """Read a line of stdin and nothing beyond it. Empty: stdin has ended, or nothing comes."""
    line = b""
    while not line.endswith(b"\n"):
        try:
            _await_stdin(MAKING_S)
        except EOFError:
            return ""
        byte = os.read(0, 1)
        if not byte:
            return ""
        line += byte
    return line.decode("ascii").strip()


def _await_stdin(timeout_s: float) -> None:
    if not select.select([0], [], [], timeout_s)[0]:
        raise EOFError("nothing comes any more")


def _say(line: str) -> None:
    os.write(1, (line + "\n").encode("utf-8", "replace"))


def bridge(path: str) -> None:
    """Join stdin and stdout to a socket, until either ends. See womm/worker/bridge.pl."""
    server = socket.socket(socket.AF_UNIX)
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            server.connect(path)
            break
        except OSError as exc:
            if time.monotonic() > until:
                sys.exit(f"womm bridge: no server at {path}: {exc.strerror}")
            time.sleep(PAUSE_S)
    os.write(1, b"womm bridge\n")
    there = server.fileno()
    for number in (0, 1, there):
        os.set_blocking(number, False)
    ways = [(0, there, bytearray()), (there, 1, bytearray())]
    try:
        while True:
            readers = [source for source, _, waiting in ways if len(waiting) < LIMIT]
            writers = [target for _, target, waiting in ways if waiting]
            readable, _, _ = select.select(readers, writers, [])
            for source, target, waiting in ways:
                if source in readable:
                    data = _some(source)
                    if data == b"":
                        return
                    waiting.extend(data or b"")
                if waiting:
                    del waiting[: _put(target, waiting)]
    except OSError:
        pass  # one side has ended, as below
    finally:
        # The bytes that the other side has not got come again over the next connection.
        os.set_blocking(1, True)
        with contextlib.suppress(OSError):
            os.write(1, ways[1][2])


def _some(source: int) -> bytes | None:
    """Read what is there. None: nothing yet; empty: the end."""
    try:
        return os.read(source, CHUNK)
    except BlockingIOError:
        return None


def _put(target: int, data: bytearray) -> int:
    try:
        return os.write(target, data[:CHUNK])
    except BlockingIOError:
        return 0


def main() -> None:
    what, where, *arguments = sys.argv[1:]
    if what == "run":
        run(where, arguments)
    elif what == "fill":
        fill(where, *map(float, arguments))
    elif what == "bridge":
        bridge(where)
    else:
        sys.exit(f"womm bootstrap: there is no {what!r}")


if __name__ == "__main__":
    main()
