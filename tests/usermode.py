"""User-mode Linux, on whatever processor: how to start it."""

import hashlib
import subprocess
from pathlib import Path

from tests.realcluster.cache import cached

KERNEL = "linux.uml"
_SOURCE = Path(__file__).with_name("usermode.c")


def words() -> list[str]:
    """Return the first words of its command line. Builds what has to be preloaded (usermode.c), once."""
    version = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    return ["env", f"LD_PRELOAD={cached(f'usermode-{version}.so', _build)}", KERNEL]


def _build(path: Path) -> None:
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", path, _SOURCE, "-ldl"], check=True)
