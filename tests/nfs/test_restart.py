"""The server killed, frozen and cut off while a real kernel's client works on it."""

import hashlib
import time
from collections.abc import Callable

import pytest

from tests.nfs.process import ServerProcess
from tests.nfs.test_kernel import FSX, mounted
from tests.nfs.uml import Guest
from tests.soak import count

pytestmark = pytest.mark.slow
Serve = Callable[..., ServerProcess]

HOLDER = r"""
cat > /tmp/holder.py <<'P'
# Holds a file open and locked; when told, writes to it and says whether the lock is still there.
import fcntl, os, sys, time
fd = os.open("/mnt/a/held", os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
os.write(fd, b"before\n")
open("/host/ready", "w").close()
while not os.path.exists("/host/go"):
    time.sleep(0.05)
os.write(fd, b"after\n")
os.fsync(fd)
open("/host/wrote", "w").close()
while not os.path.exists("/host/end"):
    time.sleep(0.05)
P
"""


def _await(path, what, timeout_s=120.0):
    """Wait until a file is there that a guest makes."""
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("version", ["4.0", "4.1", "4.2"])
def test_kill_9_under_load_loses_neither_data_nor_open_files_nor_locks(
    guest: Guest, other_guest: Guest, serve: Serve, version: str
) -> None:
    server = serve("--lease", "10")
    options = f"vers={version}"
    for name in ("ready", "go", "wrote", "end"):
        (guest.share / name).unlink(missing_ok=True)
    with mounted(guest, server, options), mounted(other_guest, server, options):
        checker = guest.start(FSX + f"python3 /tmp/fsx.py 7 {count(400, 40000)} /mnt/a/file")
        holder = guest.start(HOLDER + "python3 /tmp/holder.py")
        _await(guest.share / "ready", "the lock")
        for _ in range(count(1, 20)):
            server.kill()
            time.sleep(count(1, 2))  # the time that the server is away
            server.start()
            guest.run("stat -f /mnt/a; echo x > /mnt/a/probe; sync /mnt/a/probe", 240)
        refused = other_guest.run("flock -n /mnt/a/held true", 120, check=False)
        assert refused.status == 1, refused
        (guest.share / "go").touch()
        _await(guest.share / "wrote", "the write after the restart")
        (guest.share / "end").touch()
        holder.wait(60)
        other_guest.run("flock -n /mnt/a/held true", 60)
        checker.wait(3600)
        local = guest.run("sha256sum < /mnt/a/file").out.split()[0]
    assert server.directory is not None
    assert (server.directory / "held").read_text() == "before\nafter\n"
    assert hashlib.sha256((server.directory / "file").read_bytes()).hexdigest() == local


def test_frozen_server_gives_no_errors(guest: Guest, serve: Serve) -> None:
    server = serve()
    with mounted(guest, server):
        checker = guest.start(FSX + f"python3 /tmp/fsx.py 9 {count(400, 4000)} /mnt/a/file")
        for _ in range(count(1, 10)):
            server.freeze(count(5, 30))
            guest.run("echo x > /mnt/a/probe; sync /mnt/a/probe", 120)
        checker.wait(3600)


def test_cable_cut_in_the_middle_of_work_gives_no_errors(guest: Guest, serve: Serve) -> None:
    server = serve()
    with mounted(guest, server):
        checker = guest.start(FSX + f"python3 /tmp/fsx.py 11 {count(300, 4000)} /mnt/a/file")
        for _ in range(count(1, 5)):
            guest.cut()
            time.sleep(count(5, 60))  # the fault itself
            guest.cut(False)
            guest.run("echo x > /mnt/a/probe; sync /mnt/a/probe", 100)
        checker.wait(3600)


def test_handles_outlive_a_restart_without_the_file_table(guest: Guest, serve: Serve) -> None:
    server = serve()
    with mounted(guest, server):
        guest.run("mkdir -p /mnt/a/x/y/z; echo deep > /mnt/a/x/y/z/f")
        reader = guest.start(
            "cd /mnt/a/x/y/z; exec 3<f; touch /host/open; until [ -e /host/again ]; do sleep 0.05; done;"
            " cat <&3; cat f"
        )
        _await(guest.share / "open", "the open")
        server.kill()
        for path in (server.folder / "state").glob("files.db*"):
            path.unlink()
        server.start()
        (guest.share / "again").touch()
        assert reader.wait(120).out == "deep\ndeep\n"
