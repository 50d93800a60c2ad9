"""`python -m bench.here`: this machine's programs in guests, over the file server and a link like a user's.

Strategy: the file server runs in the guests' network, the user's side in this process, bench.slowlink between
them. A user-mode Linux guest mounts the programs as kubelet does it, and runs them in a chroot, as a pod of
an empty image does. A cold start has a new file server, a new mount and an empty page cache. Round trips are
a slope: the seconds that a start takes longer when each of them takes 0.2 s longer. Beside them is the same
program from the guest's own disk.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from bench.kube import Unable
from bench.nfs import awake, measured
from bench.report import Figure, Section, absolute, as_text, compared
from bench.run import BenchError, interleave
from bench.share import numpy_packages
from bench.stats import Target, spread
from tests.fileserver.lazy import write_secret
from tests.fileserver.process import UserThread
from tests.nfs import uml
from womm.fileserver.contents.blocks import BLOCK_BYTES
from womm.here.programs import Programs, Root
from womm.share.fence import Fence
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.ssh import TaskKeys
from womm.share.programs.mounts import Mounts
from womm.share.programs.view import ProgramsFolder

TITLE = "This machine's programs in pods"
FAR_S, FARTHER_S = 0.05, 0.25
PORT = 2049
PODS = 100
FILES = 100
ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "passwd",
    "group",
    "nsswitch.conf",
    "python3.11",
)
ENV = "env -i PATH=/usr/bin:/bin LANG=C.UTF-8"
PYTHON = "/usr/bin/python3 -c pass"
ROOT = "/tmp/r"

_COLD = Target(most=40, unit="")
_LEARNED = Target(most=3, unit="")
_WARM = Target(most=1.5)
_UPLINK = Target(most=1.05)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    starts: int
    """In one measurement of warm starts."""


FULL = Sizes(rounds=7, starts=5)
QUICK = Sizes(rounds=1, starts=1)


class Server:
    """A file server of programs, its user's side, and the link between them. Use it in `with`."""

    def __init__(self, net: uml.Network, folder: Path, site: Path) -> None:
        self.net, self.folder, self.site = net, folder, site
        self.keys = TaskKeys.make()
        self.path = ""
        self.log = folder / "log"

    def __enter__(self) -> "Server":
        with ExitStack() as stack:
            secret = write_secret(self.folder / "secret", self.keys)
            self.path = "/womm-" + (secret / "export").read_text()
            self._process = stack.enter_context(self._file_server(secret))
            link = stack.enter_context(self._link())
            assert link.stdin is not None and link.stdout is not None
            self._say, self._hear = link.stdin, link.stdout
            self.user = UserThread("/", json.loads(self._hear.readline()), self._export, self.keys)
            stack.callback(self.user.close)
            self.user.wait()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _export(self, fence: Fence) -> ExportedFolder:
        roots = (Root("/usr", "system", ""), Root(str(self.site), "python", ""))
        links = tuple((f"/{name}", f"/usr/{name}") for name in ("bin", "sbin", "lib", "lib64"))
        return ProgramsFolder(fence, Programs(roots, links, ETC), Mounts(), lambda line: None)

    @contextmanager
    def _file_server(self, secret: Path) -> Iterator["subprocess.Popen[bytes]"]:
        words = [sys.executable, "-m", "womm.fileserver", "--programs", str(self.folder / "socket")]
        words += ["--programs-secret", str(secret), "--programs-cache", str(self.folder / "cache")]
        words += ["--state", str(self.folder / "state"), "--port", str(PORT)]
        with open(self.log, "wb") as log:
            process = subprocess.Popen(self.net.command(*words), stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            if not process.stdout.readline().startswith(b"womm-fileserver ready"):
                raise BenchError(f"the file server did not start: {self.log.read_text()[-2000:]}")
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    @contextmanager
    def _link(self) -> Iterator["subprocess.Popen[bytes]"]:
        words = [sys.executable, "-m", "bench.slowlink", str(self.folder / "socket"), "0"]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def link(self, round_trip_s: float = 0.0, mb_per_s: float = 0.0) -> int:
        """Set the link; return the bytes that have gone to the file server so far."""
        wanted = {"round_trip_s": round_trip_s, "mb_per_s": mb_per_s}
        self._say.write(json.dumps(wanted).encode() + b"\n")
        self._say.flush()
        found: int = json.loads(self._hear.readline())["up"]
        return found

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """The operations so far."""
        size = self.log.stat().st_size
        os.kill(self._process.pid, signal.SIGUSR1)
        while not (text := self.log.read_text()[size:]).endswith("\n"):
            time.sleep(0.05)
        found: Mapping[str, Mapping[str, float]] = json.loads(text.splitlines()[-1])["operations"]
        return found

    def learn(self, items: Sequence[object]) -> None:
        """Have the server fetch these, and wait until it has."""
        self.user.ask("prefetch", items=items)
        before = -1
        while (now := self.user.ask("stats")["fetched"]) != before:
            before = now
            time.sleep(1.0)


@dataclass(frozen=True, slots=True)
class Rig:
    """Two guests, and a folder with numpy that the programs have, too."""

    net: uml.Network
    guests: Sequence[uml.Guest]
    folder: Path
    site: Path
    sizes: Sizes

    @contextmanager
    def served(self) -> Iterator[Server]:
        folder = Path(tempfile.mkdtemp(prefix="s", dir=self.folder))
        try:
            with Server(self.net, folder, self.site) as server:
                yield server
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def mounted(self, server: Server, guests: Sequence[uml.Guest] = ()) -> Iterator[None]:
        """The programs at ROOT of guests; none: of the first one."""
        guests = guests or self.guests[:1]
        mounts = ("usr", "etc", str(self.site)[1:])
        mount = f"mount -t nfs -o ro,port={PORT} $server:{server.path}"
        lines = "".join(f"mkdir -p {ROOT}/{path}; {mount}/{path} {ROOT}/{path}\n" for path in mounts)
        links = "".join(f"ln -sfn usr/{name} {ROOT}/{name}\n" for name in ("bin", "sbin", "lib", "lib64"))
        more = f"cd {ROOT}; mkdir -p tmp dev; mount --bind /dev dev; mount --bind /tmp/own tmp\n"
        for guest in guests:
            guest.run(f"server={guest.server}; mkdir -p {ROOT} /tmp/own\n{lines}{links}{more}", 120)
        try:
            yield
        finally:
            for guest in guests:
                paths = " ".join(f"{ROOT}/{path}" for path in ("dev", "tmp", *mounts))
                guest.run(f"for path in {paths}; do umount -f -l $path; done; rm -rf /tmp/own", 120)

    def timed(self, command: str, *, here: bool, times: int = 1, cold: bool = False) -> float:
        """Seconds of one run, by the guest's clock."""
        words = f"{ENV} /usr/sbin/chroot {ROOT} {command}" if here else f"{ENV} {command}"
        drop = "echo 3 > /proc/sys/vm/drop_caches;" if cold else ""
        out = (
            self.guests[0]
            .run(
                f"cd /tmp; {drop} begin=$(date +%s%N); for n in $(seq {times}); do {words} >/dev/null; done;"
                " end=$(date +%s%N); echo; echo seconds $begin $end",
                1800,
            )
            .out
        )
        begin, end = out.splitlines()[-1].split()[1:]
        return (int(end) - int(begin)) / 1e9 / times


@contextmanager
def rig(folder: Path, sizes: Sizes) -> Iterator[Rig]:
    """Raises Unable when something is not installed."""
    if reason := uml.missing():
        raise Unable(reason)
    if not os.access("/usr/bin/python3.11", os.X_OK):
        raise Unable("the guests' programs are Debian 12's, and this machine's are others")
    with ExitStack() as stack:
        # Not below /tmp, which is the pods' own.
        site = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="womm-bench-", dir="/var/tmp")))
        site.chmod(0o755)
        with tarfile.open(numpy_packages()) as archive:
            archive.extractall(site, filter="data")
        net = stack.enter_context(uml.network(folder))
        guests = [stack.enter_context(uml.Guest(net, memory="1G")) for _ in range(2)]
        for guest in guests:
            stack.enter_context(awake(guest.pid))
            shutil.copytree(site, guest.share / "site", symlinks=True)
            guest.run(f"cp -a /host/site {site}", 600)
        yield Rig(net, guests, folder, site, sizes)


# -- what is measured --------------------------------------------------------------------------------
def starts(where: Rig) -> list[Figure]:
    """python3's first start: with an empty cache, and with what an earlier task has used."""
    learned: list[object] = []

    def cold(round_trip_s: float, know: bool) -> float:
        with where.served() as server:
            if know:
                server.learn(learned)
            with where.mounted(server):
                server.link(round_trip_s)
                found = where.timed(PYTHON, here=True, cold=True)
                server.link()
                learned[:] = learned or server.user.ask("use")["items"]
        return found

    cold(0.0, False)
    figures = []
    for know, target, what in (
        (False, _COLD, "nothing known"),
        (True, _LEARNED, "as an earlier task used it"),
    ):
        runs = {str(delay): partial(cold, delay, know) for delay in (FAR_S, FARTHER_S)}
        found = interleave(runs, rounds=where.sizes.rounds, budget_s=600)
        pairs = zip(found[str(FAR_S)], found[str(FARTHER_S)], strict=True)
        trips = [max(0.0, farther - far) / (FARTHER_S - FAR_S) for far, farther in pairs]
        figures += [
            absolute(f"python3's first start, {what}: round trips", spread(trips), "", target),
            absolute(f"python3's first start, {what}: 50 ms away", spread(found[str(FAR_S)]), "s"),
        ]
    return figures


def warm(where: Rig) -> list[Figure]:
    """Programs that the node has run before, beside its own."""
    imports = f"/usr/bin/env PYTHONPATH={where.site} /usr/bin/python3 -c 'import numpy'"
    figures = []
    with where.served() as server, where.mounted(server):
        for what, command in (("python3 -c pass", PYTHON), ("import numpy", imports)):
            run = {
                who: partial(where.timed, command, here=who == "here", times=where.sizes.starts)
                for who in ("here", "own")
            }
            for one in run.values():
                one()
            before = server.metrics()
            found = interleave(run, rounds=where.sizes.rounds, budget_s=300)
            after = server.metrics()
            asked = sum(
                row["count"] - before.get(op, {"count": 0})["count"]
                for op, row in after.items()
                if op == "SEQUENCE"
            )
            count = asked / len(found["here"]) / where.sizes.starts
            figures += [
                compared(
                    f"{what}, warm, beside the node's own disk", found["here"], found["own"], "s", _WARM
                ),
                absolute(f"{what}, warm: requests to the file server", spread([count]), ""),
            ]
    return figures


def compiles(where: Rig) -> list[Figure]:
    """make -j of 100 files of C, by this machine's compiler."""
    guest, project = where.guests[0], where.guests[0].share / "c"
    _make_project(project)
    make = "/usr/bin/make -s -B -j2 -C /tmp/c"
    with where.served() as server, where.mounted(server):
        guest.run("rm -rf /tmp/c /tmp/own/c; cp -r /host/c /tmp/c; cp -r /host/c /tmp/own/c")
        first = where.timed(make, here=True)
        guest.run("rm -rf /host/objects; mkdir /host/objects; cp /tmp/own/c/*.o /host/objects")
        subprocess.run(["make", "-s", "-B", "-j2", "-C", str(project)], check=True)
        digests = [_digest(folder) for folder in (guest.share / "objects", project)]
        if digests[0] != digests[1]:
            raise BenchError("the objects differ from those that this machine makes")
        where.timed(make, here=False)
        run = {who: partial(where.timed, make, here=who == "here") for who in ("here", "own")}
        found = interleave(run, rounds=min(3, where.sizes.rounds), budget_s=600)
    what = f"make -j2 of {FILES} files of C"
    return [
        compared(f"{what}, warm, beside the node's own disk", found["here"], found["own"], "s", _WARM),
        absolute(
            f"{what}, the first time (objects are byte-equal with this machine's)", spread([first]), "s"
        ),
    ]


def _make_project(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        lines = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"]
        lines += [
            f"int f{number}_{n}(const char *text)"
            f" {{ char copy[{n + 9}]; strncpy(copy, text, {n + 8}); copy[{n + 8}] = 0;"
            f' return printf("%s %d\\n", copy, {n}) + atoi(copy); }}'
            for n in range(20)
        ]
        (folder / f"f{number}.c").write_text("\n".join(lines) + "\n")
    (folder / "Makefile").write_text(
        "OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))\nall: $(OBJECTS)\n%.o: %.c\n\tgcc -O2 -c -o $@ $<\n"
    )


def _digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.o")}


def uplink(where: Rig) -> list[Figure]:
    """Two kernels and libnfs clients run and read the same for the first time, at once."""
    imports = f"{ENV} PYTHONPATH={where.site} /usr/sbin/chroot {ROOT} /usr/bin/python3 -c 'import numpy'"
    compiles_c = 'echo "int main(){}" | gcc -x c -o /tmp/a.out -'
    script = f"{imports}; {ENV} /usr/sbin/chroot {ROOT} /bin/sh -c '{compiles_c}'"

    def copies() -> float:
        with where.served() as server, where.mounted(server, where.guests):
            for guest in where.guests:
                guest.run("echo 3 > /proc/sys/vm/drop_caches")
            before = server.link(0.02, 20.0)
            jobs = [guest.start(script) for guest in where.guests]
            _nfs_cat(server, ["/usr/bin/python3.11", "/usr/lib/x86_64-linux-gnu/libc.so.6"] * 4)
            for job in jobs:
                job.wait(600)
            up = server.link() - before
            return up / _bytes_of(server.user.ask("use")["items"])

    what = "uplink for numpy and gcc in two kernels, and 8 libnfs clients, beside one copy of the blocks read"
    return [absolute(what, spread([copies() for _ in range(min(3, where.sizes.rounds))]), "x", _UPLINK)]


def _bytes_of(items: Sequence[Sequence[object]]) -> int:
    """What was read, in blocks."""
    total = 0
    for _, size, _, blocks in items:
        assert isinstance(size, int) and isinstance(blocks, list)
        total += sum(min(BLOCK_BYTES, size - number * BLOCK_BYTES) for number in blocks)
    return total


def _nfs_cat(server: Server, paths: Sequence[str]) -> None:
    """Read files by as many clients at once."""
    words = [
        server.net.command("nfs-cat", f"nfs://127.0.0.1{server.path}{path}?version=4&nfsport={PORT}")
        for path in paths
    ]
    clients = [subprocess.Popen(one, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for one in words]
    failed = sum(client.wait() != 0 for client in clients)
    if failed:
        raise BenchError(f"{failed} of {len(clients)} libnfs clients failed")


def pods(where: Rig) -> list[Figure]:
    """As many clients as pods, all at once, with an empty cache."""
    with where.served() as server:
        server.user.ask("stats")
        idle = server.peak_bytes()
        before = server.link(0.02, 20.0)
        most = [0]
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(server, most, ended))
        watcher.start()
        began = time.monotonic()
        try:
            _nfs_cat(server, ["/usr/bin/python3.11"] * PODS)
        finally:
            took = time.monotonic() - began
            ended.set()
            watcher.join()
        copies = (server.link() - before) / os.stat("/usr/bin/python3.11").st_size
        peak = server.peak_bytes()
    mib = 2**20
    return [
        absolute(f"{PODS} clients read one program at once, 20 MB/s and 20 ms away", spread([took]), "s"),
        absolute(f"{PODS} clients: the uplink, beside one copy", spread([copies]), "x", _UPLINK),
        absolute(f"{PODS} clients: the file server's memory at most", spread([peak / mib]), "MiB"),
        absolute("the file server's memory before", spread([idle / mib]), "MiB"),
        absolute(
            f"{PODS} clients: bytes that wait in the server's sockets at most", spread([most[0] / mib]), "MiB"
        ),
    ]


def _watch(server: Server, most: list[int], ended: threading.Event) -> None:
    """Note how many bytes wait in the kernel's queues of the NFS port."""
    while not ended.wait(0.1):
        out = subprocess.run(
            server.net.command("ss", "-tnH", "sport", "=", f":{PORT}"),
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        rows = [line.split() for line in out.splitlines()]
        most[0] = max(most[0], sum(int(row[1]) + int(row[2]) for row in rows if len(row) > 2))


PARTS: Mapping[str, Callable[[Rig], list[Figure]]] = {
    "starts": starts,
    "warm": warm,
    "compiles": compiles,
    "uplink": uplink,
    "pods": pods,
}


def section(folder: Path, *, quick: bool, only: list[str] | None = None, rounds: int = 0) -> Section:
    """Measure in `folder`, which is empty. Raises BenchError, Unable."""
    sizes = QUICK if quick else FULL
    if rounds:
        sizes = Sizes(rounds, sizes.starts)
    figures = measured(PARTS, rig(folder, sizes), only)
    return Section(
        TITLE,
        "The file server of programs, this machine's /usr through the view that pods get, and a user-mode"
        " Linux guest (one core) that runs programs from it in a chroot; its own disk has the same Debian. A"
        " cold start has a new file server and a new mount; its round trips are the seconds that it takes"
        f" longer {FARTHER_S:g} s away than {FAR_S:g} s away, over the difference.",
        figures,
    )


def terminated(number: int, frame: FrameType | None) -> None:
    """Unwind: end the guests, and remove the folders."""
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.here", description=TITLE + ".")
    parser.add_argument("--quick", action="store_true", help="little of everything: only shows that it works")
    parser.add_argument("--only", action="append", choices=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help=f"({FULL.rounds})")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, terminated)
    try:
        with tempfile.TemporaryDirectory(prefix="womm-bench-", dir="/tmp") as folder:
            found = section(Path(folder), quick=options.quick, only=options.only, rounds=options.rounds)
            print(as_text(found), flush=True)
    except (BenchError, Unable) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
