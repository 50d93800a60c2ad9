"""The files of the testbed's shell: those that it reads, and those in which it leaves what womm wants.

Strategy: they lie in the state's `shared` folder, which the container sees as /dev/womm. So they stay when
the container, the daemon or womm is gone, and none of them gets into the image. With an engine on another
machine the same files go in and out by exec, and lie in the container's /dev meanwhile.

| file | who writes it | what is in it |
| --- | --- | --- |
| bashrc, shrc | womm | what our shell does at its start, at each prompt and at its end (rc/) |
| restore | womm | variables of the visit before in the same container |
| history, history.sh | the shell | its history (bash's has times; that of busybox's sh has none) |
| before | rc/start | the environment in which the shell began |
| environ | the shell | its environment after the last command |
| typed | the shell | for each prompt: status, folder, the history's last lines |

Root in the container could replace any of them, so womm follows no link there and reads no device.
"""

import errno
import functools
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from womm import words
from womm.errors import ImageError
from womm.testbed import variables
from womm.testbed.container import SHELL_FOLDER, Testbed
from womm.testbed.state import State

_RC: Final = ("bashrc", "shrc")
_HISTORIES: Final = ("history", "history.sh")
_VISIT: Final = ("before", "environ", "typed")
"""What is about the visits of one container."""
_CONTAINER: Final = "container"
"""The file, out of the container's sight, that names the container of these."""
_MOST_BYTES: Final = 64 << 20
_BASH_LINE: Final = re.compile(r"\s*(\d+)[* ] (.*)", re.DOTALL)
_PLACE: Final = 'umask 077; mkdir -p "$1" && cat >"$1/$2"'


@dataclass(frozen=True, slots=True)
class Typed:
    """A command line of the user's."""

    status: int
    cwd: str
    """The folder in which it was typed."""
    text: str
    """May have several lines."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the visits in one container have left so far."""

    before: Mapping[str, str]
    """The environment in which the last shell began, without what earlier visits had exported."""
    variables: Mapping[str, str]
    """The environment at the end: as os.fsdecode has it."""
    commands: tuple[Typed, ...]


def start_script() -> str:
    """Return the text for `sh -c`: see rc/start."""
    return _resource("start")


def lay(testbed: Testbed, state: State) -> None:
    """Put the files there that the shell reads. Raises ImageError."""
    if not is_of(testbed, state):
        for name in _VISIT:
            _write(state.shared / name, b"")
        _write(state.folder / _CONTAINER, testbed.id.encode())
    for name in _RC:
        _write(state.shared / name, _resource(name).encode())
    found = read(state)
    _write(state.shared / "restore", _restoring(found.before, found.variables))
    for name in _HISTORIES:
        _touch(state.shared / name)
    if not testbed.has_shell_folder:
        for name in (*_RC, "restore", *_HISTORIES, "typed"):
            _run(testbed, ["sh", "-c", _PLACE, "sh", SHELL_FOLDER, name], _read(state.shared / name))


def collect(testbed: Testbed, state: State) -> None:
    """Bring the files that the shell has written to this user. What cannot be had stays out."""
    if not is_of(testbed, state):
        return
    if not testbed.has_shell_folder:
        for name in (*_HISTORIES, *_VISIT):
            with suppress(ImageError):
                done = testbed.run(["cat", f"{SHELL_FOLDER}/{name}"])
                if done.status == 0:
                    _write(state.shared / name, done.out)
    elif os.getuid() and not testbed.daemon.is_rootless:
        owner, paths = (
            f"{os.getuid()}:{os.getgid()}",
            [f"{SHELL_FOLDER}/{name}" for name in (*_HISTORIES, *_VISIT)],
        )
        with suppress(ImageError):
            testbed.run(["chown", "-h", owner, *paths])
    for name in _HISTORIES:
        with suppress(OSError), _opened(state.shared / name, os.O_RDONLY) as descriptor:
            os.fchmod(descriptor, 0o600)


def forget(state: State) -> None:
    """Remove what is about one container, with what may be secret in it. The histories stay."""
    for path in [*(state.shared / name for name in (*_VISIT, "restore")), state.folder / _CONTAINER]:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def read(state: State) -> Found:
    """Return what the visits in the container have left; nothing where there was none."""
    before = _environment(_read(state.shared / "before"))
    after = _environment(_read(state.shared / "environ"))
    return Found(before, after or before, tuple(typed(_read(state.shared / "typed"))))


def is_of(testbed: Testbed, state: State) -> bool:
    """Return whether the files are about visits in this container."""
    return is_about(testbed.id, state)


def is_about(container_id: str, state: State) -> bool:
    """As `is_of`, for a container that is known by its id."""
    return _read(state.folder / _CONTAINER) == container_id.encode()


def typed(record: bytes) -> Iterator[Typed]:
    """Yield the commands of the file `typed`.

    It is a row of: status, folder, what the history ends with; each ends with NUL. A shell begins with
    `start`, folder, `bash` or `sh`, and its first prompt shows the history of visits before.
    """
    fields = [os.fsdecode(field) for field in record.split(b"\0")[:-1]]
    kind, folder = "", ""
    last: list[str] | None = None
    for status, cwd, shown in zip(*[iter(fields)] * 3, strict=False):
        if status == "start":
            kind, folder, last = shown, cwd, None
            continue
        lines = [shown] if kind == "bash" else [line.strip().partition(" ")[2] for line in shown.splitlines()]
        text = "" if last is None else (_of_bash if kind == "bash" else _new_lines)(last, lines)
        if text and status.isdecimal():
            yield Typed(int(status), folder, text)
        folder, last = cwd, lines


def _of_bash(before: list[str], now: list[str]) -> str:
    """Return the last entry of `history 1`, unless its number is that of before."""
    found, earlier = _BASH_LINE.fullmatch(now[0]), _BASH_LINE.fullmatch(before[0])
    if found is None or (earlier is not None and earlier[1] == found[1]):
        return ""
    return found[2].strip()


def _new_lines(before: Sequence[str], now: Sequence[str]) -> str:
    """Return the lines that came to the end of a history of which we see a window."""
    for new in range(len(now) + 1):
        kept = len(now) - new
        if kept <= len(before) and list(now[:kept]) == list(before[len(before) - kept :]):
            return "\n".join(now[kept:]).strip()
    return ""


def _environment(content: bytes) -> dict[str, str]:
    pairs = (os.fsdecode(line).partition("=") for line in content.split(b"\0") if line)
    return {name: value for name, _, value in pairs}


def _restoring(before: Mapping[str, str], after: Mapping[str, str]) -> bytes:
    """Return the shell commands that bring variables of the visit before back."""
    changed = [name for name in variables.changed(before, after) if variables.can_be_named(name)]
    lines = [f"export {name}={shlex.quote(after[name])}" for name in changed if name in after]
    lines += [f"unset {name}" for name in changed if name not in after]
    return os.fsencode("".join(f"{line}\n" for line in lines))


def _run(testbed: Testbed, argv: Sequence[str], stdin: bytes) -> None:
    done = testbed.run(argv, stdin=stdin)
    if done.status:
        why = done.err.decode(errors="replace").strip() or f"status {done.status}"
        raise ImageError(f"the testbed takes no files in {SHELL_FOLDER}: {why}", "docker info")


@functools.cache
def _resource(name: str) -> str:
    return resources.files("womm.testbed").joinpath("rc", name).read_text(encoding="utf-8")


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a plain file; follow no link, and wait for no pipe. Raises OSError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    """Return the content; empty where there is none that this user may read."""
    try:
        with _opened(path, os.O_RDONLY) as descriptor, open(descriptor, "rb", closefd=False) as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return b""


def _write(path: Path, content: bytes) -> None:
    """Replace a file by a new one of this user's alone. Raises ImageError."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        beside.unlink(missing_ok=True)
        try:
            with open(
                os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
            ) as file:
                file.write(content)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as exc:
        raise ImageError(
            f"cannot write {path}: {words.cause(exc)}", f"ls -ld {path.parent}; df {path.parent}"
        ) from exc


def _touch(path: Path) -> None:
    """Make an empty file of this user's alone, where there is no plain file. Raises ImageError."""
    with suppress(OSError), _opened(path, os.O_RDONLY):
        return
    _write(path, b"")
