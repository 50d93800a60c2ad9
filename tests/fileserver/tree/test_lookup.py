"""Looking: what is fresh needs no question, many who want the same ask once."""

import asyncio

from tests.fileserver.client import fails, names
from tests.fileserver.lazy import Lazy
from womm.nfs.status import Status


async def test_fresh_name_needs_no_question_and_a_doubted_one_needs_one(top, place):
    (top / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        lookup, root = lazy.lookup, lazy.tree.root
        assert lookup.known(root, b"f") is None
        node = await lookup.lookup(root, b"f")
        asked = lazy.link.session().sent_requests
        assert lookup.known(root, b"f") is node and await lookup.lookup(root, b"f") is node
        assert lookup.is_fresh(node)
        assert lazy.link.session().sent_requests == asked
        node.doubted()
        assert not lookup.is_fresh(node)
        await lookup.fresh(node)
        assert lookup.is_fresh(node) and lazy.link.session().sent_requests > asked


async def test_many_who_look_at_one_name_ask_once(top, place):
    (top / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        root, asked = lazy.tree.root, lazy.link.session().sent_requests
        found = await asyncio.gather(*(lazy.lookup.lookup(root, b"f") for _ in range(5)))
        assert len(set(found)) == 1
        assert lazy.link.session().sent_requests == asked + 1


async def test_name_that_is_not_there_is_known_to_be_absent(top, place):
    async with Lazy(top, place) as lazy:
        root = lazy.tree.root
        await fails(Status.NOENT, lazy.lookup.lookup(root, b"f"))
        asked = lazy.link.session().sent_requests
        await fails(Status.NOENT, lazy.lookup.lookup(root, b"f"))
        assert lazy.link.session().sent_requests == asked


async def test_listed_directory_needs_no_question_until_the_next_connection(top, place):
    (top / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        assert await names(lazy.fs) == [b"f"]
        await lazy.cut()
        assert await names(lazy.fs) == [b"f"]
        await lazy.connect()
        (top / "g").write_bytes(b"x")
        assert await names(lazy.fs) == [b"f", b"g"]


async def test_without_a_link_what_is_not_known_is_delayed(top, place):
    (top / "f").write_bytes(b"x")
    async with Lazy(top, place) as lazy:
        await lazy.cut()
        await fails(Status.DELAY, lazy.lookup.lookup(lazy.tree.root, b"f"))
        await fails(Status.DELAY, lazy.lookup.list_names(lazy.tree.root))
