"""Signals: which of them end a command, and how children start. No other module decides this.

- A signal that is ignored when womm starts stays ignored (nohup, a shell's background).
- INT, TERM and HUP end a command after it has cleaned up. So do all other signals that would kill it on the
  spot: somebody sends them with kill(1), or a limit does (XCPU). QUIT ends a task as a second Ctrl-C does.
- womm leaves these alone: signals of a fault (SEGV and its like, ABRT), those that stop and continue (TSTP,
  CONT), and those that cannot be caught. Python itself ignores PIPE and XFSZ: the write fails instead.
- womm sets handlers, and never "ignore": exec(2) takes handlers back to the default, so that GNU parallel,
  agents and jobs begin as their user's shell would start them.
"""

import signal
from types import FrameType
from typing import Final, NoReturn

_FAULTS: Final = ("SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS", "SIGEMT")
_HARMLESS: Final = ("SIGCHLD", "SIGCLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGINFO")
_STOPPING: Final = ("SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGKILL")
_PYTHONS: Final = ("SIGPIPE", "SIGXFSZ", "SIGXFZ")
_LEFT: Final = frozenset(
    getattr(signal, name) for name in (*_FAULTS, *_HARMLESS, *_STOPPING, *_PYTHONS) if hasattr(signal, name)
)

ENDS_NOTHING: Final = frozenset(
    getattr(signal, name) for name in (*_HARMLESS, *_STOPPING) if hasattr(signal, name)
) - {signal.SIGKILL}
"""They stop a process, or let it go on, or tell it something."""


def ending(*apart: int) -> list[int]:
    """Return the signals that end a command, without those that are ignored and without `apart`."""
    return [
        int(number)
        for number in signal.valid_signals()
        if number not in _LEFT and number not in apart and not is_ignored(number)
    ]


def is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def end_cleanly() -> None:
    """Turn every signal that ends this process into an exception, so that the process cleans up on the way.

    Ctrl-C is Python's own: it raises KeyboardInterrupt.
    """
    for number in ending(signal.SIGINT):
        signal.signal(number, _exit)


def before_exec() -> None:
    """Reset the signals that Python has set for itself, before another program replaces this process."""
    for name in _PYTHONS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # SIGRTMIN + n
        return f"signal {number}"


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
