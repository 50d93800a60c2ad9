"""A visit to the testbed: the user's shell, or a command, in the container, on the user's own terminal.

Strategy: docker's `exec` with a terminal of its own in the container; this terminal is raw meanwhile, so that
each key, Ctrl-C too, goes there unchanged, and a changed window is passed on. Without a terminal the bytes of
stdin, stdout and stderr are passed on as they are. One loop of select(2) does all of it: no thread reads keys
that are typed after the end, and a signal ends it at once.

The shell is bash where the image has it, else sh. womm's part of it (shell_files, rc/) saves its environment
after each command, and what was typed: bash gives each command with all its lines; busybox's sh each one that
differs from the one before; dash has no history, so it gives none. A line that begins with a blank is
recorded by none of them but busybox's sh.

A visit goes on from the one before in the same container: variables that were exported there are exported
again, and its commands are returned, too. So after a kill little is lost, and going back in loses nothing.
"""

import os
import select
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from womm import terminal
from womm.errors import FAILURE_STATUS, ImageError
from womm.testbed import shell_files
from womm.testbed.container import SHELL_FOLDER, Testbed
from womm.testbed.shell_files import Typed
from womm.testbed.state import State
from womm.testbed.streams import STDERR, STDOUT, Process
from womm.testbed.variables import exported

_RESIZE_TRIES: Final = 40
_RESIZE_PAUSE_S: Final = 0.05
"""The terminal in the container takes a size once the program runs: a moment after its start."""
_CALM: Final = (
    b"\x1b[?1047l\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?25h\x1b[?1l\x1b>\x1b[0m"
)
"""Other screen, bracketed paste, mouse and keypad modes off, the cursor shown, no colour: as programs leave
it that end by themselves. For those that cannot."""
_HANG_UP: Final = 'read -r pid </dev/womm-shell && { kill -HUP "-$pid" || kill -HUP "$pid"; }'


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visit has left, and those before it in the same container: not to be added to theirs."""

    status: int
    """Of the shell or the command; 128 + n when signal n ended it."""
    commands: tuple[Typed, ...]
    variables: Mapping[str, str]
    """Those that the shell has exported: new or different, and fit to be kept in the image."""
    left_out: Mapping[str, str]
    """Those that are not: why, by name."""


def visit(testbed: Testbed, state: State, *, command: Sequence[str] = (), cwd: Path | None = None) -> Visit:
    """Run a shell, or the command, on this process's terminal or pipes, and return when it has ended.

    command: one word is a line for the shell, as with ssh; several are a command. cwd: a folder in the
    project's; None: that. For the main thread: it takes SIGWINCH. When the container or the engine goes away
    it raises ImageError, and the terminal is as before; `left` returns what is known then. With an engine
    that is reached by TLS, the end of a piped stdin does not reach the command: Python cannot close one
    direction.
    """
    tty = os.isatty(0) and os.isatty(1)
    shell_files.collect(testbed, state)  # of a visit that was killed
    shell_files.lay(testbed, state)
    words = ["sh", "-c", command[0]] if len(command) == 1 else list(command)
    own = ["sh", "-c", shell_files.start_script(), "sh", SHELL_FOLDER, "people" if tty else "pipe", *words]
    env = dict(os.environ) if tty else {}  # a job without a terminal gets no locale, either
    argv = [os.fsdecode(word) for word in terminal.start_words(env, [os.fsencode(word) for word in own])]
    passed = {os.fsdecode(name): os.fsdecode(value) for name, value in terminal.passed(env).items()}
    try:
        with testbed.start(argv, env=passed, cwd=_folder(testbed, cwd), stdin=True, tty=tty) as process:
            status = _attended(testbed, process, tty)
    except (KeyboardInterrupt, SystemExit, _OutputRefused) as exc:
        # Only now that nobody holds its output back: the engine tells of no other end before it has that.
        _hang_up(testbed)
        if not isinstance(exc, _OutputRefused):
            raise
        status = exc.status
    finally:
        shell_files.collect(testbed, state)
    return left(testbed, state, status)


def left(testbed: Testbed, state: State, status: int = 0) -> Visit:
    """Return what the visits in this container have left so far, also those that were killed."""
    if not shell_files.is_of(testbed, state):
        return Visit(status, (), {}, {})
    shell_files.collect(testbed, state)
    found = shell_files.read(state)
    of_shell = exported(found.before, found.variables)
    return Visit(status, found.commands, of_shell.kept, of_shell.left_out)


def _folder(testbed: Testbed, cwd: Path | None) -> str:
    if testbed.folder is not None:
        return str(cwd or testbed.folder)
    return str(testbed.base.config.get("WorkingDir") or "/")


def _attended(testbed: Testbed, process: Process, tty: bool) -> int:
    """Pass everything on until the program ends; return its status. Raises ImageError, _OutputRefused."""
    if tty:
        _with_terminal(process)
    else:
        _Passing(process).run()
    try:
        return testbed.status(process)
    except ImageError:
        if tty:
            _calm()
        raise


def _hang_up(testbed: Testbed) -> None:
    """End the program: it would go on without anybody who sees it."""
    with suppress(ImageError):
        testbed.run(["sh", "-c", _HANG_UP])


def _with_terminal(process: Process) -> None:
    with _window_changes() as changed, terminal.raw():
        try:
            _Passing(process, changed).run()
        except BaseException:
            _calm()
            raise


def _calm() -> None:
    """Take back what a program in the container has told this terminal, and could not take back itself."""
    if os.environ.get("TERM", "dumb") != "dumb":
        with suppress(OSError):
            os.write(1, _CALM + b"\r\n")


@contextmanager
def _window_changes() -> Iterator[int]:
    """Yield a descriptor that can be read when the window has another size."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)

        def tell(number: int, frame: FrameType | None) -> None:
            with suppress(BlockingIOError):  # it is full: it will be read
                os.write(writer, b"x")

        before = signal.signal(signal.SIGWINCH, tell)
        try:
            yield reader
        finally:
            signal.signal(signal.SIGWINCH, before)
    finally:
        os.close(reader)
        os.close(writer)


class _OutputRefused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status
        """That of womm: of a program that cannot write."""


class _Passing:
    """Bytes on their way between this process's descriptors 0, 1 and 2 and the program in the container."""

    def __init__(self, process: Process, changed: int | None = None) -> None:
        """changed: see _window_changes; None: there is no terminal."""
        self._process = process
        self._changed = changed
        self._waiting = memoryview(b"")
        """Input that the program has not taken yet."""
        self._input_open = True
        self._resizes = _RESIZE_TRIES if changed is not None else 0

    def run(self) -> None:
        """Return when the program has closed its output. Raises ImageError, _OutputRefused."""
        while (pieces := self._process.read()) is not None:
            for stream, data in pieces:
                self._write(stream, data)
            if self._resizes:
                self._resize()
            if self._waiting:
                self._waiting = self._waiting[self._process.send(self._waiting) :]
                self._end_input_if_all_is_sent()
            readable = self._wait()
            if self._changed is not None and self._changed in readable:
                os.read(self._changed, 4096)
                self._resizes = _RESIZE_TRIES
            if 0 in readable:
                self._read_input()

    def _wait(self) -> list[Process | int]:
        wanted: list[Process | int] = [self._process]
        if self._changed is not None:
            wanted.append(self._changed)
        if self._input_open and not self._waiting:
            wanted.append(0)
        written = [self._process] if self._waiting else []
        try:
            return select.select(wanted, written, [], _RESIZE_PAUSE_S if self._resizes else None)[0]
        except OSError:
            if 0 not in wanted:
                raise
            self._input_open = False  # started with stdin closed
            self._end_input_if_all_is_sent()
            return []

    def _resize(self) -> None:
        try:
            self._process.resize(*terminal.size())
            self._resizes = 0
        except ImageError:  # it does not run yet, or no more; a real failure shows when it is read
            self._resizes -= 1

    def _read_input(self) -> None:
        try:
            data = os.read(0, terminal.READ_BYTES)
        except BlockingIOError:  # another program has made the terminal or pipe non-blocking
            return
        except OSError:  # a terminal that is gone, or a stdin that cannot be read
            data = b""
        if not data and self._changed is not None:
            raise SystemExit(128 + signal.SIGHUP)
        self._input_open = bool(data)
        self._waiting = memoryview(data)
        self._end_input_if_all_is_sent()

    def _end_input_if_all_is_sent(self) -> None:
        if not self._input_open and not self._waiting:
            self._process.end_input()

    def _write(self, stream: int, data: bytes) -> None:
        descriptor, view = {STDOUT: 1, STDERR: 2}.get(stream, 2), memoryview(data)
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                select.select([], [descriptor], [])
            except BrokenPipeError as exc:
                raise _OutputRefused(128 + signal.SIGPIPE) from exc
            except OSError as exc:
                raise _OutputRefused(FAILURE_STATUS) from exc
