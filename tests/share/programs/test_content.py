"""Files of the programs that hold a secret."""

import os

import pytest

from womm.here.programs import Programs, Root
from womm.share.programs.content import Contents

TOKEN = b"token = ghp_" + b"abcDEF0123456789" * 2 + b"abcd\n"
PROGRAMS = Programs(
    (
        Root("/usr", "system", ""),
        Root("/opt", "opt", ""),
        Root("/root/conda", "conda", "", private=True),
        Root("/root/work", "python", "it has bin/python3", private=True),
    )
)


def judge(contents, path, name):
    fd = os.open(path, os.O_RDONLY)
    try:
        return contents.judge(name, fd, os.fstat(fd))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "name, content, rule",
    [
        (b"opt/tool/settings.ini", TOKEN, "GitHub token"),
        (b"usr/share/tool/settings.ini", TOKEN, "GitHub token"),
        (b"usr/local/lib/tool.py", TOKEN, "GitHub token"),
        (b"opt/tool/tool.py", TOKEN, "GitHub token"),
        (b"root/conda/bin/settings.ini", TOKEN, "GitHub token"),
        (b"root/conda/x.py", TOKEN, ""),
        (b"root/work/settings.py", TOKEN, "GitHub token"),
        (b"root/work/lib/python3.12/json.py", TOKEN, ""),
        (b"opt/tool/lib/python3.12/site-packages/x.py", TOKEN, ""),
        (b"opt/tool/lib/python3.12/site-packages/x.cfg", TOKEN, "GitHub token"),
        (b"usr/lib/python3/dist-packages/x.py", TOKEN, ""),  # a package's
        (b"usr/include/c++/12/vector", TOKEN, ""),
        (b"opt/tool/program", b"\x7fELF\0" + TOKEN, ""),
        (b"opt/tool/plain.txt", b"nothing to see\n", ""),
        (b"opt/tool/.netrc", b"machine h password s3cr3t-9\n", "netrc"),
        (b"usr/lib/node_modules/npm/npmrc", b"prefix = /usr\n", ""),
    ],
)
def test_a_text_with_a_secret_is_found(tmp_path, name, content, rule):
    (tmp_path / "f").write_bytes(content)
    assert judge(Contents(PROGRAMS), tmp_path / "f", name) == rule


def test_a_verdict_holds_for_one_version_of_a_file(tmp_path):
    file = tmp_path / "f"
    contents = Contents(PROGRAMS)
    file.write_bytes(b"harmless\n")
    assert judge(contents, file, b"opt/f") == ""
    file.write_bytes(TOKEN)
    assert judge(contents, file, b"opt/f") == contents.known(file.stat()) == "GitHub token"
    file.write_bytes(b"harmless again\n")
    assert contents.known(file.stat()) == judge(contents, file, b"opt/f") == ""
    assert "1 clean, 1 secret" in repr(contents)


def test_another_name_of_a_file_is_judged_by_itself(tmp_path):
    (tmp_path / "f").write_bytes(TOKEN)
    contents = Contents(PROGRAMS)
    assert judge(contents, tmp_path / "f", b"usr/lib/python3/dist-packages/x.py") == ""
    assert judge(contents, tmp_path / "f", b"opt/tool/x.py") == "GitHub token"


def test_a_file_that_is_being_read_holds_no_other_one_up(tmp_path):
    (tmp_path / "f").write_bytes(b"harmless\n")
    contents = Contents(PROGRAMS)
    found = (tmp_path / "f").stat()
    with contents._alone((found.st_dev, found.st_ino + 1)):  # on a dead mount
        assert judge(contents, tmp_path / "f", b"opt/f") == ""
    assert not contents._looking


def test_a_large_file_is_data(tmp_path):
    (tmp_path / "f").write_bytes(TOKEN + b"x" * (1 << 20))
    assert judge(Contents(PROGRAMS), tmp_path / "f", b"opt/f") == ""
