"""Calls in threads that nobody waits for."""

import subprocess
import sys
import threading

import pytest

from womm.share.lazy.daemon_pool import DaemonPool

HUNG = """
import time
from womm.share.lazy.daemon_pool import DaemonPool
pool = DaemonPool(1, "x")
pool.submit(time.sleep, 3600)
pool.shutdown()
print(pool.rest(0.01))
"""


def test_calls_have_results_and_errors_and_wait_for_a_thread():
    pool = DaemonPool(2, "test")
    gate = threading.Event()
    held = [pool.submit(gate.wait, 30) for _ in range(2)]
    after = pool.submit(divmod, 7, 2)
    error = pool.submit(divmod, 7, 0)
    assert not after.done() and "2 threads, 4 calls" in repr(pool)
    gate.set()
    assert after.result(10) == (3, 1) and all(one.result(10) for one in held)
    with pytest.raises(ZeroDivisionError):
        error.result(10)
    assert pool.rest(10)
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(print)


def test_after_the_end_nothing_begins_and_no_result_is_given():
    pool = DaemonPool(1, "test")
    gate = threading.Event()
    running, queued = pool.submit(gate.wait, 30), pool.submit(gate.wait, 30)
    pool.shutdown()
    gate.set()
    assert pool.rest(10) and not running.done() and not queued.done()


def test_an_interpreter_with_a_hung_call_ends():
    done = subprocess.run([sys.executable, "-c", HUNG], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"False\n"
