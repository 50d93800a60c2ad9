"""The Debian file systems of the test cluster, made by debootstrap and kept in the cache.

The workers' is what the images of most users begin with: the essential packages, perl-base among them. The
file server's has a python beside them. The nodes' is the disk of a user-mode Linux that is a node:
containerd, the NFS client, and the modules of that kernel.
"""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.realcluster.cache import cached, scratch

_SUITE = "bookworm"
# What a file system of tests never needs; half of its size.
_JUNK = "var/cache/apt var/lib/apt/lists var/log usr/share/doc usr/share/locale usr/share/man".split()
_NODE_PACKAGES = (
    "containerd,runc,containernetworking-plugins,iptables,nfs-common,iproute2,kmod,procps,conntrack,socat,"
    "ethtool,ca-certificates"
)
_NODE_DISK_BYTES = 6 << 30
UML_MODULES = Path("/usr/lib/uml/modules")

_INIT = """#!/bin/sh
# Started by the kernel; all else about this node is in the one folder of the host that it may see.
mount -t hostfs none /etc/womm
exec /etc/womm/init
"""


def worker_layer() -> Path:
    """Return the workers' file system as a compressed tar archive."""
    return _layer("worker")


def python_layer() -> Path:
    """Return what the file server's image begins with, as a compressed tar archive."""
    return _layer("python", "--include=python3")


def tools_layer() -> Path:
    """Return a file system with what benchmarks run in pods, as a compressed tar archive."""
    return _layer("tools-nfs", "--include=python3,git,libnfs-utils")


def compiler_layer() -> Path:
    """Return a file system that builds and tests projects of users, as a compressed tar archive."""
    return _layer("compiler", "--include=python3,git,gcc,libc6-dev")


def _layer(name: str, *options: str) -> Path:
    def make(partial: Path) -> None:
        with scratch(name) as tree:
            _debootstrap(tree, *options)
            # Devices and the system's folders are the container runtime's business.
            for folder in ("dev", "proc", "sys"):
                shutil.rmtree(tree / folder, ignore_errors=True)
                (tree / folder).mkdir()
            with tarfile.open(partial, "w:gz", compresslevel=4) as archive:
                archive.add(tree, arcname=".")

    return cached(f"{name}-{_SUITE}-1.tar.gz", make)


def node_disk() -> Path:
    """Return the nodes' disk: an ext4 image that no node writes to: UML keeps what differs elsewhere."""
    version = max(os.listdir(UML_MODULES))

    def make(partial: Path) -> None:
        with scratch("node") as tree:
            _debootstrap(tree, f"--include={_NODE_PACKAGES}")
            shutil.copytree(UML_MODULES, tree / "lib/modules", dirs_exist_ok=True, symlinks=True)
            (tree / "etc/womm").mkdir()
            init = tree / "sbin/womm-init"
            init.write_text(_INIT)
            init.chmod(0o755)
            with open(partial, "wb") as file:
                file.truncate(_NODE_DISK_BYTES)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(tree), str(partial)], check=True)

    return cached(f"node-{_SUITE}-{version}-2.img", make)


def _debootstrap(tree: Path, *options: str) -> None:
    command = ["debootstrap", "--variant=minbase", *options, _SUITE, str(tree)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"debootstrap failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    for junk in _JUNK:
        shutil.rmtree(tree / junk, ignore_errors=True)
    (tree / "var/log").mkdir()
