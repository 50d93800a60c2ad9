"""`python -m womm.nfs` as a process: where it listens, what it keeps, how it ends, what it refuses."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nfs import builder as b
from tests.nfs.peer import null, record_of
from tests.nfs.process import ServerProcess
from womm.nfs.__main__ import parse
from womm.nfs.constants import Attr, Op
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque

if not sys.platform.startswith("linux"):
    pytest.skip("the local backend needs Linux", allow_module_level=True)


@pytest.fixture
def top(tmp_path):
    path = tmp_path / "top"
    path.mkdir()
    return path


def _ask(server, record):
    """Send a record, return the reply's."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock, sock.makefile("rb") as stream:
        sock.sendall(record)
        mark = stream.read(4)
        return mark + stream.read(int.from_bytes(mark, "big") & 0x7FFFFFFF)


def _run(server, *operations):
    return b.read_reply(_ask(server, record_of(*operations)))


def _refusal(*words):
    found = subprocess.run(
        [sys.executable, "-m", "womm.nfs", "--port", "0", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode and found.stdout == ""
    return found.returncode, found.stderr


def test_handles_live_on_with_the_state_and_the_server_ends_quietly(top, tmp_path):
    (top / "f").write_bytes(b"content")
    server = ServerProcess(top, tmp_path)
    with server:
        handle = _run(server, b.putrootfh(), b.lookup(b"f"), b.getfh()).value(Op.GETFH)
        server.stop()
        assert os.stat(tmp_path / "state").st_mode & 0o777 == 0o700
        server.start()
        # The rights to reclaim were nobody's: there is no grace period.
        reply = _run(server, b.putfh(handle), b.read())
        assert reply.value(Op.READ) == (True, b"content")
        server.kill()
        server.start()
        assert _run(server, b.putfh(handle)).status is Status.OK


def test_metrics_are_one_line_of_json_at_sigusr1(top, tmp_path):
    with ServerProcess(top, tmp_path) as server:
        _ask(server, null())
        os.kill(server.pid, signal.SIGUSR1)
        _ask(server, null())
        server.stop()
        [line] = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
        assert json.loads(line)["requests"] == 1


def test_path_of_a_file_is_a_secret_that_the_log_does_not_have(top, tmp_path):
    (tmp_path / "path").write_text("/5ecre7\n")
    (top / "d").mkdir()
    with ServerProcess(top, tmp_path, "--path-file", str(tmp_path / "path"), "-vv") as server:
        assert b"5ecre7" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert _run(server, b.putrootfh(), b.lookup(b"d")).status is Status.NOENT
        assert _run(server, b.putrootfh(), b.lookup(b"5ecre7"), b.lookup(b"d")).status is Status.OK
        assert not _run(server, b.putrootfh(), b.readdir()).value(Op.READDIR)["entries"]
    assert "5ecre7" not in server.log.read_text()


def test_read_only_is_read_only_and_an_owner_owns(top, tmp_path):
    (top / "f").touch()
    with ServerProcess(top, tmp_path, "--read-only", "--owner", "5:6") as server:
        assert _run(server, b.putrootfh(), b.mkdir(b"d")).status is Status.ROFS
        shown = _run(server, b.putrootfh(), b.lookup(b"f"), b.getattr_(Attr.OWNER, Attr.OWNER_GROUP))
        assert shown.value(Op.GETATTR)[1] == pack_opaque(b"5") + pack_opaque(b"6")
    assert os.listdir(top) == ["f"]


def test_without_a_directory_files_are_in_memory(tmp_path):
    with ServerProcess(None, tmp_path) as server:
        assert _run(server, b.putrootfh(), b.mkdir(b"d")).status is Status.OK


@pytest.mark.parametrize("text", ["x", "1:x", "-1", "4294967295", "1:4294967295", "", "1.5"])
def test_owner_that_is_none_is_refused(capsys, text):
    with pytest.raises(SystemExit):
        parse([f"--owner={text}"])
    assert "--owner" in capsys.readouterr().err


def test_owner_without_a_group_has_that_of_its_number():
    assert parse(["--owner", "5"]).owner == (5, 5)
    assert parse(["--owner", "0:4294967294"]).owner == (0, 4294967294)
    assert parse([]).owner is None


def test_what_cannot_be_served_is_one_line(top, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.json").write_text("{}")
    for words, why in (
        ([tmp_path / "none"], "No such file or directory"),
        ([top, "--state", tmp_path / "state"], "state.json: not a state file"),
        ([top, "--path", "relative"], "begins with /"),
        ([top, "--path-file", tmp_path / "none"], "No such file or directory"),
    ):
        code, text = _refusal(*words)
        assert code == 1 and text.startswith("womm.nfs: ") and text.count("\n") == 1, text
        assert why in text
