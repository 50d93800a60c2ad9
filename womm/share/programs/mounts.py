"""What this machine has mounted: which file systems are no disks, and which ones may keep a caller waiting.

A root may have /proc mounted in it (a chroot), a folder over FUSE that its owner alone may enter whatever its
modes say, or a share of another machine that does not answer.
"""

import os
import threading
import time
from dataclasses import dataclass
from typing import Final

from womm.here.filesystems import unescaped

MOUNTINFO: Final = "/proc/self/mountinfo"
LOOK_AGAIN_S: Final = 1.0
_PSEUDO: Final = frozenset(
    "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue"
    " nsfs proc pstore rpc_pipefs securityfs selinuxfs sysfs tracefs".split()
)
_REMOTE: Final = frozenset(
    "9p afs autofs beegfs ceph cifs cvmfs gfs2 glusterfs gpfs lustre nfs nfs4 orangefs smb3 smbfs".split()
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo. path: relative to "/"."""

    dev: int
    path: bytes
    hidden: bool
    """Not every user may read what is there, or it is no disk."""
    remote: bool
    """It may not answer for long."""


class Mounts:
    """Answers for devices and paths. Threads may use it; `file` is read again after look_again_s.

    The number of a device that was unmounted is given to another one, so what is known holds for one table.
    """

    def __init__(self, file: str = MOUNTINFO, look_again_s: float = LOOK_AGAIN_S) -> None:
        self._file = file
        self._look_again_s = look_again_s
        self._lock = threading.Lock()
        self._lines = b""
        self._mounts: tuple[Mount, ...] = ()
        self._known: dict[int, bool] = {}
        self._remote: dict[bytes, bool] = {}
        """By the path of a mount; the last one there is on top."""
        self._above: frozenset[bytes] = frozenset()
        self._until_s = 0.0
        self._read()

    def __repr__(self) -> str:
        return f"<Mounts {len(self._mounts)}, {len(self._known)} devices seen>"

    def hides(self, dev: int) -> bool:
        """May pods not see what is on this device (st_dev)?"""
        if time.monotonic() >= self._until_s:
            self._read()
        known = self._known.get(dev)
        return self._look(dev) if known is None else known

    def waits(self, path: bytes) -> bool:
        """Is a path on a file system that may not answer?"""
        at = path
        while (found := self._remote.get(at)) is None and at:
            at = at.rpartition(b"/")[0]
        return bool(found)

    def lists(self, path: bytes) -> bool:
        """Does such a file system have its root in this directory, or the directory on it?"""
        return path in self._above or self.waits(path)

    def _look(self, dev: int) -> bool:
        self._read()
        with self._lock:
            # A device without a line of its own (a subvolume of btrfs) is a disk.
            found = any(mount.hidden for mount in self._mounts if mount.dev == dev)
            self._known[dev] = found
            return found

    def _read(self) -> None:
        with self._lock:
            self._until_s = time.monotonic() + self._look_again_s
            try:
                with open(self._file, "rb") as file:
                    lines = file.read()
            except OSError:  # macOS
                return
            if lines != self._lines:
                self._lines = lines
                self._mounts = tuple(filter(None, map(parse, lines.split(b"\n"))))
                self._remote = {mount.path: mount.remote for mount in self._mounts}
                self._above = frozenset(
                    mount.path.rpartition(b"/")[0] for mount in self._mounts if mount.remote and mount.path
                )
                self._known.clear()


def parse(line: bytes) -> Mount | None:
    """Read a line of mountinfo (proc(5)); None: it is none."""
    words, _, rest = line.partition(b" - ")
    fields, more = words.split(), rest.split()
    if len(fields) < 6 or len(more) < 3:
        return None
    major, _, minor = fields[2].partition(b":")
    if not (major.isdigit() and minor.isdigit()):
        return None
    kind, options = os.fsdecode(more[0]), more[2].split(b",")
    fuse = kind == "fuse" or kind.startswith("fuse.")
    return Mount(
        os.makedev(int(major), int(minor)),
        unescaped(fields[4]).strip(b"/"),
        kind in _PSEUDO or (fuse and b"allow_other" not in options),
        kind in _REMOTE or fuse,
    )
