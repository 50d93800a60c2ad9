"""The files that a project file names, and the files that those name: an acceptance covers all of them.

A kubeconfig can name a program to run (a credential plugin) with arguments and an environment; a shell can
be a script with an interpreter. So whoever can change one of these files decides what runs on this machine.

Strategy: this module looks at every word that may be a path. One word too many does no harm: womm notices the
change of one more file. It does not know the files that a program reads while it runs. Each file becomes one
line of a fingerprint (see the reference, "Trust"):

- a program at a place of the system by its path alone, so that an update of the system asks nothing;
- tokens, keys and certificates by their path, too, since they are renewed, unless they lie in the project;
- everything else by its content.
"""

import hashlib
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from womm import programs
from womm.errors import TrustError

SYSTEM: Final = "a program of the system"
MISSING: Final = "not there"
BY_PATH: Final = "by its path"
_SYSTEM_PLACES: Final = tuple(
    f"{top}/" for top in "/bin /lib /lib32 /lib64 /nix /opt /sbin /snap /usr /System".split()
)
_MOST_BYTES: Final = 512 << 20
"""The largest file that is read: programs of kubeconfigs are smaller, and each command of womm reads them."""
_MOST_LINKS: Final = 40
"""As Linux counts them (path_resolution(7))."""
_MOST_INTERPRETERS: Final = 4
"""Linux follows five (execve(2), "Interpreter scripts")."""
_SHEBANG_BYTES: Final = 4096
_CREDENTIALS: Final = frozenset(
    ["certificate-authority", "client-certificate", "client-key", "tokenFile", "idp-certificate-authority"]
)
_SEPARATORS: Final = re.compile(r"[\s;|&<>()'\"`$=:,]+")


class Kind(Enum):
    """What the value of a key names."""

    KUBECONFIG = "kubeconfig"
    """Files joined by colons."""
    FILE = "file"
    PROGRAM = "program"
    """By its path, or by a name in PATH."""


@dataclass(frozen=True, slots=True)
class Named:
    """One file. path: absolute. by: the key or the file that names it. found: its part of the fingerprint.

    told: lines for people about the programs that it starts.
    """

    path: str
    by: str
    found: str
    told: tuple[str, ...] = ()


class Files:
    """Reads each file once, so that a fingerprint and a seal are of the same bytes."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, bytes]] = {}

    def read(self, path: str, by: str) -> tuple[str, bytes]:
        """Return the hash of a file, and its content; MISSING and nothing without one. Raises TrustError."""
        if path not in self._known:
            content = _content(path, by)
            found = MISSING if content is None else hashlib.sha256(content).hexdigest()
            self._known[path] = found, content or b""
        return self._known[path]


def named_by(
    project: Path,
    values: Iterable[tuple[Kind, str, str]],
    writable: Sequence[Path],
    written_in: Callable[[Path], Sequence[Path]] = lambda folder: (),
    files: Files | None = None,
) -> list[Named]:
    """Return the files that the values name, and the files that those name, sorted by path.

    values: kind, key and value; paths are absolute. writable: folders that pods can write; written_in:
    returns such folders of another project, in which a file may lie. Raises TrustError for a file in such a
    folder, and for a file that has no fingerprint.
    """
    collector = _Collector(files or Files(), project, writable, written_in)
    for kind, key, value in values:
        if kind is Kind.KUBECONFIG:
            collector.kubeconfigs([path for path in value.split(os.pathsep) if path], key)
        elif kind is Kind.PROGRAM:
            collector.program(value, str(project), key)
        else:
            collector.file(value, key)
    return sorted(collector.found.values(), key=lambda named: named.path)


def seal(kubeconfig: str, files: Files | None = None) -> str:
    """Return the hash of a kubeconfig, or of several joined by colons, and of the programs that it names.

    Raises TrustError.
    """
    collector = _Collector(files or Files(), None, (), lambda folder: ())
    collector.kubeconfigs([path for path in kubeconfig.split(os.pathsep) if path], "kubeconfig")
    lines = sorted(f"{named.path}\0{named.found}\0" for named in collector.found.values())
    return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()


class _Collector:
    """Finds the files. `found`: by path. project: None, no file counts as one of it."""

    def __init__(
        self,
        files: Files,
        project: Path | None,
        writable: Sequence[Path],
        written_in: Callable[[Path], Sequence[Path]],
    ) -> None:
        self._files = files
        self.found: dict[str, Named] = {}
        self._project = None if project is None else _Folder(project)
        self._writable = [_Folder(folder) for folder in writable]
        self._written_in = written_in
        self._others: dict[str, list[_Folder]] = {}

    def file(self, path: str, by: str) -> bytes:
        """Take in a file by its content, and return that; empty: it is not there."""
        self._refuse_writable(path, by)
        found, content = self._files.read(path, by)
        self._add(path, by, found)
        return content

    def kubeconfigs(self, paths: Sequence[str], by: str) -> None:
        contents = [self.file(path, by) for path in paths]
        # The official client takes a user's keys from the folder of its cluster's file.
        folders = list(dict.fromkeys(map(os.path.dirname, paths)))
        for path, content in zip(paths, contents, strict=True):
            for key, value in _entries(_yaml(content)):
                for folder in folders:
                    self._entry(key, value, folder, path)

    def program(self, name: str, folder: str, by: str, depth: int = 0) -> None:
        """Take in a program, and the interpreter of a script."""
        path = os.path.join(folder, name) if os.sep in name else programs.which(name)
        if path is None:
            self._add(name, by, MISSING)
            return
        path = os.path.normpath(path)
        self._refuse_writable(path, by)
        if self._is_of_system(path):
            self._add(path, by, SYSTEM)
            return
        first, _, _ = self.file(path, by)[:_SHEBANG_BYTES].partition(b"\n")
        if first.startswith(b"#!") and depth < _MOST_INTERPRETERS:
            self._interpreter(first[2:].decode(errors="surrogateescape").split(), path, depth + 1)

    def _interpreter(self, words: Sequence[str], script: str, depth: int) -> None:
        """Take in the interpreter that a script's first line names (execve(2), "Interpreter scripts")."""
        if not words:
            return
        if not os.path.isabs(words[0]):
            raise TrustError(f"{script}: its interpreter {words[0]} is another one in each folder")
        self.program(words[0], "/", script, depth)
        if os.path.basename(words[0]) == "env":
            named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            for name in named[:1]:
                self.program(name, os.path.dirname(script), script, depth)
        self._words(words[1:], os.path.dirname(script), script)

    def _entry(self, key: str, value: Any, folder: str, by: str) -> None:
        """One key of a kubeconfig, wherever it stands in it."""
        if key in _CREDENTIALS and isinstance(value, str) and value:
            self._credential(os.path.normpath(os.path.join(folder, value)), by)
        elif key == "exec" and isinstance(value, dict):
            self._plugin(value, folder, by)
        elif key == "auth-provider" and isinstance(value, dict) and isinstance(value.get("config"), dict):
            config = value["config"]
            given = {"command": config.get("cmd-path"), "args": split(str(config.get("cmd-args") or ""))}
            self._plugin(given, folder, by)

    def _plugin(self, given: dict[Any, Any], folder: str, by: str) -> None:
        """A credential plugin: the program, and each word of its arguments and environment that is a file."""
        command = str(given.get("command") or "")
        args = [str(word) for word in given.get("args") or ()]
        env = [item for item in given.get("env") or () if isinstance(item, dict)]
        settings = [f"{item.get('name')}={item.get('value')}" for item in env]
        self._tell(by, "runs " + shlex.join([*settings, command, *args]))
        if command:
            self.program(command, folder, by)
        for flag, word in pairwise(args):
            if flag == "-m":  # python's: a module of the folder that it runs in
                self._words([f"./{word.replace('.', '/')}.py", f"./{word.replace('.', '/')}"], folder, by)
        self._words([*args, *settings], folder, by)

    def _words(self, texts: Iterable[str], folder: str, by: str) -> None:
        """Take in each word of the texts that is the path of a file, absolute or from `folder`."""
        words = dict.fromkeys(
            word for text in texts for word in (text, *split(text), *_SEPARATORS.split(text)) if word
        )
        for word in words:
            path = os.path.normpath(os.path.join(folder, os.path.expanduser(word)))
            if "\0" in path or (os.sep not in word and not os.path.isfile(path)):
                continue
            self._refuse_writable(path, by)
            if os.path.isfile(path) and (path not in self.found or self.found[path].found == BY_PATH):
                self.program(path, folder, by)
            elif os.path.isdir(path) and self._is_of_project(steps(path)):
                raise TrustError(
                    f"{path}, which {by} names, is a folder in the project: its files cannot all be accepted",
                    "move it out of the project",
                )

    def _credential(self, path: str, by: str) -> None:
        if self._is_of_project(steps(path)):
            self.file(path, by)
        else:
            self._refuse_writable(path, by)
            self._add(path, by, BY_PATH)

    def _refuse_writable(self, path: str, by: str) -> None:
        way = steps(path)
        others = [folder for step in way for folder in self._other_project(os.path.dirname(step))]
        for folder in (*self._writable, *others):
            if any(step in folder for step in way):
                raise TrustError(
                    f"{path}, which {by} names, lies in {folder.path}, which pods can write",
                    f"move it out of {folder.path}, or --share-readonly",
                )

    def _other_project(self, folder: str) -> list["_Folder"]:
        """Return the folders that pods of the project in `folder`, if there is one, can write."""
        if folder not in self._others:
            self._others[folder] = [_Folder(written) for written in self._written_in(Path(folder))]
        return self._others[folder]

    def _is_of_project(self, way: Sequence[str]) -> bool:
        return self._project is not None and any(step in self._project for step in way)

    def _is_of_system(self, path: str) -> bool:
        """Whether nobody but root can have another program there, and it is at a usual place."""
        way = steps(path)
        if not way or self._is_of_project(way) or not way[-1].startswith(_SYSTEM_PLACES):
            return False
        try:
            looks = [os.lstat(step) for step in ("/", *way)]
        except OSError:
            return False
        ours = (
            stat.S_ISLNK(look.st_mode) or not look.st_mode & (stat.S_IWGRP | stat.S_IWOTH) for look in looks
        )
        return all(look.st_uid == 0 for look in looks) and all(ours) and stat.S_ISREG(looks[-1].st_mode)

    def _add(self, path: str, by: str, found: str) -> None:
        told = self.found[path].told if path in self.found else ()
        # A file that is named twice counts by its content if one of the two names asks for that.
        if path not in self.found or self.found[path].found == BY_PATH:
            self.found[path] = Named(path, by, found, told)

    def _tell(self, path: str, line: str) -> None:
        known = self.found[path]
        if line not in known.told:
            self.found[path] = Named(path, known.by, known.found, (*known.told, line))


class _Folder:
    """A folder that a step of a path may be or lie in: by name, and by identity."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._real = os.path.realpath(path)
        self._identity = _identity(self._real)

    def __contains__(self, step: str) -> bool:
        if step == self._real or step.startswith(self._real.rstrip("/") + "/"):
            return True
        # By another name: a bind mount, or a file system that does not tell "a" from "A".
        return self._identity is not None and _identity(step) == self._identity


def lies_in(path: Path, folder: Path) -> bool:
    """Return whether a path, which need not exist, is a folder, lies in it, or leads through it."""
    found = _Folder(folder)
    return any(step in found for step in steps(str(path)))


def steps(path: str) -> list[str]:
    """Return every path that the kernel looks at on the way to `path`: folders, links, and it, last."""
    way: list[str] = []
    at, links = "/", 0
    todo = path.split("/")
    while todo:
        part = todo.pop(0)
        if part in {"", "."}:
            continue
        if part == "..":
            at = os.path.dirname(at)
            continue
        at = os.path.join(at, part)
        way.append(at)
        try:
            target = os.readlink(at)
        except (OSError, ValueError):  # no link, or not there
            continue
        links += 1
        if links > _MOST_LINKS:
            break
        at = "/" if target.startswith("/") else os.path.dirname(at)
        todo = [*target.split("/"), *todo]
    return way


def split(command: str) -> list[str]:
    """Return the words of a line as a shell splits it; if it is no shell line, the words between blanks."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _content(path: str, by: str) -> bytes | None:
    """Return the content of a file, None without a file. Raises TrustError."""
    try:
        # Opening a fifo would wait for a writer.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            look = os.fstat(file.fileno())
            if not stat.S_ISREG(look.st_mode) or look.st_size > _MOST_BYTES:
                raise TrustError(f"{path}, which {by} names, is no file of a usual kind and size")
            return file.read(_MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as exc:
        raise TrustError(
            f"cannot read {path}, which {by} names: {exc.strerror or exc}", f"ls -l {path}"
        ) from exc


@lru_cache(maxsize=8)
def _yaml(content: bytes) -> object:
    import yaml  # noqa: PLC0415 only where a kubeconfig is named

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError):  # then nothing can be read from it
        return None


def _entries(content: object) -> Iterator[tuple[str, Any]]:
    """Give every key of every table, at any depth."""
    seen: set[int] = set()
    todo = [content]
    while todo:
        value = todo.pop()
        if id(value) in seen:  # an alias, perhaps of itself
            continue
        if isinstance(value, dict):
            seen.add(id(value))
            yield from ((str(key), inner) for key, inner in value.items())
            todo += value.values()
        elif isinstance(value, list):
            seen.add(id(value))
            todo += value
