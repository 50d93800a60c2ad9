"""POSIX's errors and effects (posix.py) on a local disk, and through a real kernel on the local backend."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nfs import posix
from tests.nfs.process import ServerProcess
from tests.nfs.test_kernel import mounted
from tests.nfs.uml import Guest
from tests.soak import count

SCRIPT = Path(posix.__file__)


def test_table_holds_on_a_local_disk(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["4.2", "4.1", "4.0"][: count(1, 3)])
def test_table_holds_through_a_kernel_on_the_local_backend(
    guest: Guest, serve: Callable[..., ServerProcess], version: str
) -> None:
    server = serve()
    shutil.copy(SCRIPT, guest.share / "posix.py")
    with mounted(guest, server, f"vers={version}"):
        found = guest.run("python3 /host/posix.py /mnt/a", 300, check=False)
    assert (found.status, found.out) == (0, "")
