"""`python -m womm.fileserver` as a process."""

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.fileserver.lazy import KEYS, write_secret
from tests.fileserver.process import FileServer, UserThread


def _argv(place, *words):
    options = ["--secret", str(place / "secret"), "--state", str(place / "state"), "--port", "0"]
    return [sys.executable, "-m", "womm.fileserver", *options, *words]


def _start(place, *words) -> Any:
    return subprocess.Popen(_argv(place, *words), stdout=subprocess.PIPE, text=True)


def test_local_serves_and_ends_at_sigterm(place):
    write_secret(place / "secret")
    process = _start(place, "--local", str(place / "new"))
    line = process.stdout.readline()
    assert line.startswith("womm-fileserver ready port=")
    assert (place / "new").is_dir()
    socket.create_connection(("127.0.0.1", int(line.split("=")[1]))).close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.stdout.close()


def test_local_waits_for_its_clients_to_go(place):
    write_secret(place / "secret")
    process = _start(place, "--local", str(place / "d"))
    port = int(process.stdout.readline().split("=")[1])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"\x80\0\0\x28" + b"\0\0\0\1" + bytes(4) + b"\0\0\0\2\0\1\x86\xa3\0\0\0\4" + bytes(20))
        assert client.recv(100)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # it must do nothing meanwhile
        assert process.poll() is None
    assert process.wait(20) == 0
    process.stdout.close()


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda secret: (secret / "export").unlink(), "export: No such file or directory"),
        (lambda secret: (secret / "export").write_text("short"), "does not hold 32 hex digits"),
        (lambda secret: (secret / "client_key").unlink(), "client_key: No such file or directory"),
        (lambda secret: (secret / "host_key.pub").write_text("?"), "secret: "),
    ],
)
def test_bad_secret_is_one_clear_line(place, break_it, words):
    break_it(write_secret(place / "secret"))
    found = subprocess.run(
        _argv(place, "--lazy", str(place / "share")),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr.startswith("womm.fileserver: ")
    assert words in found.stderr
    assert found.stderr.count("\n") == 1


def test_lazy_flushes_tells_and_ends(place, tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    with FileServer(place / "s") as server:
        assert os.stat(server.socket).st_mode & 0o777 == 0o600
        user = UserThread(top, server.socket)
        try:
            user.wait()
            assert user.side.control.hello.result()["version"] == 2
            assert user.ask("stats") == {
                "id": 1,
                "ok": True,
                "fetched": pytest.approx(300, abs=300),
                "cached": 0,
                "written": 0,
                "unwritten": 0,
                "reads": 0,
                "guessed": 0,
                "used": 0,
                "wasted": 0,
            }
            assert user.ask("flush", seen=0) == {"id": 2, "ok": True, "bytes": 0, "changed": [], "lost": []}
            assert user.ask("nonsense")["ok"] is False
            assert user.ask("finish", timeout=5)["ok"]
            assert server.end(signal.SIGTERM) == 0
        finally:
            user.close()


def test_lazy_with_a_stranger_on_its_socket_goes_on(place, tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    with FileServer(place / "s") as server:
        for words in (b"", b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n" + os.urandom(2000)):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(server.socket))
                stranger.sendall(words)
        user = UserThread(
            top,
            server.socket,
        )
        try:
            assert user.ask("stats")["ok"]
        finally:
            user.close()
    assert KEYS.nfs["export"].decode() not in server.log.read_text()
