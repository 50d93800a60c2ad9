"""POSIX's errors and effects (tests/nfs/posix.py) through a real kernel's client on a folder behind SSH."""

import shutil

import pytest

from tests.nfs.test_posix import SCRIPT

pytestmark = pytest.mark.slow


def test_table_holds_through_a_kernel_on_a_lazy_share(guest, share):
    lazy = share()
    lazy.mount(guest)
    shutil.copy(SCRIPT, guest.share / "posix.py")
    found = guest.run("python3 /host/posix.py /mnt/a --lazy; umount /mnt/a", 300, check=False)
    assert (found.status, found.out) == (0, "")
    assert lazy.user.ask("flush")["ok"]
    # Here it is as it was seen there.
    effects = lazy.top / "effects"
    assert (effects / "log").read_bytes().count(b"\n") == 20
    assert (effects / "g/x").stat().st_mode & 0o7777 == 0o2755
    assert len(list((effects / "many").iterdir())) == 700
