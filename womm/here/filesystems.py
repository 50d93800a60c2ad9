"""Which file system a path is on, told without touching it: a server that is gone would hold whoever asks.

The table of mounts says what statfs(2) would, and it answers at once.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

NETWORK: Final = frozenset(
    "9p afs autofs beegfs ceph cifs fuse.ceph fuse.glusterfs fuse.s3fs fuse.sshfs glusterfs gpfs lustre nfs"
    " nfs4 orangefs panfs pvfs2 smb3 smbfs virtiofs wekafs".split()
)
FOREIGN: Final = frozenset("drvfs exfat fuseblk hfsplus msdos ntfs ntfs3 vfat".split())
"""Those of other systems, which know no owner and no mode: all of a file's rights are made up."""
_WINDOWS: Final = "/mnt/"
PATIENCE_S: Final = 3.0
"""How long a network's file server may take for an answer. A healthy one takes milliseconds."""
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
_MOST_LINKS: Final = 40
"""As Linux counts them (path_resolution(7))."""


class FileSystems:
    """The table of mounts. mounts: where one is mounted, and its type, as mount(8) prints them."""

    def __init__(self, mounts: list[tuple[str, str]], patience_s: float = PATIENCE_S) -> None:
        self._kinds = dict(mounts)
        self._patience_s = patience_s
        self._answers: dict[str, bool] = {}

    def kind(self, path: str) -> str:
        """Return the type of the file system that an absolute path is on; empty: the table does not say."""
        return self._kinds.get(self._mount(path), "")

    def _mount(self, path: str) -> str:
        at = os.path.normpath(path)
        while at not in self._kinds and at != "/":
            at = os.path.dirname(at)
        return at

    def answers(self, path: str, look: Callable[[str], object] = os.statvfs) -> bool:
        """Return whether it is this system's, and its server answers, if it has one: asked once a mount."""
        if self.is_foreign(path):
            return False
        if not self.is_network(path):
            return True
        mount = self._mount(path)
        if mount not in self._answers:
            self._answers[mount] = in_time(lambda: _succeeds(look, mount), False, self._patience_s)
        return self._answers[mount]

    def steps(self, path: str) -> Iterator[tuple[str, str]]:
        """Follow an absolute path as the kernel does; yield where it has come to, and the link that is next.

        Without a link the path is at its end. It ends before that at a file system that does not answer,
        which nothing touches then, and after too many links.
        """
        at = os.path.normpath(path)
        for _ in range(_MOST_LINKS):
            if not self.answers(at):
                return
            link = _first_link(at)
            yield at, link
            if not link:
                return
            try:
                target = os.path.join(os.path.dirname(link), os.readlink(link))
            except OSError:
                return
            at = os.path.normpath(target + at[len(link) :])

    def leads(self, path: str) -> bool:
        """Return whether all file systems on the way along a path answer, so that it may be touched."""
        taken = list(self.steps(path))
        return len(taken) == _MOST_LINKS or (bool(taken) and not taken[-1][1])

    def is_network(self, path: str) -> bool:
        return self.kind(path) in NETWORK and not self.is_foreign(path)

    def is_foreign(self, path: str) -> bool:
        """Return whether it is another system's: a Windows disk in WSL (9p below /mnt), a stick."""
        kind = self.kind(path)
        return kind in FOREIGN or (kind == "9p" and path.startswith(_WINDOWS))


def mounted() -> FileSystems:
    """Return the table of this machine; empty where the system does not say (macOS)."""
    try:
        lines = Path("/proc/self/mounts").read_bytes().splitlines()
    except OSError:
        lines = []
    rows = [line.split(b" ") for line in lines if line.count(b" ") >= 2]
    return FileSystems([(os.fsdecode(unescaped(row[1])), os.fsdecode(row[2])) for row in rows])


def _first_link(path: str) -> str:
    """Return the first symbolic link of a path; empty: it has none."""
    at = ""
    for part in path.split("/")[1:]:
        at = f"{at}/{part}"
        if os.path.islink(at):
            return at
    return ""


def unescaped(path: bytes) -> bytes:
    """Return a path as it was before a table of mounts had it (proc(5): octal escapes)."""
    return _ESCAPED.sub(lambda found: bytes((int(found[1], 8),)), path)


def _succeeds(look: Callable[[str], object], path: str) -> bool:
    try:
        look(path)
    except OSError:
        return False
    return True


def in_time(ask: Callable[[], T], otherwise: T, patience_s: float = PATIENCE_S) -> T:
    """Return what `ask` returns, or `otherwise` when it takes too long: then it goes on in its thread."""
    answers: list[T] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), name="womm-here-look", daemon=True)
    thread.start()
    thread.join(patience_s)
    return answers[0] if answers else otherwise
