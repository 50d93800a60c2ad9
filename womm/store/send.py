"""Sends files of a tree as records of `womm.store.pack`; both sides do, each from its own folder."""

import errno
import os
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

from womm.store.pack import CHUNK, Stamp, header, segments, stamp_of
from womm.store.protocol import BIG, BLOCK_BYTES, DELTA, DIGEST_BYTES, FILE, LINK, PIECE, SMALL, TORN, WHOLE
from womm.store.tree import Found, Tree

TRIES: Final = 3
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Sent(NamedTuple):
    """A file that was sent, as it was then. `digest`: of the content of a small one."""

    ino: int
    stamp: Stamp
    digest: bytes = b""


class Gone(Exception):
    """There is nothing to send of that path: it is deleted, or changed whenever it was read."""


class Out:
    """Gathers small writes; `write` may block."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._parts: list[bytes] = []
        self._size = 0
        self._before = 0

    @property
    def total(self) -> int:
        """Bytes up to now."""
        return self._before + self._size

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size >= CHUNK:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts = []
            self._before += self._size
            self._size = 0
            self._write(data)


def digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def send_file(
    out: Out, tree: Tree, path: bytes, expected: Found | None, *, digests: bool, as_path: bytes | None = None
) -> Sent:
    """Send a regular file as it is at one moment. Raises Gone, and OSError when it cannot be read.

    `expected`: what a walk has found, which saves a look at an unchanged one.
    """
    name = path if as_path is None else as_path
    for _ in range(TRIES):
        try:
            fd = tree.open_file(path)
        except OSError as exc:
            if exc.errno in _GONE:
                raise Gone from exc
            raise
        try:
            if expected is not None and expected.stamp.size <= SMALL:
                stamp = expected.stamp
                data = os.read(fd, stamp.size + 1)
                now = os.fstat(fd)
                if len(data) == stamp.size and expected.untouched(now):
                    out.add(b"f %d,%d,%d %b\0%b" % (stamp.mode, stamp.mtime_ns, stamp.size, name, data))
                    return Sent(now.st_ino, stamp, digest(data) if digests else b"")
            expected = None
            sent = _send_looking(out, fd, name, digests)
            if sent is not None:
                return sent
        finally:
            os.close(fd)
    raise Gone


def _send_looking(out: Out, fd: int, name: bytes, digests: bool) -> Sent | None:
    """Look, read, look again. None: it has changed meanwhile."""
    before = os.fstat(fd)
    stamp = stamp_of(before)
    if stamp is None or stamp.kind != FILE:
        raise Gone
    if stamp.size <= SMALL:
        data = _read(fd, stamp.size + 1)
        if len(data) != stamp.size or not _same(before, os.fstat(fd)):
            return None
        out.add(header(FILE, name, stamp.mode, stamp.mtime_ns, len(data)))
        out.add(data)
        return Sent(before.st_ino, stamp, digest(data) if digests else b"")
    out.add(header(BIG, name, stamp.mode, stamp.mtime_ns, stamp.size))
    for begin, length in segments(fd, stamp.size):
        offset, end = begin, begin + length
        while offset < end:
            try:
                data = os.pread(fd, min(CHUNK, end - offset), offset)
            except OSError:
                out.add(PIECE.pack(0, 0) + TORN)
                raise
            if not data:
                break
            out.add(PIECE.pack(offset, len(data)))
            out.add(data)
            offset += len(data)
    whole = _same(before, os.fstat(fd))
    out.add(PIECE.pack(0, 0) + (WHOLE if whole else TORN))
    return Sent(before.st_ino, stamp) if whole else None


def block_digests(fd: int, size: int) -> bytes:
    """The digests of a file's blocks, one after another."""
    found = []
    at = 0
    while at < size:
        data = os.pread(fd, BLOCK_BYTES, at)
        if not data:
            break
        found.append(digest(data))
        at += BLOCK_BYTES
    return b"".join(found)


def send_delta(out: Out, tree: Tree, path: bytes, theirs: bytes) -> Sent:
    """Send the blocks of a file that are not those the other side has, by `block_digests`.

    Raises Gone, which a whole file may still follow; OSError.
    """
    try:
        fd = tree.open_file(path)
    except OSError as exc:
        if exc.errno in _GONE:
            raise Gone from exc
        raise
    try:
        before = os.fstat(fd)
        stamp = stamp_of(before)
        if stamp is None or stamp.kind != FILE:
            raise Gone
        out.add(header(DELTA, path, stamp.mode, stamp.mtime_ns, stamp.size))
        whole = False
        try:
            for at in range(0, stamp.size, BLOCK_BYTES):
                data = os.pread(fd, min(BLOCK_BYTES, stamp.size - at), at)
                number = at // BLOCK_BYTES * DIGEST_BYTES
                if data and digest(data) != theirs[number : number + DIGEST_BYTES]:
                    out.add(PIECE.pack(at, len(data)) + data)
            whole = _same(before, os.fstat(fd))
        finally:
            out.add(PIECE.pack(0, 0) + (WHOLE if whole else TORN))
        if not whole:
            raise Gone
        return Sent(before.st_ino, stamp)
    finally:
        os.close(fd)


def send_link(out: Out, tree: Tree, path: bytes) -> Sent:
    """Send a symbolic link: its target as it is. Raises Gone, OSError."""
    try:
        fd, name = tree.parent(path)
        target = os.readlink(name, dir_fd=fd)
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in (*_GONE, errno.EINVAL):
            raise Gone from exc
        raise
    stamp = stamp_of(found)
    if stamp is None or stamp.kind != LINK:
        raise Gone
    out.add(header(LINK, path, stamp.mtime_ns, len(target)))
    out.add(target)
    return Sent(found.st_ino, stamp, digest(target))


def _read(fd: int, count: int) -> bytes:
    """Up to `count` bytes: fewer at the end of the file only."""
    data = os.read(fd, count)
    while 0 < len(data) < count:
        more = os.read(fd, count - len(data))
        if not more:
            break
        data += more
    return data


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_size == other.st_size
        and one.st_mtime_ns == other.st_mtime_ns
        and one.st_ctime_ns == other.st_ctime_ns
    )
