"""Real programs on a real kernel, on a folder of the user's that is behind SSH."""

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.fileserver.process import tree_of
from tests.nfs.test_kernel import BASICS, LOCKER
from tests.soak import count

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_ordinary_calls_do_what_they_do_locally(guest, share):
    lazy = share()
    lazy.mount(guest)
    guest.run(BASICS.replace("4751", "751"))  # no setuid on the user's machine
    assert lazy.user.ask("flush")["ok"]
    assert sorted(os.listdir(lazy.top)) == ["f", "s"]


def test_git_clone_commit_status_gc(guest, share):
    lazy = share()
    lazy.mount(guest)
    shutil.copytree(ROOT / "womm" / "nfs", guest.share / "nfs")
    guest.run(
        """
        mkdir /tmp/source; cd /tmp/source; git init -q; cp -r /host/nfs .; git add .; git commit -qm all
        echo more >> nfs/xdr.py; git commit -qam more
        cd /mnt/a; git clone -q /tmp/source work; cd work
        [ -z "$(git status --porcelain)" ]
        echo change >> nfs/rpc.py; git add nfs/rpc.py; git commit -qm one; git checkout -qb side HEAD~1
        echo other > other; git add other; git commit -qm two; git merge -q -m three -
        git gc -q --prune=now; git fsck --full --strict; [ -z "$(git status --porcelain)" ]
        cp -r . /tmp/copy; rm -rf /host/copy; cp -r /tmp/copy /host/copy
        """,
        600,
    )
    assert lazy.user.ask("flush")["ok"]
    work = lazy.top / "work"
    here, there = tree_of(work), tree_of(guest.share / "copy")
    assert {path: value for path, (_, value) in here.items()} == {
        path: value for path, (_, value) in there.items()
    }
    assert subprocess.run(["git", "-C", work, "fsck", "--full", "--strict"], check=False).returncode == 0


def test_tar_keeps_times_and_modes_over_flushes(guest, share):
    lazy = share()
    lazy.mount(guest)
    archive = guest.share / "src.tar"
    subprocess.run(["tar", "-cf", archive, "-C", ROOT, "womm/nfs", "womm/link"], check=True)
    guest.run("cd /mnt/a; tar xf /host/src.tar")
    assert lazy.user.ask("flush")["ok"]
    subprocess.run(["tar", "-df", archive, "-C", lazy.top], check=True)


CHECKER = r"""
cat > /tmp/make.py <<'P'
import hashlib, os, sys, threading
top, count = sys.argv[1], int(sys.argv[2])
def work(who):
    for number in range(who, count, 4):
        data = hashlib.sha256(b"%d" % number).digest() * (1 + number * 37 % 3000)
        path = f"{top}/d{number % 7}/f{number}"
        with open(path + ".tmp", "wb") as file:
            for at in range(0, len(data), 30000):
                file.write(data[at : at + 30000])
        os.rename(path + ".tmp", path)
        with open(path, "rb") as file:
            assert file.read() == data, path
for number in range(7):
    os.makedirs(f"{top}/d{number}", exist_ok=True)
threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
failed = []
threading.excepthook = lambda args: (failed.append(args), print(args))
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit(1 if failed else 0)
P
"""


def _check(top, count):
    for number in range(count):
        data = hashlib.sha256(b"%d" % number).digest() * (1 + number * 37 % 3000)
        assert (top / f"d{number % 7}" / f"f{number}").read_bytes() == data, number


def test_link_that_is_cut_again_and_again_costs_no_error_and_no_byte(guest, share):
    lazy = share()
    lazy.mount(guest)
    number = count(120, 10_000)
    job = guest.start(CHECKER + f"python3 /tmp/make.py /mnt/a {number}")
    for away_s in [0.5] * count(4, 100) + [30.0] * count(0, 5) + [300.0] * count(0, 1):
        time.sleep(0.7)  # the time between the faults
        lazy.user.cut()
        time.sleep(away_s)  # how long the user's machine is away
        lazy.user.mend()
    job.wait(3600)
    assert lazy.user.ask("flush")["ok"]
    _check(lazy.top, number)


def test_server_that_is_killed_again_and_again_loses_no_byte(guest, share):
    lazy = share("--grace", "5")
    lazy.mount(guest)
    number = count(120, 10_000)
    job = guest.start(
        CHECKER + f"exec 7>/mnt/a/held; flock 7; python3 /tmp/make.py /mnt/a {number}; echo end >&7"
    )
    for _ in range(count(3, 20)):
        time.sleep(1)  # the time between the faults
        lazy.server.kill()
        lazy.server.start()
        lazy.user.wait()
    job.wait(600)
    assert lazy.user.ask("flush")["ok"]
    _check(lazy.top, number)
    assert (lazy.top / "held").read_text() == "end\n"


def test_two_kernels_read_one_tree_for_the_price_of_one(guest, other_guest, share):
    lazy = share()
    size = 0
    for number in range(40):
        path = lazy.top / f"d{number % 5}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(100_000 + number * 10_000))
        size += path.stat().st_size
    lazy.mount(guest)
    lazy.mount(other_guest)
    script = "cd /mnt/a; find . -type f -print0 | sort -z | xargs -0 cat | sha256sum"
    jobs = [guest.start(script), other_guest.start(script)]
    first, second = (job.wait(120).out for job in jobs)
    paths = sorted(lazy.top.rglob("f*"), key=bytes)
    assert first == second == hashlib.sha256(b"".join(map(Path.read_bytes, paths))).hexdigest() + "  -\n"
    assert lazy.user.ask("stats")["fetched"] <= 1.05 * size


@pytest.mark.parametrize("kind", ["flock", "fcntl"])
def test_locks_between_two_kernels_exclude(guest, other_guest, share, kind):
    lazy = share()
    times = count(40, 1000)
    (lazy.top / "number").touch()
    for each in (guest, other_guest):
        lazy.mount(each)
    script = LOCKER + f"python3 /tmp/locker.py {kind} {times} /mnt/a/number"
    for job in [each.start(script) for each in (guest, other_guest)]:
        job.wait(600)
    assert lazy.user.ask("flush")["ok"]
    assert int((lazy.top / "number").read_text()) == 2 * times


def test_two_kernels_and_the_user_see_each_others_closes(guest, other_guest, share):
    """A pod's job and this machine edit one file in turn: after `flush`, and after `changed`."""
    lazy = share()
    for each in (guest, other_guest):
        lazy.mount(each)
    for number in range(count(10, 1000)):
        writer, reader = (guest, other_guest) if number % 2 else (other_guest, guest)
        writer.run(f"echo {number} > /mnt/a/shared")
        assert reader.run("cat /mnt/a/shared").out.strip() == str(number)
        assert lazy.user.ask("flush")["ok"]
        assert (lazy.top / "shared").read_text() == f"{number}\n"
        (lazy.top / "shared").write_text(f"local {number}\n")
        assert lazy.user.ask("changed", paths=["shared"])["ok"]
        assert writer.run("cat /mnt/a/shared").out.strip() == f"local {number}"
    assert [path.name for path in lazy.top.iterdir()] == ["shared"]


def test_job_sees_what_the_user_has_just_changed(guest, share):
    lazy = share()
    lazy.mount(guest)
    for number in range(count(10, 200)):
        (lazy.top / "f").write_text(f"{number}\n" * (1 + number % 3))
        (lazy.top / f"new{number}").touch()
        gone = lazy.top / f"new{number - 1}"
        gone.unlink(missing_ok=True)
        lazy.user.ask("changed", paths=["f", f"new{number}", gone.name])
        # An open asks the server (close-to-open); what only looks is the agent's business (statx).
        found = guest.run(f"cd /mnt/a; head -1 f; ls; cat new{number}").out.split()
        assert found == [str(number), "f", f"new{number}"]


def test_full_disk_of_the_user_reaches_the_program(guest, share, tmp_path):
    top = tmp_path / "small"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", top], check=True)
    try:
        lazy = share(top=top)
        lazy.mount(guest)
        found = guest.run("dd if=/dev/zero of=/mnt/a/big bs=1M count=32 conv=fsync", 120, check=False)
        assert found.status != 0
        assert "No space left on device" in found.out
        guest.run("rm /mnt/a/big; echo fine > /mnt/a/small; umount /mnt/a")
        assert lazy.user.ask("flush")["ok"]
        assert (top / "small").read_text() == "fine\n"
        lazy.user.close()
    finally:
        subprocess.run(["umount", "-l", top], check=True)


def test_names_are_the_same_bytes_on_both_sides(guest, share):
    names = [
        b"with  spaces ",
        b"new\nline",
        b"\xff\xfe not utf-8",
        b"-rf",
        b"Case",
        b"case",
        "caf\u00e9".encode(),
        "cafe\u0301".encode(),
        b"x" * 255,
        b"\\'\"$(touch no)*?;\t",
    ]
    lazy = share()
    here = os.fsencode(lazy.top) + b"/here"
    os.mkdir(here)
    for name in names:
        Path(os.fsdecode(here + b"/" + name)).write_bytes(name)
    lazy.mount(guest)
    guest.run(
        f"""
        cat > /tmp/names.py <<'P'
import os
names = {names!r}
os.chdir(b"/mnt/a")
assert sorted(os.listdir(b"here")) == sorted(names)
os.mkdir(b"there")
for name in names:
    assert open(b"here/" + name, "rb").read() == name
    open(b"there/" + name, "wb").write(name)
P
        python3 /tmp/names.py
        """
    )
    assert lazy.user.ask("flush")["ok"]
    there = os.fsencode(lazy.top) + b"/there/"
    assert sorted(os.listdir(there)) == sorted(names)
    assert [Path(os.fsdecode(there + name)).read_bytes() for name in names] == names
    assert sorted(os.listdir(lazy.top)) == ["here", "there"]


def test_full_disk_of_the_pod_has_writers_wait_and_costs_no_byte(guest, share):
    """Clients write more than it holds, also while the user's side is away."""
    lazy = share(state_bytes=24 << 20)
    lazy.mount(guest)
    guest.run("cd /mnt/a; touch f1 f2 f3; sync")
    lazy.user.cut()
    script = "cd /mnt/a; for n in 1 2 3; do seq $n 5500000 >f$n; done; sync; sha256sum f?"
    job = guest.start(script + "; mkdir d; for n in $(seq 200); do echo $n >d/$n; done; rm d/1; sync")
    time.sleep(10)
    lazy.user.mend()
    sums = job.wait(300).out.split()[::2]
    assert lazy.user.ask("flush")["ok"]
    for number, digest in zip((1, 2, 3), sums, strict=True):
        data = (lazy.top / f"f{number}").read_bytes()
        assert data.startswith(b"%d\n" % number) and data.endswith(b"\n5500000\n")
        assert hashlib.sha256(data).hexdigest() == digest
    assert {path.name: path.read_text() for path in (lazy.top / "d").iterdir()} == {
        str(number): f"{number}\n" for number in range(2, 201)
    }


def test_make_finds_nothing_to_do_afterwards_on_either_side(guest, share):
    lazy = share()
    for number in range(12):
        (lazy.top / f"s{number}.c").write_text(f"int f{number}(void) {{ return {number}; }}\n")
    (lazy.top / "Makefile").write_text(
        "all: sum\nsum: $(patsubst %.c,%.o,$(wildcard *.c))\n\tcat $^ | sha256sum > $@\n"
        "%.o: %.c\n\tsed s/return/RETURN/ $< > $@.tmp\n\tcat $@.tmp $@.tmp > $@\n\trm $@.tmp\n"
    )
    lazy.mount(guest)
    guest.run("cd /mnt/a; make -j4 > /dev/null; make -q")
    assert lazy.user.ask("flush")["ok"]
    guest.run("cd /mnt/a; make -q")
    assert subprocess.run(["make", "-q", "-C", lazy.top], check=False).returncode == 0
    assert not list(lazy.top.glob("*.tmp"))
