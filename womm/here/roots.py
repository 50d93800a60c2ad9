"""Which folders of this machine hold the programs that jobs may run: found from PATH, links, and the project.

Strategy: nothing is walked. Each path that a program is found by is followed as the kernel follows it, one
link after the other; where it ends is in a root, or makes one. A link that pods could not see by itself
becomes a mount of the folder that it leads to. Roots are as narrow as their kind allows: never a home, never
what holds one.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from womm.here import homes
from womm.here.filesystems import FileSystems
from womm.here.homes import Homes
from womm.here.programs import Root

SYSTEM: Final = "system"
_PROGRAMS: Final = frozenset(["bin", "sbin", "condabin"])
_OF_PREFIX: Final = ("lib", "lib64", "libexec", "share", "conda-meta", "pyvenv.cfg")
"""What a prefix has beside its bin folder."""
_OF_ENVIRONMENT: Final = ("conda-meta", "pyvenv.cfg")
_STORES: Final = {"/nix/store": "nix", "/gnu/store": "guix"}
_NOT_OURS: Final = ("/proc", "/sys", "/dev", "/run", "/etc", "/snap", "/boot")
"""They are the pod's own, or of no use without this machine's daemons."""
_SCRATCH: Final = ("/tmp", "/var/tmp")
"""They are the pod's own, too; folders in them may be roots."""
_OF_SYSTEM: Final = re.compile(r"usr|bin|sbin|lib(?:32|64|x32|o32|exec)?")
"""Folders below / that are the system's by their name (hier(7))."""
_MOST_FILES: Final = 2000
"""Files of one folder that are looked at: a folder of programs has fewer, one of data may have millions."""
_SHEBANG_BYTES: Final = 256
"""Linux reads no more of the first line (execve(2))."""


def system(top: str = "/") -> tuple[list[Root], list[tuple[str, str]]]:
    """Return the system's folders, /usr and its neighbours, and the links among them (`/bin`: `/usr/bin`)."""
    roots, links = [], []
    for name in filter(_OF_SYSTEM.fullmatch, sorted(os.listdir(top))):
        path = os.path.join(top, name)
        if not os.path.isdir(path):
            continue
        if os.path.islink(path):
            links.append((path, os.path.realpath(path)))
        else:
            roots.append(Root(path, SYSTEM, "the system's programs"))
    inside = [(link, target) for link, target in links if any(lies_in(target, root.path) for root in roots)]
    return roots, inside


@dataclass(slots=True)
class Refused:
    """Folders of programs that pods do not see: not every user reads them; they are too broad, or a pod's."""

    unreadable: list[str] = field(default_factory=list)
    broad: list[str] = field(default_factory=list)


class Roots:
    """Collects roots. project: a folder that pods have anyway; empty: none. top: where the system is."""

    def __init__(self, homes_: Homes, filesystems: FileSystems, project: str = "", top: str = "/") -> None:
        self._homes = homes_
        self._filesystems = filesystems
        self._project = os.path.realpath(project) if project else ""
        self._top = top
        roots, links = system(top)
        self._roots = {root.path: root for root in roots}
        self._links = dict(links)
        self._of_content: set[str] = set()
        self._scanned: set[str] = set()
        self.refused = Refused()

    def found(self) -> tuple[tuple[Root, ...], tuple[tuple[str, str], ...]]:
        """Return the roots, none in another with the same need of the user's word, and the links."""
        roots = outermost([root for _, root in sorted(self._roots.items())])
        links = [
            (link, target)
            for link, target in sorted(self._links.items())
            if not self._covers(link) and self._covers(target)
        ]
        return tuple(roots), tuple(links)

    def shows(self, path: str) -> bool:
        """Return whether pods have the folder that is at `path` here."""
        real = os.path.realpath(path)
        return self._is_of_project(real) or self._covers(real)

    def see(self, path: str, why: str, kind: str = "", *, asked: bool = False) -> bool:
        """Make a path work in pods as it does here; return whether it does.

        why: what it is for. asked: the project's content led to it, so it needs the user's word, unless it
        is where systems keep programs.
        """
        mount = ""
        for at, link in self._filesystems.steps(path):
            if not link:
                seen = self._see_real(at, why, kind, asked)
                if seen and mount:
                    self._mount_link(mount)
                return seen
            asked = asked or self._is_of_project(link)
            if not mount and not self._is_visible(link):
                mount = at
        return False  # a circle of links, or a file server that does not answer

    def _see_real(self, path: str, why: str, kind: str, asked: bool) -> bool:
        known = self._root_of(path)
        if self._is_of_project(path) or (known and (asked or known not in self._of_content)):
            return True
        if not (mode := _mode(path)):
            return False
        folder = path if stat.S_ISDIR(mode) else os.path.dirname(path)
        root = self._prefix(folder)
        if root is None or self._homes.is_or_holds_one(root) or root == "/":
            self.refused.broad.append(folder)
            return False
        if not homes.everybody_reads(root) or not homes.everybody_reads(folder):
            self.refused.unreadable.append(folder)
            return False
        asked = asked and not any(lies_in(root, place) for place in ("/opt", *_STORES))
        (self._of_content.add if asked else self._of_content.discard)(root)
        private = asked or self._homes.hold(root) or not homes.everybody_gets_to(root)
        self._roots[root] = Root(root, kind or kind_of(root), why, private)
        self._of_venv(root, asked)
        return True

    def _of_venv(self, folder: str, asked: bool) -> None:
        """See what a virtual environment is based on."""
        if base := base_of_venv(folder):
            self.see(base, f"the Python of {folder}", "python", asked=asked)

    def venv(self, folder: str) -> None:
        """See what a virtual environment needs; it may be the project's own."""
        if self.see(folder, "a virtual environment", "venv"):
            self._of_venv(folder, self._passes_project(folder))
            self.programs(os.path.join(folder, "bin"))

    def programs(self, folder: str) -> None:
        """Follow the links in a folder of programs, and the interpreters of its scripts."""
        if not self._filesystems.leads(folder):
            return
        real = os.path.realpath(folder)
        if real in self._scanned:
            return
        self._scanned.add(real)
        is_of_system, asked = self._is_of_system(real), self._passes_project(folder)
        for name, is_link in _entries(real, None if is_of_system else _MOST_FILES):
            path = os.path.join(real, name)
            if is_link:
                target = _link_out(path)
                if target and self._filesystems.leads(target) and os.path.exists(path):
                    self.see(target, f"{path} leads there", asked=asked)
            elif not is_of_system and (interpreter := interpreter_of(path)):
                self.see(interpreter, f"{path} runs it", asked=asked)

    def name(self, path: str) -> str:
        """Take in a root that the user names; return why it cannot be one, in words; empty: it can."""
        if not self._filesystems.leads(path):
            return "does not answer"
        real = os.path.realpath(path)
        if _is_of_pod(real):
            return "is the pods' own, or of no use in them"
        if real == "/" or self._homes.is_or_holds_one(real):
            return "is a home, or holds one"
        if not os.path.isdir(real):
            return "is no folder"
        if not homes.everybody_reads(real):
            return "is not readable by every user"
        if not self._covers(real):
            self._roots[real] = Root(real, kind_of(real), "you named it", private=True)
            self._of_venv(real, asked=False)
        if real != os.path.normpath(path):
            self._mount_link(os.path.normpath(path))
        return ""

    def _mount_link(self, path: str) -> None:
        """Take in the shortest beginning of a path that leads into a root."""
        parts = path.split("/")
        for count in range(2, len(parts) + 1):
            link = "/".join(parts[:count])
            real = os.path.realpath(link)
            if link != real and self._covers(real) and os.path.isdir(real):
                if not self._is_visible(link):
                    self._links[link] = real
                return

    def _prefix(self, folder: str) -> str | None:
        """Return the root for a real folder of programs or libraries; None: there can be none."""
        for store in _STORES:
            if lies_in(folder, store):
                return store
        if _is_of_pod(folder):
            return None
        if self._is_disk(folder):
            return None
        above = os.path.dirname(folder)
        is_shared = above == "/opt" or above.endswith("/.local") or self._homes.is_or_holds_one(above)
        is_shared = is_shared or self._is_disk(above) or above in _SCRATCH
        if is_shared:
            return folder
        name = os.path.basename(folder)
        if folder.startswith("/opt/"):
            return above if name in _PROGRAMS or name.startswith("lib") else folder
        if name in _PROGRAMS:
            has = any(os.path.exists(os.path.join(above, name)) for name in _OF_PREFIX)
            return above if has and homes.everybody_reads(above) else folder
        return folder

    def _is_disk(self, folder: str) -> bool:
        """Return whether a folder is the top of many things: /data, but not an environment (/venv)."""
        is_top = self._top in {folder, os.path.dirname(folder)}
        return is_top and not any(os.path.exists(f"{folder}/{name}") for name in _OF_ENVIRONMENT)

    def _covers(self, path: str) -> bool:
        return bool(self._root_of(path))

    def _root_of(self, path: str) -> str:
        """Return the innermost root that holds a path; empty: none does."""
        at = path
        while at not in self._roots:
            if at == "/":
                return ""
            at = os.path.dirname(at)
        return at

    def _is_of_system(self, path: str) -> bool:
        return any(root.kind == SYSTEM and lies_in(path, root.path) for root in self._roots.values())

    def _is_of_project(self, path: str) -> bool:
        return bool(self._project) and lies_in(path, self._project)

    def _passes_project(self, path: str) -> bool:
        """Return whether the project's content decides where a path leads."""
        return any(self._is_of_project(at) for at, _ in self._filesystems.steps(path))

    def _is_visible(self, link: str) -> bool:
        """Return whether pods see this very link, as the link that it is."""
        return link.startswith("/etc/") or self._is_of_project(link) or self._covers(os.path.dirname(link))


def outermost(roots: Sequence[Root]) -> list[Root]:
    """Return the roots without those that lie in another; one in a private folder stays, if it is not."""
    wide = [(root.path, root.private) for root in roots]
    return [
        root
        for root in roots
        if not any(
            root.path.startswith(f"{path}/") and (root.private or not private) for path, private in wide
        )
    ]


def kind_of(root: str) -> str:
    """Return a word for what a root is."""
    if root in _STORES:
        return _STORES[root]
    marks = {
        "conda-meta": "conda",
        "pyvenv.cfg": "venv",
        "lib/node_modules": "node",
        "Homebrew": "brew",
        "bin/javac": "java",
        "bin/gofmt": "go",
        "bin/python3": "python",
        "bin/ruby": "ruby",
        "rustup": "rust",
        "toolchains": "rust",
    }
    for name, kind in marks.items():
        if os.path.exists(os.path.join(root, name)):
            return kind
    return "opt" if root.startswith("/opt/") else "programs"


def base_of_venv(folder: str) -> str:
    """Return the folder of the Python that a virtual environment is made of (pyvenv.cfg, `home`)."""
    try:
        with open(os.path.join(folder, "pyvenv.cfg"), errors="surrogateescape") as file:
            lines = file.read(65536).splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip().lower() == "home" and os.path.isabs(value.strip()):
            return os.path.normpath(value.strip())
    return ""


def interpreter_of(path: str) -> str:
    """Return the interpreter that a script names by an absolute path; empty: none, or env(1)."""
    try:
        # Opening a fifo would wait for a writer.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ""
            first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:
        return ""
    if not first.startswith(b"#!") or not (words := first[2:].split()):
        return ""
    found = os.fsdecode(words[0])
    return found if os.path.isabs(found) and os.path.basename(found) != "env" else ""


def _entries(folder: str, most: int | None) -> Iterator[tuple[str, bool]]:
    """Yield the names in a folder, and whether each is a link."""
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, most):
                yield entry.name, entry.is_symlink()
    except OSError:
        return


def _mode(path: str) -> int:
    """Return the mode of a file; 0: there is none."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def _is_of_pod(path: str) -> bool:
    return path in _SCRATCH or any(lies_in(path, place) for place in _NOT_OURS)


def _link_out(path: str) -> str:
    """Return where a link leads, absolute; empty: it is no link, or it stays in its folder."""
    try:
        text = os.readlink(path)
    except OSError:
        return ""
    return os.path.normpath(os.path.join(os.path.dirname(path), text)) if "/" in text else ""


def lies_in(path: str, folder: str) -> bool:
    """Return whether a path is a folder or lies in it, by its name alone."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
