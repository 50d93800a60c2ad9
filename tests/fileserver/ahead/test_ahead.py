"""How much may be fetched ahead."""

import os

from tests.fileserver.lazy import Lazy
from tests.loop import until
from womm.fileserver.contents.blocks import BLOCK_BYTES


async def test_no_more_is_guessed_than_half_of_the_cache(top, place):
    (top / "f").write_bytes(b"x" * (16 * BLOCK_BYTES))
    async with Lazy(top, place, cache_bytes=8 * BLOCK_BYTES, memory_bytes=8 * BLOCK_BYTES) as lazy:
        items = [["f", 16 * BLOCK_BYTES, os.stat(top / "f").st_mtime_ns, list(range(16))]]
        await lazy.user.control.ask("prefetch", items=items)
        await until(lambda: lazy.contents.fetcher.guesses.guessed == 4 * BLOCK_BYTES, "half of the cache")
