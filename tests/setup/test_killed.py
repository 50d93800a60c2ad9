"""`womm setup` killed with -9 at any instant: the next one finds what is there; nothing stays after it."""

import os
import random
import signal
import time

import pytest

from tests.setup.projects import NOTHING, Project
from tests.soak import count

pytestmark = pytest.mark.slow

KILLS = count(3, 50)
BLOB = 5_000_000
WORK = f"head -c {BLOB} /dev/urandom >/blob; sleep 0.3; echo {{}} >/number"


@pytest.mark.timeout(120 + 30 * KILLS)
def test_killed_at_any_instant_leaves_nothing_after_the_next_setup(project: Project) -> None:
    assert project.setup().status == 0  # the base is pushed
    project.proxy.bytes_s = 2 * BLOB
    begun = time.monotonic()
    result = project.setup("--run", WORK.format("first"))
    whole_s = time.monotonic() - begun
    assert result.status == 0, result.err
    seed = random.randrange(1 << 30)
    print(f"seed {seed}, {whole_s:.2f} s")
    chosen = random.Random(seed)
    for number in range(KILLS):
        after_s = chosen.uniform(0.2, whole_s)
        process = project.start("--run", WORK.format(number))
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert project.lacking_in_registry() == [], (number, after_s)
        again = project.setup("--run", f"echo {number} >/number")
        assert again.status == 0, (number, after_s, again.err)
        assert project.left() == NOTHING, (number, after_s, again.err)
        assert project.lacking_in_registry() == []
        assert project.record == type(project.record)()
        assert project.run_in_image("cat /number") == b"%d\n" % number
