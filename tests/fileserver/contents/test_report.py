"""What the user's side hears with the next flush."""

import errno
import itertools

from womm.fileserver.contents.report import Report
from womm.fileserver.tree.nodes import FileNode
from womm.nfs.constants import FileType


def test_touched_file_is_reported_by_its_path_unless_it_is_gone():
    count = itertools.count(1).__next__
    top = FileNode(1, FileType.DIRECTORY, 1, 1, count)
    file = FileNode(7, FileType.REGULAR, 1, 5, count)
    file.linked(top, b"f")
    report = Report()
    report.touch(file)
    report.touch_path(b"removed")
    report.touch(file)
    assert list(report.touched) == [b"f", b"removed"]
    file.unlinked(top, b"f")
    file.lost()
    report.touched.clear()
    report.touch(file)
    assert report.touched == {}


def test_lost_writes_are_kept_with_their_error():
    report, error = Report(), OSError(errno.EFBIG, "File too large")
    report.lose(b"f", error)
    assert report.failed == {b"f": error}
