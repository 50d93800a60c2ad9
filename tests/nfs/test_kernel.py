"""Real programs on a real Linux kernel's NFS client."""

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.nfs.process import ServerProcess
from tests.nfs.uml import Guest
from tests.soak import count

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ["4.0", "4.1", "4.2"]
Serve = Callable[..., ServerProcess]


@contextmanager
def mounted(guest: Guest, server: ServerProcess, options: str = "", at: str = "/mnt/a") -> Iterator[None]:
    """Mount for a while."""
    guest.mount(",".join(filter(None, [options, f"port={server.port}"])), at=at)
    try:
        yield
    finally:
        guest.run(f"umount {at} || umount -f {at} || umount -l {at}", 120, check=False)


def test_mount_without_a_version_gets_4_2_within_a_second(guest: Guest, serve: Serve) -> None:
    server = serve()
    with mounted(guest, server):
        assert "vers=4.2" in guest.run("grep ' /mnt/a ' /proc/mounts").out


def test_mount_version_3_is_refused_at_once(guest: Guest, serve: Serve) -> None:
    server = serve()
    found = guest.run(
        f"mkdir -p /mnt/a; timeout 20 mount -t nfs -o vers=3,nolock,tcp,mountproto=tcp,port={server.port},"
        f"mountport={server.port} {guest.server}:/ /mnt/a",
        30,
        check=False,
    )
    assert found.status not in (0, 124), found.out


BASICS = r"""
cd /mnt/a
echo one > f; echo two >> f; [ "$(cat f)" = "one
two" ]
ln f g; [ "$(stat -c %h f)" = 2 ]; ln -s f s; [ "$(readlink s)" = f ]; [ "$(cat s)" = "$(cat f)" ]
mkdir d; mv g d/; [ "$(ls d)" = g ]; rmdir d 2>/dev/null && exit 1; rm d/g; rmdir d
mkfifo p; [ -p p ]; (echo through > p &) ; [ "$(cat p)" = through ]; rm p
touch -d '2001-02-03 04:05:06.123456789' f; [ "$(stat -c %y f)" = "2001-02-03 04:05:06.123456789 +0000" ]
chmod 4751 f; [ "$(stat -c %a f)" = 4751 ]
truncate -s 5G big; [ "$(stat -c %s big)" = 5368709120 ]
printf x | dd of=big bs=1 seek=5000000000 conv=notrunc 2>/dev/null
[ "$(dd if=big bs=1 skip=5000000000 count=1 2>/dev/null)" = x ]; [ "$(stat -c %b big)" -lt 100000 ]; rm big
n=$(printf 'a\nb\377 \\"'); echo x > "$n"; [ "$(ls | wc -l)" -ge 2 ]; [ "$(cat "$n")" = x ]; rm "$n"
long=$(printf '%0255d' 0); touch $long; rm $long; touch 0$long 2>/dev/null && exit 1
exec 3>open; echo before >&3; rm open; echo after >&3; exec 3>&-; [ ! -e open ]
python3 - <<'P'
import os
fd = os.open("excl", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o444)
os.write(fd, b"abc"); os.fsync(fd); os.close(fd)
try:
    os.open("excl", os.O_CREAT | os.O_EXCL | os.O_RDWR)
except FileExistsError:
    pass
else:
    raise SystemExit("O_EXCL")
assert os.stat("excl").st_mode & 0o777 == 0o444
os.rename("excl", "f")
assert open("f").read() == "abc"
st = os.statvfs(".")
assert st.f_namemax == 255 and st.f_blocks > 0
for i in range(300):
    os.mkdir(f"dir{i}")
assert len(os.listdir(".")) == 302, len(os.listdir("."))
for i in range(300):
    os.rmdir(f"dir{i}")
P
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_ordinary_calls_do_what_they_do_locally(guest: Guest, serve: Serve, version: str) -> None:
    server = serve()
    with mounted(guest, server, f"vers={version}"):
        guest.run(BASICS)
    assert server.directory is not None
    assert sorted(os.listdir(server.directory)) == ["f", "s"]


@pytest.mark.parametrize("version", ["4.0", "4.2"])
def test_git_clone_status_gc(guest: Guest, serve: Serve, version: str) -> None:
    server = serve()
    _give(
        guest, "repo.git", lambda to: subprocess.run(["git", "clone", "-q", "--bare", ROOT, to], check=True)
    )
    with mounted(guest, server, f"vers={version}"):
        guest.run(
            """
            cd /mnt/a; git clone -q /host/repo.git work; cd work
            [ -z "$(git status --porcelain)" ]
            echo change >> README.md; git add README.md; git commit -qm one; git checkout -qb side HEAD~1
            echo other > other; git add other; git commit -qm two; git merge -q -m three -
            git gc -q --prune=now; git fsck --full --strict; [ -z "$(git status --porcelain)" ]
            git stash list; git log --oneline | wc -l
            """,
            600,
        )


SQLITE = r"""
cat > /tmp/writer.py <<'P'
import sqlite3, sys
db = sqlite3.connect("/mnt/a/t.db", timeout=120)
for number in range(int(sys.argv[2])):
    with db:
        db.execute("INSERT INTO t VALUES (?, ?)", (int(sys.argv[1]), number))
P
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_sqlite_several_writers_lose_nothing(guest: Guest, serve: Serve, version: str) -> None:
    server = serve()
    each = count(8, 200)
    with mounted(guest, server, f"vers={version}"):
        guest.run(
            SQLITE
            + f"""
            sqlite3 /mnt/a/t.db 'CREATE TABLE t (who INTEGER, number INTEGER)'
            pids=; for who in 1 2 3 4; do python3 /tmp/writer.py $who {each} & pids="$pids $!"; done
            for pid in $pids; do wait $pid; done
            sql='SELECT count(*), count(DISTINCT who) FROM t; PRAGMA integrity_check'
            [ "$(sqlite3 /mnt/a/t.db "$sql")" = \\
              "{4 * each}|4
ok" ]
            """,
            900,
        )


BUILD = r"""
mkdir /mnt/a/project; cd /mnt/a/project
python3 - <<'P'
names = [f"part{n}" for n in range(24)]
for n, name in enumerate(names):
    with open(f"{name}.c", "w") as out:
        out.write('#include "all.h"\n#include <stdio.h>\n')
        for m in range(20):
            out.write(f"int {name}_{m}(int x) {{ int s = {n}; while (x-- > 0) s += x * {m}; return s; }}\n")
open("all.h", "w").write("".join(f"int {name}_{m}(int);\n" for name in names for m in range(20)))
open("main.c", "w").write('#include "all.h"\n#include <stdio.h>\nint main(void) { printf("%d\\n", '
                          + " + ".join(f"{name}_1(3)" for name in names) + "); return 0; }\n")
objects = " ".join(f"{name}.o" for name in ["main", *names])
open("Makefile", "w").write(f"all: program\nprogram: libparts.a main.o\n\tcc -o $@ main.o libparts.a\n"
    f"libparts.a: {' '.join(name + '.o' for name in names)}\n\tar rcs $@ $^\n"
    "%.o: %.c all.h\n\tcc -O1 -MMD -c -o $@ $<\n")
P
make -s -j4; [ "$(./program)" = 348 ]; make -q -s
touch part3.c; [ "$(make -n | wc -l)" -ge 2 ]; make -s -j4; make -q -s
"""


@pytest.mark.parametrize("version", VERSIONS[count(2, 0) :])
def test_c_project_make_j(guest: Guest, serve: Serve, version: str) -> None:
    server = serve()
    with mounted(guest, server, f"vers={version}"):
        guest.run(BUILD, 600)


def test_python_package_and_its_tests(guest: Guest, serve: Serve) -> None:
    server = serve()
    _give(
        guest,
        "src.tar",
        lambda to: subprocess.run(["git", "-C", ROOT, "archive", "-o", to, "HEAD"], check=True),
    )
    with mounted(guest, server):
        guest.run(
            """
            cd /mnt/a; tar xf /host/src.tar
            python3 -m pytest -q -c /dev/null --rootdir=. --noconftest --import-mode=importlib \\
              -p no:cacheprovider -o pythonpath=. tests/bench/test_stats.py tests/test_project.py 2>&1 \\
              | tail -5
            find . -name '*.pyc' | grep -q .
            """,
            600,
        )


TREE = r"""
python3 - <<'P'
import io, tarfile
with tarfile.open("/tmp/tree.tar", "w") as tar:
    for n in range(FILES):
        info = tarfile.TarInfo(f"tree/d{n % 100}/sub{n % 7}/file{n}")
        info.size, info.mtime, info.mode = n % 3000, 1_000_000_000 + n, (0o644, 0o600, 0o755)[n % 3]
        tar.addfile(info, io.BytesIO(bytes([n % 251]) * info.size))
        if n % 50 == 0:
            link = tarfile.TarInfo(f"tree/d{n % 100}/link{n}")
            link.type, link.linkname = tarfile.LNKTYPE, info.name
            if n % 100:
                link.type, link.linkname = tarfile.SYMTYPE, f"sub{n % 7}/file{n}"
            tar.addfile(link)
P
mkdir -p /tmp/local; tar xf /tmp/tree.tar -C /tmp/local; cd /mnt/a; tar xf /tmp/tree.tar
"""


def test_tar_find_cp_rsync_of_many_files(guest: Guest, serve: Serve) -> None:
    server = serve()
    with mounted(guest, server):
        guest.run(
            TREE.replace("FILES", str(count(200, 10000)))
            + r"""
            list() { (cd "$1"; find . -not -type d -printf '%p %y %s %m %n %T@ %l\n' | sort); }
            diff <(list /tmp/local/tree) <(list tree); diff -r /tmp/local/tree tree
            cp -a tree copy; diff <(list tree) <(list copy)
            rsync -aH tree/ synced; diff <(list tree) <(list synced)
            [ -z "$(rsync -aHi tree/ synced)" ]
            [ "$(find . -type f | wc -l)" = "$((3 * $(find /tmp/local -type f | wc -l)))" ]
            find . -ls > /dev/null; du -s . > /dev/null
            rm -rf tree copy synced; [ -z "$(ls -A)" ]; rm -rf /tmp/local
            """,
            900,
        )


FSX = r"""
cat > /tmp/fsx.py <<'P'
# Random reads, writes, truncations and mapped changes of one file, the same on a local one.
import mmap, os, random, sys
seed, steps, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rnd = random.Random(seed)
files = [os.open(name, os.O_RDWR | os.O_CREAT) for name in (path, "/tmp/fsx.local")]
LIMIT = 1 << 20
for step in range(steps):
    what = rnd.choice(["write", "write", "read", "truncate", "mmap", "sync", "reopen", "append", "punch"])
    size = os.fstat(files[1]).st_size
    at, length = rnd.randrange(LIMIT), rnd.randrange(1, 70000)
    data = rnd.randbytes(length)
    if what == "write":
        for fd in files:
            assert os.pwrite(fd, data, at) == length
    elif what == "append":
        for fd in files:
            os.pwrite(fd, data, size)
    elif what == "read":
        got = [os.pread(fd, length, at) for fd in files]
        assert got[0] == got[1], (step, at, length)
    elif what == "truncate":
        for fd in files:
            os.ftruncate(fd, at)
    elif what == "mmap" and size:
        at = rnd.randrange(size)
        data = data[: size - at]
        for fd in files:
            with mmap.mmap(fd, size) as memory:
                memory[at : at + len(data)] = data
                if rnd.random() < 0.3:
                    memory.flush()
    elif what == "sync":
        os.fsync(files[0])
    elif what == "reopen":
        os.close(files[0])
        files[0] = os.open(path, os.O_RDWR)
    assert os.fstat(files[0]).st_size == os.fstat(files[1]).st_size, (step, what)
    os.write(1, b"") if step % 50 else None
os.fsync(files[0])
whole = [os.pread(fd, 1 << 24, 0) for fd in files]
assert whole[0] == whole[1]
os.unlink("/tmp/fsx.local")
P
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_random_writes_and_maps_match_a_local_file(guest: Guest, serve: Serve, version: str) -> None:
    server = serve()
    with mounted(guest, server, f"vers={version}"):
        guest.run(FSX + f"python3 /tmp/fsx.py 1 {count(300, 40000)} /mnt/a/file", 3600)
        local = guest.run("sha256sum < /mnt/a/file").out.split()[0]
    assert server.directory is not None
    assert hashlib.sha256((server.directory / "file").read_bytes()).hexdigest() == local


@pytest.mark.parametrize("version", ["4.2"])
def test_sparse_files_copies_and_xattrs_of_4_2(guest: Guest, serve: Serve, version: str) -> None:
    server = serve()
    with mounted(guest, server, f"vers={version}"):
        guest.run(
            r"""
            cd /mnt/a
            truncate -s 100M sparse
            printf data | dd of=sparse bs=1M seek=50 conv=notrunc 2>/dev/null; sync sparse
            python3 - <<'P'
import os
fd = os.open("sparse", os.O_RDWR)
assert os.lseek(fd, 0, os.SEEK_DATA) == 50 << 20, os.lseek(fd, 0, os.SEEK_DATA)
assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
assert os.lseek(fd, 50 << 20, os.SEEK_HOLE) > 50 << 20
os.posix_fallocate(fd, 0, 1 << 20)
out = os.open("copied", os.O_RDWR | os.O_CREAT)
assert os.copy_file_range(fd, out, 1 << 20, 50 << 20, 0) == 1 << 20
assert os.pread(out, 5, 0) == b"data\0"
os.setxattr("copied", "user.color", b"red")
assert os.getxattr("copied", "user.color") == b"red"
assert os.listxattr("copied") == ["user.color"]
os.removexattr("copied", "user.color")
assert os.listxattr("copied") == []
P
            fallocate -p -o 52428800 -l 4096 sparse
            [ -z "$(dd if=sparse bs=1M skip=50 count=1 2>/dev/null | tr -d '\0')" ]
            """
        )
        counts = guest.run("grep -E '(SEEK|ALLOCATE|DEALLOCATE|COPY|SETXATTR):' /proc/self/mountstats").out
    assert [line.split()[0] for line in counts.splitlines() if int(line.split()[1]) > 0] == [
        "SEEK:",
        "ALLOCATE:",
        "DEALLOCATE:",
        "COPY:",
        "SETXATTR:",
    ]


def test_directory_of_many_entries_is_listed_whole_while_it_changes(guest: Guest, serve: Serve) -> None:
    server = serve()
    assert server.directory is not None
    entries = count(5_000, 100_000)
    for number in range(entries):
        os.close(os.open(server.directory / f"entry{number:06}", os.O_CREAT | os.O_WRONLY))
    with mounted(guest, server):
        guest.run(
            f"""
            cd /mnt/a
            (for n in $(seq 100); do touch new$n; rm -f new$((n - 1)); done) &
            python3 - <<'P'
import os
names = [entry.name for entry in os.scandir(".") if entry.name.startswith("entry")]
assert len(names) == len(set(names)) == {entries}, (len(names), len(set(names)))
P
            wait
            [ "$(ls | grep -c entry)" = {entries} ]
            """,
            600,
        )


LOCKER = r"""
cat > /tmp/locker.py <<'P'
# Adds one to a number in a file, under a lock, again and again.
import fcntl, os, sys
kind, times, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
fd = os.open(path, os.O_RDWR)
take = {"flock": fcntl.flock, "fcntl": fcntl.lockf}[kind]
for _ in range(times):
    while True:
        try:
            take(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except (BlockingIOError, PermissionError):
            os.sched_yield()
    number = int(os.pread(fd, 20, 0) or b"0")
    os.pwrite(fd, b"%d" % (number + 1), 0)
    take(fd, fcntl.LOCK_UN)
P
"""


LOAD = (
    FSX
    + TREE.replace("FILES", "200")
    + """
find . -ls > /dev/null; du -s tree > /dev/null; rm -rf /tmp/local
(cd tree; git init -q; git add .; git commit -qm all; git status; git gc -q) > /dev/null
dd if=/dev/zero of=big bs=256k count=32 conv=fsync 2> /dev/null; sha256sum big > /dev/null
for n in 1 2 3 4; do flock big python3 /tmp/fsx.py $n 30 /mnt/a/fsx$n; done
exec 3> open; rm open; echo still >&3; exec 3>&-
rm -rf tree big fsx*; [ -z "$(ls -A)" ]
"""
)


def test_memory_is_flat_under_a_long_load(guest: Guest, serve: Serve) -> None:
    """Files come, are worked on and go, again and again; in a soak, more than an hour of ordinary work."""
    server = serve()
    resident = []
    with mounted(guest, server):
        for _ in range(count(3, 100)):
            guest.run(LOAD, 300)
            resident.append(server.rss_bytes() / 2**20)
    print("MiB resident after each round:", *(f"{mib:.1f}" for mib in resident))
    assert max(resident) < 100
    assert max(resident) - max(resident[: 1 + len(resident) // 4]) < 8


@pytest.mark.parametrize("kind", ["flock", "fcntl"])
@pytest.mark.parametrize("version", ["4.0", "4.2"])
def test_locks_between_two_kernels_exclude(
    guest: Guest, other_guest: Guest, serve: Serve, version: str, kind: str
) -> None:
    server = serve()
    times = count(40, 1000)
    assert server.directory is not None
    (server.directory / "number").touch()
    with mounted(guest, server, f"vers={version}"), mounted(other_guest, server, f"vers={version}"):
        jobs = [
            each.start(LOCKER + f"python3 /tmp/locker.py {kind} {times} /mnt/a/number")
            for each in (guest, other_guest)
        ]
        for job in jobs:
            job.wait(600)
    assert int((server.directory / "number").read_text()) == 2 * times


def test_two_kernels_see_each_others_closes(guest: Guest, other_guest: Guest, serve: Serve) -> None:
    server = serve()
    assert server.directory is not None
    with mounted(guest, server), mounted(other_guest, server):
        for number in range(count(10, 1000)):
            writer, reader = (guest, other_guest) if number % 2 else (other_guest, guest)
            writer.run(f"echo {number} > /mnt/a/shared")
            assert reader.run("cat /mnt/a/shared").out.strip() == str(number)
            (server.directory / "shared").write_text(f"local {number}\n")
            assert writer.run("cat /mnt/a/shared").out.strip() == f"local {number}"


def test_two_servers_are_two_for_one_kernel(guest: Guest, serve: Serve) -> None:
    first, second = serve(), serve()
    with mounted(guest, first), mounted(guest, second, at="/mnt/b"):
        guest.run("echo 1 > /mnt/a/f; echo 2 > /mnt/b/f; [ $(cat /mnt/a/f) = 1 ]; [ $(cat /mnt/b/f) = 2 ]")
        second.stop()
        guest.run("echo 3 > /mnt/a/g; cat /mnt/a/g", 30)
        second.start()
        guest.run("cat /mnt/b/f", 200)


def test_owner_option_lets_root_in_a_pod_tar_and_chmod(guest: Guest, serve: Serve) -> None:
    server = serve("--owner", "0:0")
    with mounted(guest, server):
        guest.run(
            """
            cd /mnt/a; mkdir /tmp/o; touch /tmp/o/f; chown -R 1234:567 /tmp/o; chmod 640 /tmp/o/f
            tar cf - -C /tmp o | tar xpf -; [ "$(stat -c %u:%g:%a o/f)" = 0:0:640 ]
            cp -p /tmp/o/f p; install -o 55 -g 66 -m 600 /tmp/o/f i; [ "$(stat -c %u:%a i)" = 0:600 ]
            chown 3:4 p; git init -q r; rm -rf /tmp/o
            """
        )


def test_read_only_export_refuses_to_change_anything(guest: Guest, serve: Serve) -> None:
    server = serve("--read-only")
    assert server.directory is not None
    (server.directory / "f").write_text("x")
    with mounted(guest, server):
        guest.run(
            """
            cd /mnt/a; cat f; touch g 2>/dev/null && exit 1; echo y 2>/dev/null > f && exit 1
            rm f 2>/dev/null && exit 1; mkdir d 2>/dev/null && exit 1; chmod 600 f 2>/dev/null && exit 1; true
            """
        )


def test_path_with_a_secret_is_mounted_by_who_knows_it(guest: Guest, serve: Serve, tmp_path: Path) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    (tmp_path / "path").write_text(f"/{secret}\n")
    server = serve("--path-file", str(tmp_path / "path"))
    guest.mount(f"port={server.port}", path=f"/{secret}")
    guest.run("echo x > /mnt/a/f; umount /mnt/a")
    assert guest.run(
        f"mkdir -p /mnt/a; mount -t nfs4 -o port={server.port} {guest.server}:/0 /mnt/a", check=False
    ).status
    guest.mount(f"port={server.port}")
    guest.run('cd /mnt/a; [ -z "$(ls -A)" ]; [ ! -e x ]; cd /; umount /mnt/a')


def _give(guest: Guest, name: str, make: Callable[[str], object]) -> None:
    """Put something made here where the guest has it as /host/`name`."""
    path = guest.share / name
    if not path.exists():
        make(str(path))
