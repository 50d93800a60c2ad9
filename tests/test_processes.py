"""What a test run leaves behind is found; what it inherits does not matter."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import left_over

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_process_without_parent_and_environment_is_left_over():
    words = ["sh", "-c", "env -i setsid sleep 60 >/dev/null 2>&1 & echo $!"]
    pid = int(subprocess.run(words, capture_output=True, check=True).stdout)
    try:
        number, _ = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
        assert pid in {process.pid for process in left_over("no such mark", number)}
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGQUIT", "SIGTERM", "SIGUSR1"])
def test_signal_that_a_run_ignores_ends_what_a_test_starts(name):
    """As under nohup, or in the background of a script."""
    child = f"kill -{name[3:]} $$; echo still here"
    script = (
        "import subprocess, sys\n"
        "from tests.processes import usual_signals\n"
        "usual_signals()\n"
        "sys.exit(-subprocess.run(['sh', '-c', sys.argv[1]]).returncode)\n"
    )
    done = subprocess.run(
        ["sh", "-c", f"trap '' {name[3:]}; exec \"$@\"", "sh", sys.executable, "-c", script, child],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (signal.Signals[name], "", "")
