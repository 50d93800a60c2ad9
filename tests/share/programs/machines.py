"""A small machine below a folder, with programs, and what must not leave it."""

import os
from pathlib import Path

from womm.here.programs import Programs, Root
from womm.share.fence import Fence
from womm.share.programs.mounts import Mounts
from womm.share.programs.view import ProgramsFolder

TOKEN = "token = ghp_" + "abcDEF0123456789" * 2 + "abcd\n"
SECRET = "what nobody may see\n"
PROGRAMS = Programs(
    (Root("/usr", "system", "why"), Root("/home/u/conda", "conda", "why", private=True)),
    (("/bin", "/usr/bin"),),
    ("passwd", "ssl"),
)
FILES = {
    "usr/bin/tool": "#!/bin/sh\n",
    "usr/bin/su": "set-uid\n",
    "usr/lib/lib.so.1.2": "library\n",
    "usr/lib/private/key": SECRET,
    "usr/lib/mine": SECRET,
    "usr/local/etc/tool.conf": TOKEN,
    "usr/share/keys.p12": SECRET,
    "home/u/conda/bin/python": "python\n",
    "home/u/.ssh/id_ed25519": SECRET,
    "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "etc/shadow": SECRET,
    "etc/hosts": SECRET,
    "etc/ssl/certs/ca.pem": "certificate\n",
    "etc/ssl/private/ca.pem": SECRET,
    "outside": SECRET,
}
MODES = {
    "usr/bin/tool": 0o755,
    "usr/bin/su": 0o4755,
    "usr/lib/private": 0o750,
    "usr/lib/mine": 0o640,
    "home/u": 0o700,
}
LINKS = {
    "bin": "usr/bin",
    "usr/lib/lib.so.1": "lib.so.1.2",
    "usr/lib/broken": "nowhere",
    "usr/lib/out": "../../outside",
    "usr/lib/away": "../../home/u/.ssh",
    "etc/resolv.conf": "../run/resolv.conf",
}


def make_machine(top: Path) -> Path:
    """Make it; return its root."""
    for name, text in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    for name, target in LINKS.items():
        (top / name).symlink_to(target)
    os.mkfifo(top / "usr/lib/fifo")
    for path in top.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    for name, mode in MODES.items():
        (top / name).chmod(mode)
    return top


def view(top, said=None, programs=PROGRAMS):
    """Return what pods see of a machine. top: its root, or the fence around it."""
    fence = top if isinstance(top, Fence) else Fence(top)
    return ProgramsFolder(fence, programs, Mounts(), (said if said is not None else []).append)
