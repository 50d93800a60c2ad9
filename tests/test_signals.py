"""Which signals end a command, and how children start."""

import signal
import subprocess
import sys

import pytest

from womm import signals

PASSED = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGQUIT]


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)


def test_signals_that_would_kill_are_all_of_posix_but_faults():
    assert {signal.SIGXCPU, signal.SIGVTALRM, signal.SIGPROF, *PASSED} <= {*signals.ending()}
    assert not {signal.SIGSEGV, signal.SIGABRT, signal.SIGCHLD, signal.SIGTSTP} & {*signals.ending()}


def test_ending_leaves_out_what_is_ignored_and_what_is_asked_to_stay():
    code = """
import signal
from womm import signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
print(signal.SIGHUP in signals.ending(), signals.is_ignored(signal.SIGHUP))
print(signal.SIGTERM in signals.ending(signal.SIGTERM, signal.SIGUSR1), signal.SIGALRM in signals.ending())
"""
    assert python(code).stdout == b"False True\nFalse True\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGRTMIN + 3])
def test_end_cleanly_makes_an_exception_of_a_signal(number):
    code = f"""
import os
from womm import signals
signals.end_cleanly()
try:
    os.kill(os.getpid(), {int(number)})
finally:
    print("cleaned", flush=True)
"""
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"cleaned\n", b"")


def test_end_cleanly_leaves_ctrl_c_to_python_and_ignored_signals_ignored():
    code = """
import os, signal
from womm import signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signals.end_cleanly()
os.kill(os.getpid(), signal.SIGHUP)
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert python(code).stdout == b"interrupted\n"


def test_before_exec_gives_a_program_the_signals_of_a_shells_child():
    code = """
import os
from womm import signals
signals.end_cleanly()
signals.before_exec()
os.execvp("grep", ["grep", "SigIgn", "/proc/self/status"])
"""
    plain = subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True, check=True)
    assert python(code).stdout == plain.stdout


def test_names_of_signals_also_of_those_without_one():
    assert signals.name(signal.SIGTERM) == "SIGTERM"
    assert signals.name(signal.SIGRTMIN) == "SIGRTMIN"
    assert signals.name(signal.SIGRTMIN + 1) == f"signal {signal.SIGRTMIN + 1}"
