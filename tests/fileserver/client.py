"""What tests do with a file system as an NFS client does."""

import asyncio
from typing import Any

import pytest

from womm.nfs.constants import SHARE_BOTH, SHARE_READ
from womm.nfs.filesystem import NOTHING, WANT_KEY
from womm.nfs.status import NFSError, Status


async def make(fs, name, data=b"", directory=None, sync=False):
    node, file, _, _ = await fs.create(
        directory or fs.root(), name, NOTHING, verifier=None, exclusive=True, access=SHARE_BOTH
    )
    try:
        if data:
            await fs.write(file, 0, memoryview(data), sync)
    finally:
        await fs.close(file)
    return node


async def content(fs, node):
    file = await fs.open(node, SHARE_READ)
    try:
        data, eof = b"", False
        while not eof:
            more, eof = await fs.read(file, len(data), 1 << 20)
            data += more
        return data
    finally:
        await fs.close(file)


async def names(fs, directory=None):
    listing = await fs.readdir(directory or fs.root(), 0, WANT_KEY, 10000)
    return sorted(entry.name for entry in listing.entries)


async def again(work, *, tries=200):
    """Do as an NFS client does: ask again while the answer is DELAY."""
    for _ in range(tries):
        try:
            return await work()
        except NFSError as exc:
            if exc.status is not Status.DELAY:
                raise
            await asyncio.sleep(0.02)
    raise AssertionError("DELAY for ever")


async def fails(status, work):
    with pytest.raises((NFSError, OSError)) as caught:
        await work
    found: Any = caught.value
    assert (found.status if isinstance(found, NFSError) else found.errno) == status
