"""What clients have used, in the order of the first use."""

from tests.fileserver.client import fails
from tests.fileserver.lazy import Lazy
from womm.fileserver.contents.uses import ABSENT_NAMES
from womm.nfs.status import Status
from womm.wire.ahead import ABSENT, LISTED


async def test_uses_are_in_the_order_of_the_first_use_without_what_is_gone(top, place):
    for file in ("b", "a", "gone"):
        (top / file).touch()
    async with Lazy(top, place) as lazy:
        for name in (b"b", b"gone", b"a", b"b"):
            await lazy.fs.lookup(lazy.fs.root(), name)
        await fails(Status.NOENT, lazy.fs.lookup(lazy.fs.root(), b"none"))
        (top / "gone").unlink()
        await lazy.user.control.ask("changed", paths=["gone"], all=False)
        await fails(Status.NOENT, lazy.fs.lookup(lazy.fs.root(), b"gone"))
        found = [(item.path, item.size) for item in lazy.contents.uses.learned()]
        assert found == [(b"b", 0), (b"a", 0), (b"none", ABSENT), (b"gone", ABSENT)]


async def test_many_absent_names_of_a_directory_are_its_listing(top, place):
    async with Lazy(top, place) as lazy:
        for number in range(ABSENT_NAMES + 1):
            await fails(Status.NOENT, lazy.fs.lookup(lazy.fs.root(), b"%d" % number))
        assert [(item.path, item.size) for item in lazy.contents.uses.learned()] == [(b"", LISTED)]
