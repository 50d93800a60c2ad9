"""Looking ahead: how many questions a walk through the folder costs."""

import asyncio

from tests.fileserver.client import names
from tests.fileserver.lazy import Lazy


async def test_second_name_of_a_directory_has_all_of_it_listed(top, place):
    for number in range(50):
        (top / f"f{number}").touch()
    async with Lazy(top, place) as lazy:
        root = lazy.tree.root
        await lazy.lookup.lookup(root, b"f0")
        await lazy.lookup.lookup(root, b"f1")
        while root.directory.listed_epoch != lazy.tree.freshness.epoch:
            await asyncio.sleep(0.01)
        asked = lazy.link.session().sent_requests
        for number in range(50):
            await lazy.lookup.lookup(root, b"f%d" % number)
        assert lazy.link.session().sent_requests == asked


async def test_walk_through_directories_asks_less_often_than_there_are_directories(top, place):
    for number in range(60):
        (top / f"d{number}").mkdir()
        (top / f"d{number}" / "f").touch()
    async with Lazy(top, place) as lazy:
        asked = lazy.link.session().sent_requests
        for name in await names(lazy.fs):
            below = await lazy.fs.lookup(lazy.fs.root(), name)
            assert await names(lazy.fs, below) == [b"f"]
        assert lazy.link.session().sent_requests - asked < 30


async def test_a_static_tree_is_listed_at_the_first_question_with_links_and_what_is_below(top, place):
    (top / "lib" / "mods").mkdir(parents=True)
    (top / "lib" / "mods" / "m").touch()
    (top / "lib" / "l").symlink_to("mods")
    async with Lazy(top, place, static=True) as lazy:
        lib = await lazy.fs.lookup(lazy.fs.root(), b"lib")
        assert await names(lazy.fs, lib) == [b"l", b"mods"]
        asked = lazy.link.session().sent_requests
        assert await lazy.fs.readlink(await lazy.fs.lookup(lib, b"l")) == b"mods"
        assert await names(lazy.fs, await lazy.fs.lookup(lib, b"mods")) == [b"m"]
        assert lazy.link.session().sent_requests == asked
