"""Where names are the same in another case, their twins lead neither to womm's files nor to hidden ones."""

import errno
import os

import pytest

from tests.share.folding import mounted, possible
from tests.share.test_fence import fails
from womm.share.control import Writable
from womm.share.fence import Fence
from womm.share.ignore import Ignore
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.guard import Guard
from womm.wire.attributes import NewAttributes

pytestmark = [
    pytest.mark.soak,  # CI need not have FUSE
    pytest.mark.skipif(not possible(), reason="mounts a file system by /dev/fuse"),
]


def test_twins_of_names_are_refused_and_hidden_where_case_does_not_count(tmp_path):
    top, at = tmp_path / "top", tmp_path / "at"
    (top / "Sub").mkdir(parents=True)
    at.mkdir()
    (top / ".womm").write_text("mine")
    (top / ".wommignore").write_text("Secret*\n/sub/hid\n")
    for name in ("secret.key", "Sub/HID", "open"):
        (top / name).write_text(name)
    with mounted(top, at):
        assert (at / ".WOMM").read_text() == "mine" and (at / "SECRET.KEY").read_text() == "secret.key"
        fence = Fence(at)
        ignore = Ignore(fence)
        export = ExportedFolder(fence, guard=Guard(fence, ignore, Writable(), lambda line: None))
        for twin in (b".womm", b".WOMM", b".Womm", b".WommIgnore", b"sub/.WOMM"):
            for flags in (os.O_WRONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
                with fails(errno.EACCES, errno.ENOENT):
                    export.open(twin, flags, NewAttributes())
        for twin in (b"secret.key", b"SECRET.KEY", b"Secret.Key", b"SUB/hid", b"sub/HID", b"Sub/hId"):
            with fails(errno.ENOENT):
                export.get(twin, 0, 100)
            with fails(errno.ENOENT):
                export.lstat(twin)
        assert export.get(b"OPEN", 0, 100)[-5:] == b"open\1"
        fd = fence.open_directory(b"")
        names = sorted(name for name, _ in export.entries(fd, b""))
        assert names == [b".womm", b".wommignore", b"Sub", b"open"]
        os.close(fd)
        export.close()
