"""`python -m bench.nfs`: womm's NFS server beside NFS-Ganesha, on one directory, through one kernel's client.

Strategy: one user-mode Linux guest (tests/nfs/uml.py) mounts both servers, which run on this machine side
by side and serve the same directory; each measurement mounts, works and unmounts, so no cache of the
client's outlives it. Rounds take turns, and a ratio is that of two neighbours (bench.run.interleave). The
guest is one slow core, which is the same for both.

Needs root and Debian packages; `unable` names those that are missing. scripts/install leaves NFS-Ganesha out:
only this benchmark needs it, and it is a service that would run by itself.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from struct import pack
from typing import TypeVar

from bench.kube import Unable
from bench.report import Figure, Section, absolute, as_text, compared
from bench.run import BenchError, interleave
from bench.stats import Target, spread
from tests.nfs import builder as b
from tests.nfs import uml
from tests.nfs.process import ServerProcess
from womm.nfs import rpc
from womm.nfs.constants import Op
from womm.nfs.xdr import pack_opaque

R = TypeVar("R")

GANESHA = "ganesha.nfsd"
GANESHA_VFS = "*-linux-gnu/ganesha/libfsalvfs.so"
PROGRAMS = {
    "linux.uml": "user-mode-linux",
    "debootstrap": "debootstrap",
    "mkfs.ext4": "e2fsprogs",
    "ip": "iproute2",
    "nsenter": "util-linux",
    GANESHA: "nfs-ganesha",
}
"""Programs that this needs, and the Debian packages that have them."""
TITLE = "The NFS server beside NFS-Ganesha"
OPTIONS = "vers=4.2"
AWAKE_S = 0.001
IDLE_CLIENTS = 50
IDLE_S = 20.0

_FASTER = Target(most=1.5)
_SLOWER = Target(least=0.3)
_STREAM = Target(least=0.8)

HELPER = r"""
cat > /tmp/ops.c <<'C'
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
/* ops stat|read PATH COUNT: asks the server COUNT times, prints seconds */
int main(int argc, char **argv) {
    long count = atol(argv[3]);
    int fd = open(argv[2], O_RDONLY | O_DIRECT);
    struct statx found; struct timespec a, z; void *buffer;
    if (fd < 0 || posix_memalign(&buffer, 4096, 4096)) return 1;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (long i = 0; i < count; i++) {
        if (!strcmp(argv[1], "stat")) {
            if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_ALL, &found)) return 2;
        } else if (pread(fd, buffer, 4096, (i * 7919 % 4096) * 4096) != 4096) return 3;
    }
    clock_gettime(CLOCK_MONOTONIC, &z);
    printf("%f\n", z.tv_sec - a.tv_sec + (z.tv_nsec - a.tv_nsec) / 1e9);
    return 0;
}
C
cc -O1 -o /tmp/ops /tmp/ops.c
cat > /tmp/tree.py <<'P'
import io, sys, tarfile
with tarfile.open("/tmp/tree.tar", "w") as tar:
    for n in range(int(sys.argv[1])):
        info = tarfile.TarInfo(f"t/d{n % 100}/f{n}")
        info.size, info.mtime = 1 + n % 4000, 1_000_000_000 + n
        tar.addfile(info, io.BytesIO(b"x" * info.size))
P
python3 /tmp/tree.py FILES
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    stream_mb: int
    calls: int
    files: int
    rounds: int


FULL = Sizes(stream_mb=1024, calls=5000, files=10_000, rounds=5)
QUICK = Sizes(stream_mb=64, calls=500, files=300, rounds=1)


@dataclass(frozen=True, slots=True)
class Rig:
    """A guest, and the ports of both servers of `directory`."""

    guest: uml.Guest
    directory: Path
    ports: Mapping[str, int]
    server: ServerProcess
    sizes: Sizes

    def timed(self, who: str, script: str, before: str = "") -> float:
        """Run a script on a fresh mount; return its seconds, by the guest's clock."""
        port = self.ports[who]
        out = self.guest.run(
            f"""
            mkdir -p /mnt/b; mount -t nfs -o {OPTIONS},port={port} {self.guest.server}:/data /mnt/b
            trap 'cd /; umount /mnt/b' EXIT
            cd /mnt/b; {before}
            echo 3 > /proc/sys/vm/drop_caches
            begin=$(date +%s%N)
            {script}
            end=$(date +%s%N); echo; echo "seconds $begin $end"
            """,
            3600,
        ).out
        begin, end = next(line.split()[1:] for line in out.splitlines() if line.startswith("seconds "))
        return (int(end) - int(begin)) / 1e9

    def helper(self, who: str, kind: str) -> float:
        """Return calls per second of the helper program, after a first round that warms the server."""
        port, count = self.ports[who], self.sizes.calls
        out = self.guest.run(
            f"""
            mkdir -p /mnt/b; mount -t nfs -o {OPTIONS},port={port} {self.guest.server}:/data /mnt/b
            trap 'cd /; umount /mnt/b' EXIT
            /tmp/ops {kind} /mnt/b/warm {max(100, count // 10)} >/dev/null
            /tmp/ops {kind} /mnt/b/warm {count}
            """,
            3600,
        ).out
        return count / float(out.split()[0])


@contextmanager
def _ganesha(net: uml.Network, folder: Path, directory: Path, port: int) -> Iterator[None]:
    """NFS-Ganesha with its VFS backend, version 4 only, without a grace period."""
    conf = folder / "ganesha.conf"
    (folder / "recovery").mkdir()
    conf.write_text(f"""
NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Enable_NLM = false; Enable_RQUOTA = false;
  mount_path_pseudo = true; }}
NFSv4 {{ Graceless = true; Only_Numeric_Owners = true; RecoveryRoot = "{folder}/recovery"; }}
NFS_KRB5 {{ Active_krb5 = false; }}
EXPORT {{ Export_Id = 1; Path = "{directory}"; Pseudo = "/data"; Access_Type = RW; Squash = No_Root_Squash;
  SecType = sys; Protocols = 4; Transports = TCP; FSAL {{ Name = VFS; }} }}
""")
    log = folder / "ganesha.log"
    words = [GANESHA, "-F", "-N", "EVENT", "-L", str(log), "-f", str(conf), "-p", str(folder / "pid")]
    with open(folder / "ganesha.out", "wb") as out:
        process = subprocess.Popen(net.command(*words), stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while b":%d " % port not in _listening(net):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{GANESHA} did not start: {log.read_text()[-2000:]}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def awake(pid: int) -> Iterator[None]:
    """Give the guest, which is up, a signal in every millisecond.

    When a packet comes just as it goes to sleep, it sleeps on until its next tick, up to 10 ms later: it
    blocks no SIGIO while it makes up its mind (os_idle_sleep of Linux 6.1). This one makes it look again.
    It happens more often with one server than with another, by when their answers come.
    """
    stop = threading.Event()

    def signals() -> None:
        while not stop.wait(AWAKE_S):
            os.kill(pid, signal.SIGIO)

    thread = threading.Thread(target=signals, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _listening(net: uml.Network) -> bytes:
    return subprocess.run(net.command("ss", "-ltn"), capture_output=True, check=True).stdout


def unable() -> str:
    """Return why this machine cannot run the benchmark, and what helps; empty if it can."""
    absent = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if not any(Path("/usr/lib").glob(GANESHA_VFS)):
        absent.append("nfs-ganesha-vfs")
    if not absent:
        return uml.missing()
    words = " ".join(absent)
    after = "; systemctl disable --now nfs-ganesha" if "nfs-ganesha" in absent else ""
    return (
        f"these Debian packages are not installed: {words} (as root: apt-get install --no-install-recommends"
        f" {words}{after})"
    )


@contextmanager
def rig(folder: Path, sizes: Sizes) -> Iterator[Rig]:
    """Start both servers and the guest. Raises Unable when something is not installed."""
    if reason := unable():
        raise Unable(reason)
    directory = folder / "data"
    directory.mkdir()
    (directory / "warm").write_bytes(os.urandom(4096 * 4096))
    with ExitStack() as stack:
        net = stack.enter_context(uml.network(folder))
        server = ServerProcess(directory, folder, "--path", "/data", prefix=net.command(), port=20490)
        stack.enter_context(server)
        stack.enter_context(_ganesha(net, folder, directory, 20491))
        guest = stack.enter_context(uml.Guest(net, memory="2G"))
        stack.enter_context(awake(guest.pid))
        guest.run(HELPER.replace("FILES", str(sizes.files)), 600)
        yield Rig(guest, directory, {"womm": 20490, "ganesha": 20491}, server, sizes)


def _pairs(
    where: Rig, work: Callable[[str], float], budget_s: float = 600
) -> tuple[list[float], list[float]]:
    """Measure womm and Ganesha in turns."""
    found = interleave(
        {who: partial(work, who) for who in where.ports}, rounds=where.sizes.rounds, budget_s=budget_s
    )
    return found["womm"], found["ganesha"]


def streams(where: Rig) -> list[Figure]:
    """Sequential writing, with fsync, and reading.

    Each server has a file of its own: one that another server removed stays, with its memory, for as long as
    the first one has it open, and the other then writes to memory that nobody has used yet.
    """
    size = where.sizes.stream_mb

    def write(who: str) -> float:
        command = f"dd if=/dev/zero of=big-{who} bs=1M count={size} conv=fsync"
        return size / where.timed(who, command, f"rm -f big-{who}")

    def read(who: str) -> float:
        return size / where.timed(who, f"dd if=big-{who} of=/dev/null bs=1M")

    return [
        compared(f"write {size} MB and fsync", *_pairs(where, write), "MB/s", _STREAM),
        compared(f"read {size} MB", *_pairs(where, read), "MB/s", _STREAM),
    ]


def calls(where: Rig) -> list[Figure]:
    """Small calls, one at a time."""
    return [
        compared("4 KiB reads, warm", *_pairs(where, lambda who: where.helper(who, "read")), "/s", _SLOWER),
        compared("GETATTR", *_pairs(where, lambda who: where.helper(who, "stat")), "/s", _SLOWER),
    ]


def trees(where: Rig) -> list[Figure]:
    """Programs that touch many files; ratios are of times."""
    _make_repository(where)
    for who in where.ports:
        where.timed(who, "git -C repo status")  # the first one rewrites the index

    def untar(who: str) -> float:
        return where.timed(who, f"tar xf /tmp/tree.tar -C {who}", f"rm -rf {who}; mkdir {who}")

    def find(who: str) -> float:
        return where.timed(who, f"find {who} -ls > /dev/null")

    def status(who: str) -> float:
        return where.timed(who, "git -C repo status --porcelain | wc -l")

    return [
        compared(f"tar x of {where.sizes.files} files", *_pairs(where, untar), "s", _FASTER),
        compared(f"find -ls of {where.sizes.files} files", *_pairs(where, find), "s", _FASTER),
        compared("git status", *_pairs(where, status), "s", _FASTER),
    ]


def _make_repository(where: Rig) -> None:
    repo = where.directory / "repo"
    for number in range(where.sizes.files // 5):
        path = repo / f"d{number % 40}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
    git = ["git", "-C", str(repo), "-c", "user.name=b", "-c", "user.email=b@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True, capture_output=True)


def idle(where: Rig) -> list[Figure]:
    """What 50 clients cost that hold a session and do nothing; and the memory at the end of all this."""
    seconds = IDLE_S / 4 if where.sizes.files < FULL.files else IDLE_S
    script = "\n".join(
        (
            "import sys, time",
            "from bench.nfs import hold_sessions",
            f"hold_sessions({where.ports['womm']}, {IDLE_CLIENTS})",
        )
    )
    holder = subprocess.Popen(
        [*where.guest.net.command(), sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"held\n":
            raise BenchError("the idle clients could not connect")
        before = _cpu_s(where.server.pid)
        time.sleep(seconds)  # what is measured is doing nothing
        share = 100 * (_cpu_s(where.server.pid) - before) / seconds
    finally:
        holder.communicate()
    resident = where.server.rss_bytes() / 2**20
    return [
        absolute(f"CPU with {IDLE_CLIENTS} idle clients", spread([share]), "%", Target(most=1, unit="%")),
        absolute("resident memory after all of it", spread([resident]), "MiB", Target(most=100, unit="MiB")),
    ]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def hold_sessions(port: int, count: int) -> None:
    """Connect `count` clients of 4.1 with a session each; say "held"; keep them until stdin ends."""
    held = []
    for number in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        found = _ask(sock, b.exchange_id(b"verifier", b"idle%d" % number)).value(Op.EXCHANGE_ID)
        _ask(sock, b.create_session(found["clientid"], found["sequence"]))
        held.append(sock)
    print("held", flush=True)
    sys.stdin.read()
    for sock in held:
        sock.close()


def _ask(sock: socket.socket, operation: bytes) -> b.Reply:
    args = pack_opaque(b"") + pack(">II", 1, 1) + operation
    sock.sendall(rpc.pack_call(1, 100003, 4, 1, credential=b.ROOT_USER, args=args))
    head = sock.recv(4, socket.MSG_WAITALL)
    size = int.from_bytes(head, "big") & 0x7FFFFFFF
    return b.read_reply(head + sock.recv(size, socket.MSG_WAITALL))


PARTS: Mapping[str, Callable[[Rig], list[Figure]]] = {
    "calls": calls,
    "streams": streams,
    "trees": trees,
    "idle": idle,
}


def measured(
    parts: Mapping[str, Callable[[R], list[Figure]]],
    rigged: AbstractContextManager[R],
    only: list[str] | None,
) -> list[Figure]:
    """Measure some parts, or all, with one rig. Raises BenchError, Unable."""
    figures: list[Figure] = []
    try:
        with rigged as where:
            for name in only or parts:
                figures += parts[name](where)
    except uml.GuestError as exc:
        raise BenchError(str(exc)) from exc
    return figures


def section(
    folder: Path, *, quick: bool, only: list[str] | None = None, rounds: int | None = None
) -> Section:
    """Measure in `folder`, which is empty. Raises BenchError, Unable."""
    sizes = QUICK if quick else FULL
    if rounds is not None:
        sizes = replace(sizes, rounds=rounds)
    figures = measured(PARTS, rig(folder, sizes), only)
    return Section(
        TITLE,
        f"Both serve one directory to one user-mode Linux kernel ({OPTIONS}, one core); each measurement on a"
        " fresh mount, in turns. Rates: womm's over Ganesha's; times (s): womm's over Ganesha's.",
        figures,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.nfs", description="Measure the NFS server.")
    parser.add_argument("--quick", action="store_true", help="little of everything: only shows that it works")
    parser.add_argument("--only", action="append", choices=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, metavar="N", help=f"({FULL.rounds}; at least 1)")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="womm-bench-", dir="/tmp") as folder:
            print(
                as_text(section(Path(folder), quick=options.quick, only=options.only, rounds=options.rounds)),
                flush=True,
            )
    except (BenchError, Unable) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
