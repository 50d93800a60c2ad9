"""What signals do to womm. Here alone: which of them end a command, and how children start.

- A signal that is ignored when womm starts stays ignored (nohup, a shell's background).
- INT, TERM and HUP end a command after it has cleaned up, and so do all others that would kill it on the
  spot: somebody sends them with kill(1), or a limit does (XCPU). QUIT ends a task as a second Ctrl-C does.
- Left as they are: what tells of a fault (SEGV and its like, ABRT), stops and continues (TSTP, CONT), or
  cannot be caught. PIPE and XFSZ are ignored by Python itself: the write that meets them fails.
- Handlers are set, never "ignore": exec(2) takes handlers back to the default, so that GNU parallel,
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


def ending(*apart: int) -> list[int]:
    """Return the signals that are to end a command, without those that are ignored and without `apart`."""
    return [
        int(number)
        for number in signal.valid_signals()
        if number not in _LEFT and number not in apart and not is_ignored(number)
    ]


def is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def end_cleanly() -> None:
    """Have every signal that ends this process end it by an exception, so that it cleans up on the way.

    Ctrl-C is Python's own: it raises KeyboardInterrupt.
    """
    for number in ending(signal.SIGINT):
        signal.signal(number, _exit)


def before_exec() -> None:
    """Take back what Python has set for itself before another program takes the place of this process."""
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
