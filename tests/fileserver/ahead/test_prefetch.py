"""What one task has used is there in the next one before it is asked for; a wrong guess costs bytes only."""

import os

import pytest

from tests.fileserver.client import content, fails, names
from tests.fileserver.lazy import Lazy
from tests.loop import until
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.nfs.constants import SHARE_READ
from womm.nfs.status import Status


@pytest.fixture
def program(top):
    """A little program: a file in two blocks, a link, a folder that is listed."""
    (top / "lib" / "mods").mkdir(parents=True)
    (top / "lib" / "big").write_bytes(b"b" * (2 * BLOCK_BYTES + 5))
    (top / "lib" / "l").symlink_to("big")
    for name in ("x", "y"):
        (top / "lib" / "mods" / name).write_text(name)
    return top


async def start(fs):
    """Do what the program does when it starts."""
    lib = await fs.lookup(fs.root(), b"lib")
    await fails(Status.NOENT, fs.lookup(lib, b"preload"))
    assert await fs.readlink(await fs.lookup(lib, b"l")) == b"big"
    big = await fs.lookup(lib, b"big")
    file = await fs.open(big, SHARE_READ)
    assert await fs.read(file, 2 * BLOCK_BYTES, 100) == (b"b" * 5, True)
    await fs.close(file)
    mods = await fs.lookup(lib, b"mods")
    assert await names(fs, mods) == [b"x", b"y"]
    assert await content(fs, await fs.lookup(mods, b"x")) == b"x"


async def learn(top, place):
    async with Lazy(top, place / "first") as lazy:
        await start(lazy.fs)
        return (await lazy.user.control.ask("use"))["items"]


async def test_what_was_used_needs_no_question_the_next_time(program, place):
    items = await learn(program, place)
    by_path = {(path, size): blocks for path, size, _, blocks in items}
    assert by_path["lib/big", 2 * BLOCK_BYTES + 5] == [2]
    assert by_path["lib/preload", -2] == by_path["lib/mods", -1] == []
    async with Lazy(program, place / "second") as lazy:
        assert (await lazy.user.control.ask("prefetch", items=items))["ok"]
        await until(lambda: lazy.contents.fetcher.guesses.guessed == 6, "the guessed blocks")
        sent = lazy.link.session().sent_requests
        await start(lazy.fs)
        assert lazy.link.session().sent_requests == sent
        stats = await lazy.user.control.ask("stats")
        assert (stats["guessed"], stats["used"], stats["wasted"]) == (6, 6, 0)
        assert (await lazy.user.control.ask("use"))["items"] == items


async def test_a_wrong_guess_changes_nothing_that_is_seen(program, place):
    items = await learn(program, place)
    big = program / "lib" / "big"
    big.write_bytes(b"n" * (3 * BLOCK_BYTES))  # which of its blocks are wanted is not known any more
    (program / "lib" / "mods" / "x").unlink()
    (program / "lib" / "mods" / "z").write_text("z")
    (program / "lib" / "preload").write_text("there now")
    (program / "lib" / "l").unlink()
    async with Lazy(program, place / "second") as lazy:
        items += [
            ["lib/big/no", 1, 1, [0]],
            ["none/at/all", 1, 1, [0]],
            ["lib/mods/z", 9, 9, [0, 7]],
            ["", -1, 0, []],
        ]
        await lazy.user.control.ask("prefetch", items=items)
        await until(lambda: lazy.contents.fetcher.guesses.guessed == 1, "the guessed block")
        lib = await lazy.fs.lookup(lazy.fs.root(), b"lib")
        assert await names(lazy.fs, lib) == [b"big", b"mods", b"preload"]
        assert await content(lazy.fs, await lazy.fs.lookup(lib, b"big")) == b"n" * (3 * BLOCK_BYTES)
        assert await content(lazy.fs, await lazy.fs.lookup(lib, b"preload")) == b"there now"
        assert await names(lazy.fs, await lazy.fs.lookup(lib, b"mods")) == [b"y", b"z"]
        stats = await lazy.user.control.ask("stats")
        assert (stats["guessed"], stats["used"], stats["wasted"]) == (1, 0, 1)


async def test_a_prefetch_goes_on_after_a_cut(top, place):
    for number in range(40):
        (top / f"f{number}").write_bytes(b"x" * BLOCK_BYTES)
    stat = os.stat(top / "f0")
    items = [[f"f{number}", stat.st_size, stat.st_mtime_ns, [0]] for number in range(40)]
    async with Lazy(top, place) as lazy:
        await lazy.user.control.ask("prefetch", items=items)
        await until(lambda: lazy.contents.fetcher.guesses.guessed, "the first block")
        await lazy.cut()
        assert lazy.contents.fetcher.guesses.guessed < 40 * BLOCK_BYTES
        await lazy.connect()
        await until(lambda: lazy.contents.fetcher.guesses.guessed >= 40 * BLOCK_BYTES, "all blocks")
