"""The logs of all files together: how many bytes are unsent, and whether there is room."""

import itertools

import pytest

from womm.fileserver.contents.backlog import Backlog
from womm.fileserver.tree.nodes import FileNode
from womm.nfs.constants import FileType
from womm.wire.attributes import Stat

STAT = Stat(0o100644, 10, 1000, 1000, 1000, 1, 5, 1, 8)


@pytest.fixture
def file():
    node = FileNode(7, FileType.REGULAR, 1, 5, itertools.count(1).__next__)
    node.seen(STAT)
    return node


def write(backlog, file, offset, data):
    log = file.use.log or backlog.begin(file, file.user_edits)
    backlog.append(log, offset, memoryview(data), 5000)
    return log


def test_bytes_are_unsent_until_they_are_cut_out_or_dropped(tmp_path, file):
    backlog = Backlog(tmp_path, 1 << 20)
    log = write(backlog, file, 0, b"a" * 100)
    write(backlog, file, 50, b"b" * 100)  # over a part of it
    assert backlog.unsent_bytes == 150
    mark = log.turn()
    write(backlog, file, 200, b"c" * 10)
    backlog.cut(log, lambda: log.remove_before(mark))
    assert backlog.unsent_bytes == 10
    assert not backlog.end_if_sent(file)
    backlog.drop(file)
    assert (backlog.unsent_bytes, file.use.log) == (0, None)
    backlog.close([])
    assert list(tmp_path.iterdir()) == []


def test_log_that_is_sent_ends(tmp_path, file):
    backlog = Backlog(tmp_path, 1 << 20)
    log = write(backlog, file, 0, b"a" * 100)
    backlog.cut(log, lambda: log.remove_before(log.turn()))
    assert backlog.end_if_sent(file) and file.use.log is None
    assert backlog.end_if_sent(file)
    backlog.close([])


def test_there_is_room_up_to_the_limit(tmp_path, file):
    backlog = Backlog(tmp_path, 1000)
    assert backlog.has_room(1000) and not backlog.has_room(1001)
    write(backlog, file, 0, b"a" * 500)
    assert not backlog.has_room(500)  # a record has a head, too
    backlog.drop(file)
    assert backlog.has_room(1000)
    backlog.close([])


def test_logs_that_are_left_are_recovered_by_the_next_process(tmp_path, file):
    backlog = Backlog(tmp_path, 1 << 20)
    backlog.close([write(backlog, file, 20, b"a" * 100)])
    again = Backlog(tmp_path, 1 << 20)
    node = FileNode(7, FileType.REGULAR, 1, 5, itertools.count(1).__next__)
    node.seen(STAT)
    for fileid, log in again.left().items():
        assert (fileid, again.unsent_bytes) == (7, 0)
        again.recover(node, log)
    assert node.stat is not None
    assert (again.unsent_bytes, node.stat.size, node.use.written) == (100, 120, True)
    again.drop(node)
    again.close([])
