"""Processes, named so that a signal never reaches another process with the same number.

Strategy: a process is its pid and its start time; a signal goes through a pidfd that is opened
first and compared then, so that the number cannot change hands in between (macOS has no pidfd: a
few microseconds remain). Processes that escaped their session are found by a variable in their
environment, which children inherit. Linux reads /proc; macOS asks ps, and has no environments.
"""

import functools
import os
import resource
import signal as signals
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio.subprocess

_LINUX: Final = sys.platform == "linux"
# A few rounds catch a process that forks as fast as it can. A process in uninterruptible sleep dies when it
# wakes up, and nobody waits for that.
_END_ROUNDS: Final = 50
_END_PAUSE_S: Final = 0.01
_MOST_FILES: Final = 65_536
"""The hard limit may be infinite, and some programs go through all descriptors that they may have."""
_FILES: Final = resource.getrlimit(resource.RLIMIT_NOFILE)
"""How many files this process may have open, (soft, hard), as it was started."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of this machine since its boot; `start` is opaque, unique per pid."""

    pid: int
    start: str


@dataclass(frozen=True, slots=True)
class _Process:
    identity: ProcessIdentity
    state: str
    parent: int
    session: int


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a process, also of a zombie; None where there is none."""
    process = _inspect(pid)
    return None if process is None else process.identity


def is_alive(identity: ProcessIdentity) -> bool:
    """Return whether the process runs or is stopped; not for a zombie or another process with its number."""
    process = _inspect(identity.pid)
    return process is not None and process.identity == identity and process.state not in "ZX"


def kill(identity: ProcessIdentity, signal: int) -> bool:
    """Send a signal to exactly this process; return whether it was there to get it.

    Raises PermissionError for another user's.
    """
    with ExitStack() as stack:
        send = functools.partial(os.kill, identity.pid)
        if sys.platform == "linux":
            # Without pidfds in the kernel or the sandbox there is only the number.
            with suppress(OSError, OverflowError):
                fd = os.pidfd_open(identity.pid)
                stack.callback(os.close, fd)
                send = functools.partial(signals.pidfd_send_signal, fd)
        if not is_alive(identity):
            return False
        try:
            send(signal)
        except ProcessLookupError:
            return False
    return True


def session_members(session_id: int) -> list[ProcessIdentity]:
    """Return the processes of a session, zombies left out."""
    return [
        process.identity
        for process in _processes()
        if process.session == session_id and process.state not in "ZX"
    ]


def marked(name: str, value: str) -> list[ProcessIdentity]:
    """Return our user's processes that began with NAME=VALUE in their environment.

    Always empty where /proc is not (macOS).
    """
    return [process.identity for process in _processes() if _is_marked(process, name, value)]


def end_marked(name: str, value: str, session_ids: Iterable[int] = ()) -> int:
    """Kill the processes that carry the mark or are in one of the sessions; return how many.

    Goes on until there are none, half a second at most. Spares this process and its ancestors.
    """
    sessions = frozenset(session_ids)
    killed: set[ProcessIdentity] = set()
    spared = lineage()
    for round_number in range(_END_ROUNDS):
        if round_number:
            time.sleep(_END_PAUSE_S)
        found = [
            process.identity
            for process in _processes()
            if process.identity.pid not in spared
            and (
                (process.session in sessions and process.state not in "ZX")
                or _is_marked(process, name, value)
            )
        ]
        if not found:
            break
        for identity in found:
            try:
                if kill(identity, signals.SIGKILL):
                    killed.add(identity)
            except PermissionError:  # setuid: no longer ours to end
                continue
    return len(killed)


def lineage() -> frozenset[int]:
    """Return the pids of this process and its ancestors, which `end_marked` spares."""
    # One by one: a list of processes that change is no picture of one moment.
    found = {os.getpid()}
    pid = os.getppid()
    while pid > 0 and pid not in found:
        found.add(pid)
        process = _inspect(pid)
        pid = 0 if process is None else process.parent
    return frozenset(found)


def _is_marked(process: _Process, name: str, value: str) -> bool:
    if process.state in "ZX" or not _LINUX:
        return False
    try:
        with open(f"/proc/{process.identity.pid}/environ", "rb") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return False
            environ = file.read()
    except OSError:  # gone, or another user's
        return False
    return os.fsencode(f"{name}={value}") in environ.split(b"\0")


def _inspect(pid: int) -> _Process | None:
    if _LINUX:
        return _read_stat(pid)
    return next(iter(_ask_ps("-p", str(pid))), None)


def _processes() -> Iterator[_Process]:
    if not _LINUX:
        yield from _ask_ps("-A")
        return
    for name in os.listdir("/proc"):
        if name.isdecimal():
            process = _read_stat(int(name))
            if process is not None:
                yield process


def _read_stat(pid: int) -> _Process | None:
    """Read /proc/PID/stat: proc_pid_stat(5), fields counted from 1."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    # Field 2, the name in parentheses, may hold blanks and parentheses.
    fields = stat.rpartition(b")")[2].split()
    try:
        return _Process(
            ProcessIdentity(pid, fields[19].decode()),  # 22, starttime
            fields[0].decode(),
            int(fields[1]),
            int(fields[3]),
        )
    except (IndexError, ValueError):
        return None


def _ask_ps(*selection: str) -> list[_Process]:
    """Ask POSIX's ps: macOS has no /proc. `lstart` is five words, down to the second."""
    words = ["ps", *selection, "-o", "pid=,ppid=,state=,lstart="]
    # Not a ps of the current folder (womm.programs does this, but this module may not import it).
    path = filter(os.path.isabs, os.environ.get("PATH", os.defpath).split(os.pathsep))
    environ = {**os.environ, "LC_ALL": "C", "PATH": os.pathsep.join(path)}
    result = subprocess.run(words, capture_output=True, text=True, env=environ, check=False)
    found = []
    for line in result.stdout.splitlines():
        pid, parent, state, start = line.split(maxsplit=3)
        try:
            session = os.getsid(int(pid))  # ps of macOS prints an address
        except OSError:  # gone meanwhile
            continue
        identity = ProcessIdentity(int(pid), " ".join(start.split()))
        found.append(_Process(identity, state[0], int(parent), session))
    return found


def send_signal(process: "asyncio.subprocess.Process", number: int) -> None:
    """Signal a child that asyncio waits for. Not `process.send_signal`: that one polls first and may
    take the exit status away from asyncio, which then reports 255."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def raise_file_limit() -> None:
    """Let this process have as many files open as its hard limit allows. The caller gives its children
    `usual_file_limit`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has another bound, below the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def file_limit() -> int:
    """Return how many files this process may have open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_FILES if soft == resource.RLIM_INFINITY else soft


def usual_file_limit(pid: int) -> None:
    """Give a child that was just started, and what it starts, the limit that this process had at first.

    select(2) cannot be used on descriptors from 1,024 on. From outside, since code between fork and exec may
    deadlock in a process with threads; only Linux can do that.
    """
    if sys.platform == "linux":
        with suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _FILES)


def calling_shell() -> str | None:
    """Name of the nearest ancestor that is a shell, as GNU parallel looks for it; None: unknown."""
    pid = os.getppid()
    for _ in range(32):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            return None
        name = os.fsdecode(stat[stat.index(b"(") + 1 : stat.rindex(b")")])
        if name in _SHELLS:
            return name
        pid = int(stat[stat.rindex(b")") + 2 :].split()[1])
        if pid <= 1:
            return None
    return None


_SHELLS = frozenset(
    [
        "ash",
        "bash",
        "csh",
        "dash",
        "fish",
        "ksh",
        "ksh93",
        "mksh",
        "rc",
        "rbash",
        "rzsh",
        "sh",
        "tcsh",
        "yash",
        "zsh",
    ]
)
