"""Fetches what jobs have made, or changed, from the store.

The store is hostile: it is asked for names that were checked, answers are taken in the order of the
questions, and come under numbers into a private folder.
"""

import os
from collections.abc import Callable
from typing import Final

from womm.share.eager.placer import MODE, Placer
from womm.share.eager.staging import Staging
from womm.store.pack import CHUNK, LINK_BYTES, BadPack, Record, Source, Stamp, write_all
from womm.store.protocol import BIG, FILE, GONE, LINK
from womm.store.receive import receive_pieces
from womm.store.send import TRIES

_MAX_NS: Final = (1 << 62) - 1


def receive(
    source: Source,
    asked: list[bytes],
    theirs: dict[bytes, Stamp],
    placer: Placer,
    progress: Callable[[int, int], None],
) -> None:
    """Take the answers to a GET of `asked` and place each. Raises BadPack, EOFError, OSError."""
    for number, path in enumerate(asked):
        staged = b"%d" % number
        stamp: Stamp | None = None
        for _ in range(TRIES + 1):
            record = source.record()
            if record.path != path:
                raise BadPack(f"asked for {path!r}, got {record.path[:200]!r}")
            if record.kind == GONE:
                break
            stamp = _receive_one(source, record, placer.staging, staged)
            if stamp is not None:
                break
        else:
            raise BadPack("torn again and again")
        if stamp is None:
            placer.kept_changing.append(path)
            continue
        placer.size_bytes += stamp.size
        listed = theirs[path]
        exact = stamp.kind == listed.kind and stamp.same(listed)
        placer.place(path, staged, stamp._replace(ctime_ns=listed.ctime_ns if exact else 0))
        progress(number + 1, placer.size_bytes)


def _receive_one(source: Source, record: Record, staging: Staging, staged: bytes) -> Stamp | None:
    """Stage one file or link. None: it was torn, another try follows."""
    numbers = record.numbers
    if record.kind == LINK and len(numbers) == 2:
        mtime_ns, size = numbers
        if not 0 < size <= LINK_BYTES:
            raise BadPack("a link's target without a length")
        target = source.exactly(size)
        if b"\0" in target:
            raise BadPack("a link's target with a NUL")
        os.symlink(target, staged, dir_fd=staging.fd)
        mtime_ns = _time(mtime_ns)
        os.utime(staged, ns=(mtime_ns, mtime_ns), dir_fd=staging.fd, follow_symlinks=False)
        return Stamp(LINK, 0o777, size, mtime_ns)
    if record.kind not in (FILE, BIG) or len(numbers) != 3:
        raise BadPack(f"no file: {record.kind!r}")
    mode, mtime_ns, size = numbers
    mtime_ns = _time(mtime_ns)
    if size < 0 or (record.kind == FILE and size > CHUNK):
        raise BadPack("a file of that size is not sent so")
    fd = staging.create(staged)
    whole = True
    try:
        if record.kind == FILE:
            write_all(fd, source.exactly(size))
        else:
            whole = receive_pieces(source, fd, size)
        os.fchmod(fd, mode & MODE)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(fd)
    if not whole:
        staging.discard(staged)
        return None
    return Stamp(FILE, mode & 0o7777, size, mtime_ns)


def _time(mtime_ns: int) -> int:
    return max(-_MAX_NS, min(mtime_ns, _MAX_NS))
