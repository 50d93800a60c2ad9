"""The secret's files: the file server reads what the user's side has made."""

import pytest

from womm.errors import WommError
from womm.wire.secret import EXPORT, IDENTITY, export_path, identity, nfs_secret


def write(folder, secret):
    for name, value in secret.items():
        (folder / name).write_bytes(value)


def test_the_file_server_reads_what_the_user_made(tmp_path):
    secret = nfs_secret()
    write(tmp_path, secret)
    assert export_path(tmp_path) == "/womm-" + secret[EXPORT].decode()
    found = identity(tmp_path)
    assert found is not None and found.hex().encode() == secret[IDENTITY]


def test_each_task_has_a_secret_of_its_own():
    one, other = nfs_secret(), nfs_secret()
    assert all(one[name] != other[name] for name in one)


def test_a_secret_without_an_identity_is_nobodys(tmp_path):
    assert identity(tmp_path) is None


@pytest.mark.parametrize("content", [None, "short", "0" * 33, "G" * 32])
def test_no_export_is_told_in_a_line(tmp_path, content):
    if content is not None:
        (tmp_path / EXPORT).write_text(content)
    with pytest.raises(WommError, match="export"):
        export_path(tmp_path)


def test_an_identity_that_is_no_hex_is_told_in_a_line(tmp_path):
    (tmp_path / IDENTITY).write_text("xyz")
    with pytest.raises(WommError, match="identity"):
        identity(tmp_path)
