"""GNU parallel signals no process but its own: womm changes the number of its jobslots while it runs."""

import os
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.plain import PLAIN
from tests.link.wires import PERL
from womm.engine.gnu.start import start_words

pytestmark = pytest.mark.slow

GUARDED = start_words(PERL, Path(PLAIN[-1]))
NEIGHBOURS = 60


@pytest.mark.skipif(os.geteuid() != 0, reason="only root says which number the next process has")
def test_new_count_of_jobslots_spares_who_has_got_the_numbers_of_the_last_one(tmp_path):
    """Plain GNU parallel kills some of them, or whoever else has come first: it is not to be run here."""
    width = tmp_path / "width"
    width.write_text("2\n")
    command = [*GUARDED, "--will-cite", "-j", str(width), f"echo >{tmp_path}/{{}}; sleep 0.2", ":::"]
    with ExitStack() as stack:
        parallel = subprocess.Popen([*command, *map(str, range(30))], stdin=subprocess.DEVNULL)
        stack.callback(parallel.wait)
        while not (tmp_path / "0").exists():
            time.sleep(0.01)
        # It has counted. The numbers of what it counted with come after its own; here is who gets them.
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(parallel.pid))
        others = []
        for _ in range(NEIGHBOURS):
            other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            others.append(other)
            stack.callback(other.wait)
            stack.callback(other.kill)
        width.write_text("3\n")
        os.utime(width, (time.time() + 2,) * 2)
        assert parallel.wait(60) == 0
        assert [other.pid for other in others if other.poll() is not None] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root says which number the next process has")
def test_new_count_of_jobslots_spares_jobs_that_have_got_the_numbers_of_the_last_one(tmp_path):
    """Plain GNU parallel kills them, or takes their end for that of another process and waits for ever."""
    width, log = tmp_path / "width", tmp_path / "log"
    width.write_text("2\n")
    command = [*GUARDED, "--will-cite", "--joblog", str(log), "-j", str(width), "sleep 0.3; echo {}", ":::"]
    parallel = subprocess.Popen(
        [*command, *map(str, range(60))], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    with parallel:
        changed, ends = time.monotonic(), time.monotonic() + 60
        while parallel.poll() is None and time.monotonic() < ends:
            # Its next jobs get the numbers that come after its own, with which it has counted before.
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(parallel.pid))
            if time.monotonic() - changed > 1.1:
                changed = time.monotonic()
                width.write_text("5\n" if width.read_text() == "2\n" else "2\n")
                os.utime(width, (time.time() + changed,) * 2)
            time.sleep(0.02)
        if parallel.poll() is None:
            parallel.kill()
        out, _ = parallel.communicate()
    assert parallel.returncode == 0
    assert sorted(map(int, out.split())) == list(range(60))
    assert {tuple(line.split("\t")[6:8]) for line in log.read_text().splitlines()[1:]} == {("0", "0")}
