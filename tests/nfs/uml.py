"""Real Linux kernels as NFS clients: user-mode Linux guests in a network namespace of their own.

Strategy: `Network` is a namespace whose first address is the server's; each `Guest` is one user-mode Linux
behind a tap device of it. The guest's init is `_AGENT` below: it reads one line per job from a serial
line, runs that script with bash, its output goes to a file that both sides see (hostfs), and it
answers with the exit status. So nothing travels over the network but NFS.

The root file system is made once by debootstrap and kept in the cache; guests write to a
copy-on-write file in front of it, which goes with them. Needs root, Linux, and the Debian packages
user-mode-linux, debootstrap, e2fsprogs and iproute2.
"""

import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests import usermode
from tests.usermode import KERNEL

PACKAGES = (
    "nfs-common iproute2 kmod procps gcc libc6-dev make git sqlite3 python3 python3-pytest rsync attr strace"
    " ca-certificates"
)
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "womm-test"
BOOT_S = 120.0
"""A boot takes three seconds; a loaded machine may take longer."""
SUBNET = "10.95"


class GuestError(Exception):
    """A guest did not boot, or a script in it failed: the message has its last words."""


def missing() -> str:
    """Say why no guest can be started here; empty if one can."""
    if not sys.platform.startswith("linux"):
        return "user-mode Linux needs Linux"
    if os.getuid() != 0:
        return "user-mode Linux behind a tap device needs root"
    absent = [
        name
        for name in (KERNEL, "cc", "debootstrap", "mkfs.ext4", "ip", "nsenter")
        if shutil.which(name) is None
    ]
    return f"not installed: {', '.join(absent)}" if absent else ""


def image() -> Path:
    """Return the guests' root file system, made by debootstrap unless it is in the cache.

    Takes some minutes the first time. Other runs that want it meanwhile wait. Raises GuestError.
    """
    kernel = subprocess.run([KERNEL, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    key = hashlib.sha256(f"1 {kernel} {PACKAGES} {_AGENT}".encode()).hexdigest()[:12]
    path = CACHE / f"nfs-client-{key}.img"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "nfs-client.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _make_image(path, kernel)
    return path


def _make_image(path: Path, kernel: str) -> None:
    tree = path.with_suffix(".tree")
    partial = path.with_suffix(".partial")
    shutil.rmtree(tree, ignore_errors=True)
    try:
        made = subprocess.run(
            [
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(PACKAGES.split())}",
                "bookworm",
                str(tree),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise GuestError(
                f"debootstrap: exit status {made.returncode}: {made.stdout[-2000:]}{made.stderr[-500:]}"
            )
        for junk in (
            "var/cache/apt",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/locale",
            "usr/share/man",
        ):
            shutil.rmtree(tree / junk, ignore_errors=True)
        shutil.copytree(f"/usr/lib/uml/modules/{kernel}", tree / "lib/modules" / kernel, symlinks=True)
        agent = tree / "sbin/womm-agent"
        agent.write_text(_AGENT)
        agent.chmod(0o755)
        with open(partial, "wb") as file:
            file.truncate(6 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(tree), str(partial)], check=True)
        partial.rename(path)
        for old in CACHE.glob("nfs-client-*.img"):
            if old != path:
                old.unlink(missing_ok=True)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        partial.unlink(missing_ok=True)


# Runs as init of the guest. The host's end of the serial line is raw, and so is this one.
_AGENT = r"""#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=t
export GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=t@example.org
export GIT_CONFIG_KEY_2=safe.directory GIT_CONFIG_VALUE_2='*'
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /host; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp
set -- $(cat /proc/cmdline)
for word; do case $word in womm.*) declare "${word#womm.}";; esac; done
hostname "$name"; mount -t hostfs none /host -o "$share"
echo "$nfsid" > /etc/machine-id
ip link set lo up; ip addr add "$address/24" dev vec0; ip link set vec0 up
modprobe -a nfs nfsv4 2>&1
mkdir -p /mnt /var/lib/nfs/rpc_pipefs; mount -t rpc_pipefs rpc /var/lib/nfs/rpc_pipefs
mkdir -p /sys/fs/nfs/net/nfs_client
[ ! -e /sys/fs/nfs/net/nfs_client/identifier ] || echo "$nfsid" > /sys/fs/nfs/net/nfs_client/identifier
stty -F /dev/ttyS0 raw -echo
exec 8<>/dev/ttyS0
echo up >&8
while read -r -u 8 number; do
    (
        cd /
        setsid bash "/host/$number.sh" >"/host/$number.out" 2>&1 </dev/null 8>&-
        echo "$number $?" >&8
    ) &
done
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a script in a guest left."""

    status: int
    out: str


@dataclass(slots=True)
class Job:
    """A script that runs in a guest."""

    guest: "Guest"
    number: int

    def wait(self, timeout_s: float = 300.0, *, check: bool = True) -> Result:
        """Wait for its end. Raises GuestError after `timeout_s`, or with `check` when its status is not 0."""
        status = self.guest.await_status(self.number, timeout_s)
        out = (self.guest.share / f"{self.number}.out").read_bytes().decode(errors="surrogateescape")
        if check and status != 0:
            raise GuestError(
                f"exit status {status} in {self.guest.name}:\n{out[-4000:]}\n{self.guest.console()}"
            )
        return Result(status, out)


@dataclass(slots=True)
class Network:
    """A network namespace; everything of a test's network is in it, and goes with it."""

    name: str
    folder: Path
    guests: int = 0

    def command(self, *argv: str) -> list[str]:
        """Return `argv` such that it runs inside."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *argv]

    def ip(self, *args: str) -> None:
        subprocess.run(["ip", "-n", self.name, *args], check=True, capture_output=True)


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Make a namespace; remove it at the end. `folder` takes the guests' files."""
    name = f"womm-nfs-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    try:
        found = Network(name, folder)
        found.ip("link", "set", "lo", "up")
        yield found
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@dataclass(slots=True)
class Guest:
    """One user-mode Linux. Use it in `with`; `run` gives it scripts."""

    net: Network
    memory: str = "512M"
    name: str = ""
    share: Path = Path()
    server: str = ""
    """The server's address as seen from this guest."""
    _process: "subprocess.Popen[bytes] | None" = None
    _line: int = -1
    _stack: ExitStack = field(default_factory=ExitStack)
    _next: int = 0
    _statuses: dict[int, int] = field(default_factory=dict)
    _unread: bytes = b""

    def __enter__(self) -> Self:
        disk = image()
        index = self.net.guests
        self.net.guests += 1
        self.name = f"guest{index}"
        folder = self.net.folder / f"{self.name}-{uuid.uuid4().hex[:6]}"
        self.share = folder / "share"
        self.share.mkdir(parents=True)
        self.server, address = f"{SUBNET}.{index}.1", f"{SUBNET}.{index}.2"
        tap = f"tap{index}"
        with ExitStack() as stack:
            self.net.ip("tuntap", "add", tap, "mode", "tap")
            stack.callback(
                subprocess.run, ["ip", "-n", self.net.name, "link", "del", tap], capture_output=True
            )
            self.net.ip("addr", "add", f"{self.server}/24", "dev", tap)
            self.net.ip("link", "set", tap, "up")
            theirs, self._line = _pair()
            stack.callback(os.close, self._line)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            words = [
                *usermode.words(),
                f"mem={self.memory}",
                f"ubd0={folder}/cow,{disk}",
                "root=/dev/ubda",
                "rw",
                "quiet",
            ]
            words += [f"vec0:transport=tap,ifname={tap},depth=128,gro=1", "con=null", "con0=null,fd:1"]
            words += [f"ssl0=fd:{theirs}", "init=/sbin/womm-agent", f"womm.name={self.name}"]
            words += [f"womm.share={self.share}", f"womm.address={address}", f"womm.nfsid={uuid.uuid4().hex}"]
            with open(folder / "console", "wb") as console:
                self._process = subprocess.Popen(
                    self.net.command(*words),
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    pass_fds=[theirs],
                    env={**os.environ, "TMPDIR": "/dev/shm"},
                    start_new_session=True,
                )
            os.close(theirs)
            stack.callback(self.kill)
            self._until(lambda: self._next < 0, BOOT_S, "the guest's start")
            self._next = 0
            self._stack = stack.pop_all()
        self.run("ln -sfn /proc/self/fd /dev/fd", BOOT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, script: str) -> Job:
        """Start a bash script; several may run at a time."""
        self._next += 1
        number = self._next
        (self.share / f"{number}.sh").write_text(f"set -eu -o pipefail\n{script}\n")
        os.write(self._line, f"{number}\n".encode())
        return Job(self, number)

    def run(self, script: str, timeout_s: float = 300.0, *, check: bool = True) -> Result:
        """Run a bash script under `set -eu -o pipefail`. Raises GuestError as `Job.wait` does."""
        return self.start(script).wait(timeout_s, check=check)

    def mount(self, options: str = "", path: str = "/", at: str = "/mnt/a") -> None:
        """Mount the server's `path`; without options as kubelet does it."""
        words = f"-o {options}" if options else ""
        self.run(f"mkdir -p {at}; mount -t nfs {words} {self.server}:{path} {at}", 60)

    def unmount(self, at: str = "/mnt/a") -> None:
        self.run(f"umount {at}", 120)

    def cut(self, cut: bool = True) -> None:
        """Cut the guest's cable, or mend it: without its address the server's side neither hears nor answers.

        Not the link itself: user-mode Linux gives a tap up that was down once.
        """
        tap = f"tap{self.name.removeprefix('guest')}"
        self.net.ip("addr", "del" if cut else "add", f"{self.server}/24", "dev", tap)

    def kill(self) -> None:
        """End it as a power failure does."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def console(self) -> str:
        """Return the last words of its kernel."""
        path = self.share.parent / "console"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def await_status(self, number: int, timeout_s: float) -> int:
        self._until(lambda: number in self._statuses, timeout_s, f"script {number}")
        return self._statuses.pop(number)

    def _until(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self._line], [], [], left_s)[0]:
                out = self.share / f"{self._next}.out"
                words = out.read_text(errors="replace")[-2000:] if out.exists() else ""
                raise GuestError(
                    f"{self.name}: {what} took longer than {timeout_s:g} s\n{words}\n{self.console()}"
                )
            data = os.read(self._line, 4096)
            if not data:
                raise GuestError(f"{self.name} has ended while waiting for {what}:\n{self.console()}")
            self._unread += data
            *lines, self._unread = self._unread.split(b"\n")
            for line in lines:
                self._note(line.decode(errors="replace").split())

    def _note(self, words: Sequence[str]) -> None:
        if words == ["up"]:
            self._next = -1
        elif len(words) == 2 and words[0].isdecimal() and words[1].isdecimal():
            self._statuses[int(words[0])] = int(words[1])


def _pair() -> tuple[int, int]:
    """Return the two ends of a line: the guest's serial port, and ours."""
    import socket

    theirs, ours = socket.socketpair()
    return theirs.detach(), ours.detach()


def as_json(value: object) -> str:
    """For a script: a JSON text inside single quotes."""
    return "'" + json.dumps(value).replace("'", "'\\''") + "'"
