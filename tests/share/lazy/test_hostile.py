"""What a hostile pod has made of an eager share's copy: nothing of it that matters comes back.

The same script against a lazy share is in tests/fileserver/test_hostile.py, and both are on a cluster in
tests/cluster/kubernetes/test_hostile.py.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.share.eager.eagers import Rig, in_store
from tests.share.lazy.hostiles import make_target
from womm.share.control import Writable
from womm.share.ignore import Ignore

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("hostile.py")


@pytest.mark.parametrize("write", [(), (b"out",)], ids=["all", "share-write"])
def test_what_a_hostile_pod_made_of_the_copy_is_not_brought_back(tmp_path: Path, write: tuple[bytes]) -> None:
    rig = Rig(tmp_path)
    target = make_target(rig.folder, tmp_path / "outside")
    ignore = Ignore(rig.folder)
    share = rig.share(ignore=ignore, writable=Writable.only(write))
    in_store(share.push)
    ignore.begun()
    words = shlex.split(target.words(str(SCRIPT), str(rig.store), write=bool(write)))
    at = words.index("--outside")
    del words[at : at + 2]  # it runs on this machine, where that is not away
    script = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
    assert script.returncode == 0, script.stderr
    assert "own: " in script.stdout  # in its copy it may
    for name in ("out/escape", "escape", "out/.womm"):
        if not os.path.lexists(rig.store / name):
            os.symlink(target.outside, rig.store / name)
    found = in_store(share.pull)
    ignore.close()
    assert found.own and bool(found.outside) == bool(write)
    target.untouched(write=bool(write))
    assert os.readlink(rig.folder / "out/escape") == str(target.outside)
    assert len(rig.said) <= 2 + len(found.conflicts) + len(found.refused) + 1, rig.said
