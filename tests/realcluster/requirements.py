"""What a machine must have to run a cluster."""

import os
import shutil
import sys
from pathlib import Path

from tests.realcluster.cache import CACHE

_PROGRAMS = (
    "containerd ctr runc ip nft openssl socat docker-registry busybox conntrack ethtool debootstrap"
    " nsenter unshare"
)
_NFS_PROGRAMS = "linux.uml cc mkfs.ext4"
_CNI = Path("/usr/lib/cni/bridge")


def lacking(
    platform: str = sys.platform, user: int = os.geteuid(), kube: Path = CACHE / "kube"
) -> str | None:
    """Say in one line what keeps this machine from running a cluster; None when nothing does."""
    own = "a Kubernetes of the tests' own"
    if not platform.startswith("linux"):
        return f"{own} needs Linux (or set WOMM_TEST_KUBECONFIG to use yours)"
    if user != 0:
        return f"{own} needs root (or set WOMM_TEST_KUBECONFIG to use yours)"
    missing = _missing(_PROGRAMS)
    if not _CNI.exists():
        missing.append(str(_CNI))
    if missing:
        return f"{own} needs {', '.join(missing)}: scripts/install gets them on Debian"
    if not kube.exists():
        return f"{own} has not been built: run scripts/kube (about 11 minutes, once)"
    return None


def lacking_for_nfs() -> str | None:
    """Say in one line what keeps this machine from running nodes with a kernel of their own."""
    missing = _missing(_NFS_PROGRAMS)
    return (
        f"NFS nodes need {', '.join(missing)}: scripts/install gets them on Debian for x86"
        if missing
        else None
    )


def _missing(programs: str) -> list[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return [name for name in programs.split() if not shutil.which(name, path=path)]
