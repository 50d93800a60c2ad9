"""What a file server's pod runs before it has womm: it waits, is filled once, and is womm.fileserver."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from womm.cluster.base import PodPython
from womm.fileserver import bootstrap
from womm.image.bundle import WommBundles, pack

WAIT_S = 30.0
PROGRAM = [sys.executable, "-I", bootstrap.__file__]
TELLS = b"import sys; print('ready', sys.argv[1:], flush=True)\n"
SMALL = pack(
    {"womm/__init__.py": b"", "womm/fileserver/__init__.py": b"", "womm/fileserver/__main__.py": TELLS}
)


@contextmanager
def running(*words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*PROGRAM, *map(str, words)], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def fill(lib: Path, bundle: bytes, *, digest: str = "") -> tuple[dict[str, str], list[str]]:
    """What the bootstrap tells before it gets the bundle, and then."""
    with running("fill", lib) as process:
        assert process.stdin is not None and process.stdout is not None
        hello = process.stdout.readline().decode()
        digest = digest or hashlib.sha256(bundle).hexdigest()
        out, err = process.communicate(b"%s %d\n%b" % (digest.encode(), len(bundle), bundle), WAIT_S)
        assert (process.returncode, err) == (0, b"")
    assert hello.startswith(bootstrap.GREETING)
    return json.loads(hello.removeprefix(bootstrap.GREETING)), out.decode().splitlines()


def test_run_waits_for_womm_and_a_later_one_finds_it(tmp_path: Path) -> None:
    with running("run", tmp_path, "--port", "0") as process:
        about, told = fill(tmp_path, SMALL)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready ['--port', '0']\n"
        assert process.wait(WAIT_S) == 0
    assert about["python"] == "{}.{}".format(*sys.version_info)
    assert about["libc"].startswith(("glibc ", "musl "))
    assert (about["has"], about["wrong"], told[-1]) == ("", "", "filled")
    # The container starts again, and its folder is still there.
    with running("run", tmp_path, "again") as process:
        assert process.communicate(timeout=WAIT_S)[0] == b"ready ['again']\n"
    about, told = fill(tmp_path, SMALL)  # an exec that was lost comes late
    assert (about["has"], told[-1]) == (hashlib.sha256(SMALL).hexdigest(), "filled")
    assert set(os.listdir(tmp_path)) <= {"current", "filled"}


def test_run_that_waits_ends_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    with running("run", tmp_path) as process:
        while not (tmp_path / "filled").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) in {0, -signal.SIGTERM}


@pytest.mark.parametrize(
    ("bundle", "digest", "why"),
    [
        (SMALL[:-300] + bytes(300), hashlib.sha256(SMALL).hexdigest(), "not what was sent"),
        (b"no archive at all", "", "failed"),
    ],
)
def test_fill_that_gets_other_bytes_leaves_nothing(
    tmp_path: Path, bundle: bytes, digest: str, why: str
) -> None:
    _, told = fill(tmp_path, bundle, digest=digest)
    assert told[-1].startswith("failed ")
    assert why in told[-1]
    assert os.listdir(tmp_path) == []


def test_fill_whose_connection_is_cut_leaves_nothing(tmp_path: Path) -> None:
    with running("fill", tmp_path) as process:
        out, _ = process.communicate(b"%s %d\n%b" % (b"0" * 64, 10_000, SMALL[:500]), WAIT_S)
    assert out.splitlines()[-1] == b"failed the connection has ended"
    assert os.listdir(tmp_path) == []


def test_fill_that_gets_nothing_more_ends_and_leaves_nothing(tmp_path: Path) -> None:
    with running("fill", tmp_path, "0.2") as process:
        assert process.stdin is not None
        process.stdin.write(b"%s %d\n%b" % (b"0" * 64, 10_000, SMALL[:500]))
        process.stdin.flush()
        assert process.wait(WAIT_S) == 0
    assert os.listdir(tmp_path) == []


def test_fill_removes_what_lost_ones_have_begun_and_those_place_nothing(tmp_path: Path) -> None:
    bundle = pack({"womm/__init__.py": b"", "womm/one": os.urandom(200_000), "womm/two": b"", "z": b""})
    digest = hashlib.sha256(bundle).hexdigest().encode()
    (tmp_path / "part-killed").mkdir()
    with running("fill", tmp_path) as lost:
        assert lost.stdin is not None
        lost.stdin.write(b"%s %d\n%b" % (digest, len(bundle), bundle[:-50_000]))
        lost.stdin.flush()
        while not any(tmp_path.glob("part-*/womm/__init__.py")):
            assert lost.poll() is None
        assert not (tmp_path / "part-killed").exists()
        _, told = fill(tmp_path, bundle)
        assert (told[-1], os.listdir(tmp_path)) == ("filled", ["current"])
        (tmp_path / "current").rename(tmp_path / "seen")
        out, _ = lost.communicate(bundle[-50_000:], WAIT_S)
        assert out.splitlines()[-1].startswith(b"failed ")
    assert os.listdir(tmp_path) == ["seen"]


@pytest.mark.slow
def test_file_server_of_a_real_bundle_becomes_ready_without_any_other_module(tmp_path: Path) -> None:
    with running("fill", tmp_path) as process:
        about = json.loads(process.communicate(b"", WAIT_S)[0].decode().removeprefix(bootstrap.GREETING))
    python = PodPython(about["python"], about["machine"], about["libc"])
    bundle = WommBundles(tmp_path / "cache").provide(python).read_bytes()
    lib, state, secret = (tmp_path / name for name in ("lib", "state", "secret"))
    for folder in (lib, secret):
        folder.mkdir()
    (secret / "export").write_text("0" * 32)
    words = ("--local", tmp_path / "store", "--secret", secret, "--state", state, "--port", "0")
    # Nothing but the bundle and Python's own library: sites of a virtual environment are not looked at.
    python_alone = os.path.realpath(sys.executable)
    with subprocess.Popen(
        [python_alone, "-I", "-S", bootstrap.__file__, "run", str(lib), *map(str, words)],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        try:
            _, told = fill(lib, bundle)
            assert "filled" in told and any(line.startswith("got ") for line in told)
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"womm-fileserver ready port=")
        finally:
            process.terminate()
            process.wait(WAIT_S)


# ---- the bridge: see tests/worker/test_bridge.py

BIG = bytes(range(256)) * 20_000


def test_bridge_passes_bytes_both_ways_at_once_and_ends_with_either(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with running("bridge", path) as process, socket.socket(socket.AF_UNIX) as listener:
        given, told = process.stdin, process.stdout
        assert given is not None and told is not None
        listener.bind(path)  # it waits for one that comes later
        listener.listen()
        listener.settimeout(WAIT_S)
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(WAIT_S)
            sender = threading.Thread(target=lambda: (given.write(BIG), given.flush()))
            answerer = threading.Thread(target=peer.sendall, args=(BIG[::-1],))
            got: list[bytes] = []
            reader = threading.Thread(target=lambda: got.append(told.read(12 + len(BIG))))
            for thread in (sender, answerer, reader):
                thread.start()
            received = b""
            while len(received) < len(BIG):
                received += peer.recv(65536)
            for thread in (sender, answerer, reader):
                thread.join(WAIT_S)
        assert received == BIG
        assert got == [b"womm bridge\n" + BIG[::-1]]
        assert process.wait(WAIT_S) == 0


def test_bridge_to_nothing_says_so(tmp_path: Path) -> None:
    with running("bridge", tmp_path / "none") as process:
        assert b"womm bridge: no server at" in process.communicate(timeout=WAIT_S)[1]
        assert process.returncode == 1
