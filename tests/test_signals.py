"""Which signals end a command, and how children start."""

import signal

from womm import signals

PASSED = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGQUIT]


def test_signals_that_would_kill_are_all_of_posix_but_faults():
    assert {signal.SIGXCPU, signal.SIGVTALRM, signal.SIGPROF, *PASSED} <= {*signals.ending()}
    assert not {signal.SIGSEGV, signal.SIGABRT, signal.SIGCHLD, signal.SIGTSTP} & {*signals.ending()}
