"""The cache of blocks."""

import random
import resource

from womm.fileserver.contents.blocks import BLOCK_BYTES, Blocks


def test_blocks_are_what_was_put_or_nothing(tmp_path):
    chance = random.Random(2)
    blocks = Blocks(tmp_path, 6 * BLOCK_BYTES, memory_bytes=4 * BLOCK_BYTES)
    model, found = {}, 0
    for _ in range(1500):
        fileid, number = chance.randrange(3), chance.randrange(8)
        what = chance.random()
        if what < 0.4:
            data = chance.randbytes(16) * (BLOCK_BYTES // 16 if chance.random() < 0.8 else 3)
            blocks.put(fileid, number, data)
            model[fileid, number] = data
        elif what < 0.95:
            kept = blocks.get(fileid, number)
            assert kept is None or kept == model[fileid, number]
            assert blocks.has(fileid, number) == (kept is not None)
            found += kept is not None
        else:
            blocks.drop(fileid, number)
            model = {key: data for key, data in model.items() if key[0] != fileid or key[1] < number}
    assert found > 100
    assert list(tmp_path.iterdir()) == []
    blocks.close()


def test_blocks_of_a_pinned_file_stay_until_they_are_dropped():
    blocks = Blocks(None, 0, memory_bytes=2 * BLOCK_BYTES)
    blocks.put(1, 0, b"before")
    blocks.pin(1)
    blocks.put(1, 1, b"after")
    for number in range(5):
        blocks.put(2, number, bytes(BLOCK_BYTES))
    assert (blocks.get(1, 0), blocks.get(1, 1), blocks.pinned_bytes) == (b"before", b"after", 11)
    blocks.put(1, 1, b"new")
    assert (blocks.get(1, 1), blocks.pinned_bytes) == (b"new", 9)
    blocks.drop(1)
    assert not blocks.has(1, 0) and not blocks.has(1, 1) and blocks.pinned_bytes == 0
    blocks.close()


def test_without_a_disk_only_memory_is_used():
    blocks = Blocks(None, 1 << 30, memory_bytes=2 * BLOCK_BYTES)
    for number in range(5):
        blocks.put(1, number, bytes([number]) * BLOCK_BYTES)
    assert [blocks.has(1, number) for number in range(5)] == [False, False, False, True, True]
    blocks.close()


def test_block_of_which_the_disk_took_a_part_is_forgotten(tmp_path):
    """A limit of a file's size cuts a write short, as a disk does that fills up."""
    blocks = Blocks(tmp_path, 8 * BLOCK_BYTES, memory_bytes=BLOCK_BYTES)
    data = [bytes([65 + number]) * BLOCK_BYTES for number in range(6)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK_BYTES + 5000, hard))
    try:
        for number in range(3):
            blocks.put(1, number, data[number])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [blocks.has(1, number) for number in range(3)] == [True, False, True]
    for number in range(3, 6):  # the slots after it, too, are written now
        blocks.put(1, number, data[number])
    assert [blocks.get(1, number) for number in range(6)] == [data[0], None, *data[2:]]
    blocks.close()
