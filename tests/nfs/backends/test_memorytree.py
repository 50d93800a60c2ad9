"""Sparse contents against plain bytes, and the nodes and directories of a filesystem in memory."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.nfs.backends.memorytree import BLOCK_BYTES, Blocks, MemoryTree
from womm.nfs.constants import FileType
from womm.nfs.filesystem import NOTHING, NOW, Settings
from womm.nfs.status import NFSError, Status

EDGES = st.sampled_from(
    [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES]
)
OFFSETS = st.one_of(EDGES, st.integers(0, 3 * BLOCK_BYTES))
STEPS = st.lists(st.tuples(st.sampled_from(["write", "punch", "truncate"]), OFFSETS, OFFSETS), max_size=12)


@given(STEPS, OFFSETS, OFFSETS)
def test_blocks_are_what_plain_bytes_are(steps, offset, count):
    blocks, model = Blocks(), bytearray()
    for number, (what, at, size) in enumerate(steps, start=1):
        if what == "write" and size:
            data = bytes([number]) * size
            blocks.write(at, data)
            model += bytes(max(0, at + size - len(model)))
            model[at : at + size] = data
        elif what == "punch":
            blocks.punch(at, size)
            end = min(at + size, len(model))
            model[at:end] = bytes(max(0, end - at))
        elif what == "truncate":
            blocks.truncate(at)
            model = model[:at] + bytes(max(0, at - len(model)))
        assert blocks.size == len(model)
    assert blocks.read(0, 1 << 30) == model
    assert blocks.read(offset, count) == model[offset : offset + count]


def test_what_was_never_written_takes_no_memory_and_is_found_as_a_hole():
    blocks = Blocks()
    blocks.write(1 << 40, b"x")
    assert (blocks.size, len(blocks.blocks)) == ((1 << 40) + 1, 1)
    assert blocks.read(0, 10) == bytes(10)
    assert (blocks.seek(0, False), blocks.seek(1 << 40, True), blocks.seek(1 << 40, False)) == (
        0,
        1 << 40,
        (1 << 40) + 1,
    )
    blocks.truncate(1 << 62)
    blocks.truncate(5)
    assert (blocks.size, blocks.blocks, blocks.seek(0, True), blocks.seek(0, False)) == (5, {}, None, 0)


def test_bytes_that_were_cut_off_are_zeros_when_the_file_grows_again():
    blocks = Blocks()
    blocks.write(0, b"x" * 100)
    blocks.truncate(10)
    blocks.truncate(100)
    assert blocks.read(0, 100) == b"x" * 10 + bytes(90)


@pytest.fixture
def tree():
    return MemoryTree(itertools.count(1000).__next__)


def _make(tree, name, kind=FileType.REGULAR, above=None, settings=NOTHING):
    return tree.make(above or tree.root, name, kind, settings, 0o644)


def test_directories_count_their_links(tree):
    one = _make(tree, b"d", FileType.DIRECTORY)
    two = _make(tree, b"e", FileType.DIRECTORY, one)
    assert (tree.root.nlink, one.nlink, two.nlink) == (3, 3, 2)
    assert two.above is one
    assert tree.leave(one, b"e") is two
    tree.unlink(two)
    assert (one.nlink, two.nlink, two.key in tree.nodes) == (2, 0, False)
    with pytest.raises(NFSError) as caught:
        _make(tree, b"x", above=two)
    assert caught.value.status is Status.STALE


def test_name_that_is_taken_changes_nothing(tree):
    node = _make(tree, b"f")
    change = tree.root.change
    with pytest.raises(NFSError) as caught:
        _make(tree, b"f", FileType.DIRECTORY)
    assert caught.value.status is Status.EXIST
    assert (tree.root.change, tree.root.entries[b"f"][1], len(tree.nodes)) == (change, node, 2)


def test_node_without_a_name_lives_as_long_as_it_is_open(tree):
    node = _make(tree, b"f")
    node.opens = 1
    tree.leave(tree.root, b"f")
    tree.unlink(node)
    assert node.key in tree.nodes
    node.opens = 0
    tree.forget_unused(node)
    assert node.key not in tree.nodes


def test_cookies_grow_and_are_never_used_again(tree):
    for name in (b"a", b"b", b"c"):
        _make(tree, name)
    before = list(tree.root.cookies)
    tree.leave(tree.root, b"c")
    _make(tree, b"c")
    assert before == sorted(before) and min(before) > 2
    assert max(tree.root.cookies) > before[-1]


def test_changes_grow_the_change_attribute_and_the_times(tree):
    node = _make(tree, b"f")
    change, mtime_ns = node.change, node.mtime_ns
    tree.changed(node)
    assert (node.change, node.mtime_ns) == (change + 1, mtime_ns)
    tree.changed(node, content=True)
    assert node.change == change + 2 and node.mtime_ns == node.ctime_ns > mtime_ns


def test_settings_are_set_and_none_is_left(tree):
    node = _make(tree, b"f", settings=Settings(mode=0o4711, uid=5, size=10, mtime_ns=-3))
    assert (node.mode, node.uid, node.gid, node.content.size, node.mtime_ns) == (0o4711, 5, 0, 10, -3)
    tree.set_attributes(node, Settings(gid=6, atime_ns=NOW))
    assert (node.mode, node.uid, node.gid, node.mtime_ns) == (0o4711, 5, 6, -3)
    assert node.atime_ns >= 1000
    link = _make(tree, b"l", FileType.SYMLINK)
    tree.set_attributes(link, Settings(mode=0))
    assert link.mode == 0o644
