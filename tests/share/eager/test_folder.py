"""The user's folder of an eager share: when it is gone, another one, or cannot be read."""

import errno
import os
from pathlib import Path

import pytest

from womm.errors import ShareError
from womm.share.eager.folder import CopiedFolder
from womm.share.eager.manifest import Ancestor


def copied(path: Path) -> CopiedFolder:
    return CopiedFolder(path, "t1", None)


def test_opened_folder_is_closed_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    with folder.opened() as root:
        assert os.fstat(root).st_ino == tmp_path.stat().st_ino
    with pytest.raises(KeyError), folder.opened() as other:
        raise KeyError
    for fd in (root, other):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_folder_that_is_none_any_more_is_told_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with (
        pytest.raises(ShareError, match=r"cannot open .*/f: No such file or directory"),
        copied(path).opened(),
    ):
        pass
    path.touch()
    with pytest.raises(ShareError, match=r"/f is no folder any more: nothing was copied"):
        copied(path).walk(lambda: None)


def test_walk_finds_what_is_there_and_ends_when_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("f")
    assert set(copied(tmp_path).walk(lambda: None).entries) == {b"d", b"d/f"}

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied(tmp_path).walk(stop)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_error_of_a_full_disk_says_what_became_of_the_files_and_what_to_type(number: int) -> None:
    error = copied(Path("/p")).error(OSError(number, os.strerror(number), b"a\x1b\xff"))
    assert error.message == (
        f"no room for what comes back into /p: {os.strerror(number)} (a\\x1b\\xff);"
        " files here are whole, the rest is still in the store"
    )
    assert error.hint == "df /p"


def test_error_of_another_kind_has_the_words_that_there_are() -> None:
    folder = copied(Path("/p"))
    assert folder.error(OSError(errno.EIO, "Input/output error")).message == "/p: Input/output error"
    assert folder.error(OSError("no number")).message == "/p: no number"


def test_folder_is_the_copied_one_by_device_and_inode(tmp_path: Path) -> None:
    found = os.stat(tmp_path)
    folder = copied(tmp_path)
    folder.must_be_copied(Ancestor(found.st_dev, found.st_ino), found, "so")
    for dev, ino in ((found.st_dev + 1, found.st_ino), (found.st_dev, found.st_ino + 1)):
        with pytest.raises(ShareError, match=r"is not the folder that was copied .*: it is not copied again"):
            folder.must_be_copied(Ancestor(dev, ino), found, "it is not copied again")
