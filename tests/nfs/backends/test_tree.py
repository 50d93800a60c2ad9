"""Inodes of a directory: keys, how they are found again, which descriptors stay open, changes."""

import asyncio
import os
import sys

import pytest

from womm.nfs.constants import FileType
from womm.nfs.status import NFSError, Status

if not sys.platform.startswith("linux"):
    pytest.skip("the local backend needs Linux", allow_module_level=True)

from womm.nfs.backends.tree import ROOT_INO, LocalNode, Tree, change_of, pack_key, proc_path


class _Started:
    """`async with`: a tree of `top`, which leaves no descriptor behind."""

    def __init__(self, top, index=None, max_fds=100):
        self.top = top
        self._tree = Tree(str(top), index, max_fds)

    async def __aenter__(self):
        self._before = len(os.listdir("/proc/self/fd"))
        self._tree.start()
        return self._tree

    async def __aexit__(self, *exc):
        await self._tree.stop()
        assert len(os.listdir("/proc/self/fd")) == self._before


@pytest.fixture
def top(tmp_path):
    path = tmp_path / "top"
    path.mkdir()
    return path


async def _refused(work):
    with pytest.raises(NFSError) as caught:
        await work
    return caught.value.status


# -- keys ------------------------------------------------------------------------------------------------
async def test_key_is_number_and_birth_and_the_roots_is_always_the_same(top):
    (top / "f").touch()
    async with _Started(top) as tree:
        node = tree.enter(tree.root, b"f")
        assert node.ino == (top / "f").stat().st_ino
        assert node.key == pack_key(node.ino, node.birth_ns) and len(node.key) == 16
        assert tree.root.key == pack_key(ROOT_INO, 0)
        assert tree.find(node.key) is node and await tree.resolve(tree.root.key) is tree.root


@pytest.mark.parametrize("key", [b"", b"x", bytes(15), bytes(17), b"\xff" * 48])
async def test_key_of_another_length_is_no_handle(top, key):
    async with _Started(top) as tree:
        assert tree.find(key) is None
        assert await _refused(tree.resolve(key)) is Status.BADHANDLE


@pytest.mark.parametrize("key", [bytes(16), b"\xff" * 16])
async def test_key_of_no_file_is_stale_after_one_search(top, key):
    async with _Started(top) as tree:
        assert await _refused(tree.resolve(key)) is Status.STALE


async def test_key_of_the_same_number_and_another_birth_is_stale(top):
    (top / "f").touch()
    async with _Started(top) as tree:
        node = tree.enter(tree.root, b"f")
        assert await _refused(tree.resolve(pack_key(node.ino, node.birth_ns + 1))) is Status.STALE


# -- names -----------------------------------------------------------------------------------------------
async def test_two_names_of_a_file_lead_to_one_node(top):
    (top / "f").touch()
    os.link(top / "f", top / "g")
    async with _Started(top) as tree:
        assert tree.enter(tree.root, b"f") is tree.enter(tree.root, b"g")


async def test_link_is_entered_and_not_followed(top, tmp_path):
    (tmp_path / "secret").touch()
    (top / "l").symlink_to(tmp_path)
    async with _Started(top) as tree:
        link = tree.enter(tree.root, b"l")
        assert link.kind is FileType.SYMLINK
        with pytest.raises(NotADirectoryError):
            tree.enter(link, b"secret")


async def test_root_that_is_met_below_itself_is_refused(top):
    """As after somebody has mounted the top in itself; "." stands for that, and comes from no client."""
    async with _Started(top) as tree:
        with pytest.raises(NFSError) as caught:
            tree.enter(tree.root, b".")
        assert caught.value.status is Status.ACCESS


async def test_name_that_leads_to_another_file_makes_another_node(top):
    (top / "f").touch()
    async with _Started(top) as tree:
        first = tree.enter(tree.root, b"f")
        (top / "new").touch()
        os.rename(top / "new", top / "f")
        second = tree.enter(tree.root, b"f")
        assert second is not first and second.key != first.key


# -- descriptors -----------------------------------------------------------------------------------------
async def test_least_used_descriptors_are_closed_and_opened_again(top):
    for number in range(10):
        (top / str(number)).touch()
    async with _Started(top, max_fds=3) as tree:
        nodes = [tree.enter(tree.root, b"%d" % number) for number in range(10)]
        assert [node.fd >= 0 for node in nodes] == [False] * 7 + [True] * 3
        assert os.fstat(tree.fd(nodes[0])).st_ino == nodes[0].ino
        assert [node.fd >= 0 for node in nodes] == [True] + [False] * 7 + [True] * 2
        assert len(tree.recent) == 3


async def test_pinned_node_keeps_its_descriptor(top):
    for number in range(5):
        (top / str(number)).touch()
    async with _Started(top, max_fds=1) as tree:
        pinned = tree.enter(tree.root, b"0")
        pinned.pins = 1
        tree.use(pinned)
        others = [tree.enter(tree.root, b"%d" % number) for number in range(1, 5)]
        os.unlink(top / "0")
        assert os.fstat(tree.fd(pinned)).st_nlink == 0
        assert sum(node.fd >= 0 for node in others) == 1


async def test_descriptor_is_not_opened_again_on_another_file(top):
    (top / "f").touch()
    (top / "g").touch()
    async with _Started(top, max_fds=1) as tree:
        node = tree.enter(tree.root, b"f")
        tree.enter(tree.root, b"g")
        assert node.fd < 0
        os.rename(top / "g", top / "f")
        with pytest.raises(NFSError) as caught:
            tree.fd(node)
        assert caught.value.status is Status.STALE
        assert tree.find(node.key) is None


async def test_nodes_that_nobody_holds_are_forgotten_with_their_descriptors(top):
    (top / "f").touch()
    async with _Started(top) as tree:
        node = tree.enter(tree.root, b"f")
        path = proc_path(node.fd)
        assert os.readlink(path) == str(top / "f")
        tree.recent.pop(node)
        del node
        assert list(tree.nodes.values()) == [tree.root]
        assert not os.path.lexists(path)


# -- found again -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kept", [True, False])
async def test_keys_of_a_deep_tree_are_found_by_the_next_server(top, tmp_path, kept):
    index = tmp_path / "files.db"
    deep = top.joinpath(*"abcdef")
    deep.mkdir(parents=True)
    (deep / "f\udcff").touch()
    async with _Started(top, index) as tree:
        node = tree.root
        for name in (b"a", b"b", b"c", b"d", b"e", b"f", b"f\xff"):
            node = tree.enter(node, name)
        key = node.key
    if not kept:
        index.unlink()
    async with _Started(top, index) as tree:
        assert tree.find(key) is None
        assert os.fsencode(os.readlink(proc_path(tree.fd(await tree.resolve(key))))).endswith(b"/f/f\xff")


async def test_many_that_look_for_lost_files_at_a_time_find_them_all(top):
    for number in range(20):
        (top / str(number)).touch()
    async with _Started(top) as tree:
        keys = [tree.enter(tree.root, b"%d" % number).key for number in range(20)]
    for number in range(20):
        os.rename(top / str(number), top / f"moved {number}")
    async with _Started(top) as tree:
        found = await asyncio.gather(*(tree.resolve(key) for key in keys))
        assert [node.key for node in found] == keys


async def test_file_removed_through_the_server_is_stale_without_a_search(top):
    (top / "f").touch()
    async with _Started(top) as tree:
        node = tree.enter(tree.root, b"f")
        os.unlink(top / "f")
        tree.unlinked(node)
        key = node.key
        assert (node.fd, node.gone) == (-1, True)
        assert await _refused(tree.resolve(key)) is Status.STALE
        assert repr(tree._search) == "<Search idle, 0 sought>"


async def test_file_that_lost_one_of_two_names_is_found_by_the_other(top):
    (top / "f").touch()
    os.link(top / "f", top / "g")
    async with _Started(top) as tree:
        tree.enter(tree.root, b"g")
        node = tree.enter(tree.root, b"f")
        os.unlink(top / "f")
        tree.unlinked(node)
        assert not node.gone
        key = node.key
        tree.recent.pop(node)
        del node
        assert (await tree.resolve(key)).name == b"g"


# -- change ----------------------------------------------------------------------------------------------
def test_change_is_the_ctime_and_always_grows():
    node = LocalNode(1, 0, FileType.REGULAR)
    assert change_of(node, 1000) == 1000
    assert change_of(node, 1000) == 1000
    node.touched = True
    assert change_of(node, 1000) == 1001  # the clock of the kernel is coarse
    assert change_of(node, 1000) == 1001
    assert change_of(node, 1001) == 1002
    assert change_of(node, 500) == 1003  # somebody has set the clock back
    assert change_of(node, 5000) == 5000


async def test_change_of_a_directory_grows_with_a_change_within_one_tick_of_the_clock(top):
    async with _Started(top) as tree:
        before = tree.changed(tree.root)
        assert tree.changed(tree.root) == before
        assert tree.changed(tree.root, touched=True) > before
