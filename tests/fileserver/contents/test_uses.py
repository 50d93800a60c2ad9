"""What clients have used, in the order of the first use."""

import itertools

from tests.fileserver.client import fails
from tests.fileserver.lazy import Lazy
from womm.fileserver.contents.uses import ABSENT_NAMES, MOST_ITEMS, MOST_PATH_BYTES, Uses
from womm.fileserver.tree.nodes import FileNode
from womm.nfs.constants import FileType
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


def directories(count, name_bytes=200):
    """Names of a root's many directories."""
    numbers = itertools.count()
    root = FileNode(1, FileType.DIRECTORY, 0, 1, numbers.__next__)
    for number in range(count):
        node = FileNode(number + 2, FileType.DIRECTORY, 0, number + 2, numbers.__next__)
        node.linked(root, b"%0*d" % (name_bytes, number))
        yield node


def test_what_is_learned_is_bounded_in_bytes():
    uses = Uses()
    for node in directories(1000):
        for number in range(ABSENT_NAMES - 1):
            uses.absent(node, b"%0200d" % number)
    sizes = [len(item.path) for item in uses.learned()]
    assert MOST_PATH_BYTES - 500 < sum(sizes) <= MOST_PATH_BYTES


def test_what_is_learned_is_bounded_in_number_also_of_absent_names():
    uses = Uses()
    for node in directories(MOST_ITEMS + 10, 6):
        uses.absent(node, b"a")
        uses.listed(node)
    assert len(uses._items) == len(uses._absent) == len(uses._listed) == MOST_ITEMS
    assert len(list(uses.learned())) == MOST_ITEMS
