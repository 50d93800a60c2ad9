"""The user's side of a conversation with a store, which may be hostile."""

import time
from pathlib import Path

import pytest

from tests.share.eager.eagers import Rig, contents
from womm.errors import ShareError
from womm.share.eager.conversation import check_clock


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.mark.parametrize(
    "skew_s,refused", [(0, False), (1.9, False), (-1.9, False), (2.1, True), (-3600, True)]
)
def test_clock_more_than_two_seconds_off_is_refused(skew_s: float, refused: bool) -> None:
    now = 1_800_000_000_000_000_000
    theirs = now + round(skew_s * 1e9)
    if refused:
        with pytest.raises(ShareError, match=r"clock is \d+\.\d s (behind|ahead of)"):
            check_clock(theirs, now - 1000, now + 1000)
    else:
        check_clock(theirs, now - 1000, now + 1000)


def test_push_with_syncback_refuses_a_store_whose_clock_is_off(rig: Rig) -> None:
    (rig.folder / "f").write_text("f")
    with pytest.raises(ShareError, match=r"the cluster's clock is 3600\.\d s ahead of"):
        rig.push(clock_ns=lambda: time.time_ns() - 3600 * 10**9)
    assert contents(rig.store) == {}
    rig.push(syncback=False, clock_ns=lambda: 0)
