"""This machine's programs as a second export: its own socket and secret, read-only, everything root's."""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.fileserver.lazy import write_secret
from tests.fileserver.process import FileServer, UserThread
from womm.share.lazy.ssh import TaskKeys

pytestmark = pytest.mark.slow

if shutil.which("nfs-ls") is None:
    pytest.skip("libnfs-utils is not installed", allow_module_level=True)


def test_programs_are_an_export_of_their_own_beside_the_folder(place, tmp_path):
    folder, programs = tmp_path / "folder", tmp_path / "programs"
    for path in (folder, programs / "usr"):
        path.mkdir(parents=True)
    (programs / "usr" / "tool").write_text("tool")
    os.chown(programs / "usr" / "tool", 1234, 1234)
    (folder / "mine").touch()
    keys = TaskKeys.make()
    secret = write_secret(place / "other", keys)
    options = ("--programs", str(place / "p"), "--programs-secret", str(secret), "--uid", "5", "--gid", "6")
    with FileServer(place / "s", *options) as server:
        user, other = UserThread(folder, server.socket), UserThread(programs, place / "p", keys=keys)
        try:
            user.wait()
            other.wait()
            assert user.ask("owner", uid=7, gid=8)["ok"] and other.ask("owner", uid=9, gid=9)["ok"]

            def run(program, path, *words):
                url = f"nfs://127.0.0.1{path}?version=4&nfsport={server.port}"
                return subprocess.run([program, *words, url], capture_output=True, text=True, check=False)

            there = "/womm-" + (secret / "export").read_text()
            listed = run("nfs-ls", server.path).stdout
            assert "mine" in listed and " 7 " in listed
            listed = run("nfs-ls", there + "/usr").stdout
            assert "tool" in listed and "1234" not in listed and " 0 " in listed and " 9 " not in listed
            assert run("nfs-cat", there + "/usr/tool").stdout == "tool"
            assert run("nfs-cp", there + "/usr/new", "/etc/hostname").returncode != 0
            assert not (programs / "usr" / "new").exists()
            assert other.ask("use")["items"] and user.ask("pin", paths=["mine"])["missing"] == []
        finally:
            user.close()
            other.close()


@contextmanager
def mounted(net, guest, place, programs, options="ro,port=4999"):
    """Have the guest mount the programs' /usr at /mnt/p/usr; yield the file server and the user's side."""
    keys = TaskKeys.make()
    secret = write_secret(place / "other", keys)
    words = ("--programs", str(place / "p"), "--programs-secret", str(secret), "--grace", "5")
    with FileServer(place / "s", *words, prefix=net.command(), port=4999) as server:
        user = UserThread(programs, place / "p", keys=keys)
        try:
            user.wait()
            there = "/womm-" + (secret / "export").read_text()
            guest.mount(options, path=f"{there}/usr", at="/mnt/p/usr")
            yield server, user
        finally:
            user.close()
            guest.run("umount /mnt/p/usr || umount -f -l /mnt/p/usr", 120, check=False)


def held(guest, path, seconds):
    """Have a program hold a file open, and read it then; return the program."""
    guest.run("rm -f /tmp/held")
    holder = guest.start(f"exec 5< {path}; touch /tmp/held; sleep {seconds}; cat <&5")
    guest.run("until [ -e /tmp/held ]; do sleep 0.1; done")
    return holder


PROGRAM = """
import sys, pathlib
sys.path.insert(0, "/mnt/p/usr/lib")
import tool
print(tool.WORD, pathlib.Path("/mnt/p/usr/bin/sh").readlink())
"""


def test_a_kernel_runs_programs_again_without_opening_them_also_after_a_restart(net, guest, place, tmp_path):
    """A restarted server does not know the delegations: the kernel opens its files anew."""
    programs = tmp_path / "programs"
    for path in (programs / "usr" / "lib", programs / "usr" / "bin"):
        path.mkdir(parents=True)
    (programs / "usr" / "lib" / "tool.py").write_text("WORD = 'works'\n")
    (programs / "usr" / "bin" / "sh").symlink_to("dash")
    with mounted(net, guest, place, programs) as (server, user):
        (guest.share / "program.py").write_text(PROGRAM)
        run = "python3 -B /host/program.py"
        assert guest.run(run).out == "works dash\n"
        before = server.metrics()["operations"]["OPEN"]["count"]
        guest.run(f"exec 5< /mnt/p/usr/lib/tool.py; {run}; cat <&5")
        assert server.metrics()["operations"]["OPEN"]["count"] == before
        holder = held(guest, "/mnt/p/usr/lib/tool.py", 20)
        server.end(signal.SIGKILL)
        server.start()
        user.wait()
        assert guest.run(run, 120).out == "works dash\n"
        assert holder.wait(120).out == "WORD = 'works'\n"


STARTED = """
import sys
sys.path.insert(0, "/mnt/p/usr/lib")
import renamed, written
print(renamed.WORD, written.WORD)
"""


def test_a_kernel_sees_replaced_and_rewritten_programs_as_new_after_an_upgrade(net, guest, place, tmp_path):
    """Their delegations are revoked; those of the other files, too, which are read on."""
    programs = tmp_path / "programs"
    library = programs / "usr" / "lib"
    library.mkdir(parents=True)
    for name in ("renamed", "written"):
        (library / f"{name}.py").write_text("WORD = 'old'\n")
    (library / "kept").write_text("kept")
    with mounted(net, guest, place, programs, "ro,port=4999,actimeo=1") as (server, user):
        (guest.share / "started.py").write_text(STARTED)
        run = "python3 -B /host/started.py"
        assert guest.run(run).out == "old old\n"
        before = server.metrics()["operations"]["OPEN"]["count"]
        guest.run(f"{run}; cat /mnt/p/usr/lib/kept")
        assert guest.run(run).out == "old old\n"
        assert server.metrics()["operations"]["OPEN"]["count"] <= before + 1  # they were delegations
        holder = held(guest, "/mnt/p/usr/lib/kept", 5)
        (library / "new").write_text("WORD = 'renamed'\n")
        (library / "new").rename(library / "renamed.py")
        (library / "written.py").write_text("WORD = 'written'\n")
        assert user.ask("changed", paths=[], all=True)["ok"]
        guest.run("sleep 2; ls /mnt/p/usr")
        assert guest.run(run, 60).out == "renamed written\n"
        assert holder.wait(60).out == "kept"
        operations = server.metrics()["operations"]
        assert operations["TEST_STATEID"]["count"] and operations["FREE_STATEID"]["count"]
