"""The logs of what is not sent yet."""

import random
import shutil

import pytest

from womm.fileserver.writelog import Piece, Pieces, WriteLog, WriteLogs


def _content(log, size):
    data = bytearray(size)
    for piece in log.pieces.within(0, size):
        data[piece.offset : piece.end] = log.read(piece)
    return bytes(data)


def test_pieces_are_the_newest_bytes_of_every_range():
    chance = random.Random(1)
    for _ in range(200):
        pieces, model, position = Pieces(), {}, 0
        for _ in range(30):
            offset, length = chance.randrange(60), chance.randrange(1, 20)
            pieces.add(Piece(offset, length, position))
            model.update({offset + n: position + n for n in range(length)})
            position += length
        found = {p.offset + n: p.position + n for p in pieces for n in range(p.length)}
        assert found == model
        assert pieces.size_bytes == len(model)
        assert pieces.end == max(model) + 1
        start, end = sorted((chance.randrange(80), chance.randrange(80)))
        part = {p.offset + n: p.position + n for p in pieces.within(start, end) for n in range(p.length)}
        assert part == {at: where for at, where in model.items() if start <= at < end}


def test_log_that_is_torn_anywhere_has_all_whole_records(tmp_path):
    logs = WriteLogs(tmp_path / "a")
    log = WriteLog(logs, 7)
    writes = [(0, b"first"), (3, b"second"), (20, b"third" * 3)]
    ends = []
    for number, (offset, data) in enumerate(writes):
        log.append(offset, data, number)
        ends.append((tmp_path / "a" / "00000001.log").stat().st_size)
    log.sync()
    assert log.synced
    whole = (tmp_path / "a" / "00000001.log").read_bytes()
    log.close(remove=False)
    for size in range(len(whole) + 1):
        folder = tmp_path / "torn"
        folder.mkdir()
        (folder / "00000001.log").write_bytes(whole[:size])
        model = bytearray(64)
        for (offset, data), end in zip(writes, ends, strict=True):
            if end <= size:
                model[offset : offset + len(data)] = data
        again = WriteLogs(folder)
        left = again.left()
        assert set(left) == ({7} if size >= ends[0] else set())
        if left:
            assert _content(left[7], 64) == bytes(model)
            left[7].close(remove=True)
        again.close()
        assert list(folder.iterdir()) == []
        shutil.rmtree(folder)


@pytest.mark.parametrize("at", [0, 30, 50])
def test_log_with_a_flipped_bit_ends_there(tmp_path, at):
    logs = WriteLogs(tmp_path)
    log = WriteLog(logs, 7)
    log.append(0, b"x" * 20, 1)
    log.close(remove=False)
    data = bytearray((tmp_path / "00000001.log").read_bytes())
    data[at] ^= 4
    (tmp_path / "00000001.log").write_bytes(data)
    again = WriteLogs(tmp_path)
    assert again.left() == {}
    again.close()


def test_what_is_flushed_is_forgotten_and_its_file_is_used_again(tmp_path):
    logs = WriteLogs(tmp_path)
    log, other = WriteLog(logs, 7), WriteLog(logs, 8)
    log.append(0, b"a" * 100, 1)
    mark = log.turn()
    log.append(50, b"b" * 10, 2)
    log.remove_before(mark)
    assert [(piece.offset, log.read(piece)) for piece in log.pieces] == [(50, b"b" * 10)]
    other.append(0, b"c", 3)
    assert len(list(tmp_path.iterdir())) == 2
    log.close(remove=False)
    other.close(remove=False)
    logs.close()
    again = WriteLogs(tmp_path)
    left = again.left()
    assert _content(left[7], 60) == bytes(50) + b"b" * 10
    assert _content(left[8], 1) == b"c"
    for found in left.values():
        found.close(remove=True)
    again.close()
    assert list(tmp_path.iterdir()) == []
