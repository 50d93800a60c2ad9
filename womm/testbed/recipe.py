"""The recipe of the image, `.womm.d/Dockerfile`: how to make it again without the testbed.

Strategy: womm appends what each visit adds and never rewrites what is there, so a user's edits stay. A first
comment names the base that womm began with. With another base womm begins a new file and keeps the old one
under another name. The recipe is a help, and no proof: a build sees neither the project's folder nor what was
typed into a program, and such commands stand there as comments.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from womm import words
from womm.errors import ImageError
from womm.secrets import scan
from womm.testbed import dockerfile, steps
from womm.testbed.steps import Sort

if TYPE_CHECKING:
    from womm.image.bases import Base
    from womm.testbed.shell_files import Typed

FOLDER: Final = ".womm.d"
NAME: Final = "Dockerfile"
_BASE: Final = "# womm setup began with "
_HEADER: Final = """\
# The image of {project}: how to make it again without the testbed.
# womm setup adds the commands of each visit below; your own edits stay. To build it:
#     womm setup --dockerfile {folder}/{name}
{base}{full}
FROM {image}
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """The base image that the project's image began with."""

    name: str
    digest: str = ""
    """sha256:...; empty: no registry has it."""
    user: str = ""
    """USER of its configuration; the testbed is root's."""
    workdir: str = ""
    """WORKDIR of its configuration."""

    @classmethod
    def of(cls, base: "Base") -> "Origin":
        """Return what a base image is; an image of womm's knows what it was made of."""
        config = base.config
        return cls(base.name, base.digest, str(config.get("User") or ""), str(config.get("WorkingDir") or ""))

    @property
    def pinned(self) -> str:
        """The name for FROM. podman takes no tag beside a digest."""
        if not self.digest:
            return self.name
        folder, slash, last = self.name.partition("@")[0].rpartition("/")
        return f"{folder}{slash}{last.partition(':')[0]}@{self.digest}"

    @property
    def full(self) -> str:
        """The name for people: with tag and digest."""
        return f"{self.name.partition('@')[0]}@{self.digest}" if self.digest else self.name

    @property
    def needs_root(self) -> bool:
        return self.user.partition(":")[0] not in {"", "0", "root"}


@dataclass(frozen=True, slots=True)
class Visit:
    """What one `womm setup` has done in the testbed."""

    when: str
    """As the recipe shows it: 2026-11-30 14:05."""
    given: Sequence[str] = ()
    """The commands of --run."""
    typed: "Sequence[Typed]" = ()
    variables: Mapping[str, str] | None = None
    """The exported variables that the image got in this visit."""
    bash: bool = True
    """Whether the image has bash: then the commands were typed in it."""


def write(project: Path, origin: Origin, visit: Visit, folder: Path | None) -> Path | None:
    """Add a visit to the project's recipe and return the recipe's path; None: there is nothing to add.

    folder: the project's, as the testbed had it; None: it had none. Raises ImageError.
    """
    lines = list(added(origin, visit, folder))
    if not lines:
        return None
    path = project / FOLDER / NAME
    try:
        path.parent.mkdir(exist_ok=True)
        before = _existing(path)
        if before is not None and not continues(before, origin):
            path.rename(_spare(path))
            before = None
        if before is None:
            before = header(project.name, origin)
        text = before if before.endswith("\n") else before + "\n"
        _replace(path, text + "\n" + "\n".join(lines) + "\n")
    except OSError as exc:
        raise ImageError(f"cannot write {path}: {exc.strerror}", f"ls -ld {path.parent}") from exc
    return path


def header(project: str, origin: Origin) -> str:
    """Return how a new recipe begins."""
    return _HEADER.format(
        project=words.name(project),
        folder=FOLDER,
        name=NAME,
        base=_BASE,
        full=origin.full,
        image=origin.pinned,
    )


def continues(text: str, origin: Origin) -> bool:
    """Return whether a recipe is that of an image with this base."""
    begun = re.search(rf"(?m)^{re.escape(_BASE)}(.*)$", text)
    if begun is not None:
        return begun[1].strip() == origin.full
    # The user has written the file, or taken the comment out.
    froms = re.findall(r"(?im)^\s*FROM\s+(?:--\S+\s+)*(\S+)", text)
    return bool(froms) and froms[-1] in {origin.pinned, origin.full, origin.name}


def added(origin: Origin, visit: Visit, folder: Path | None) -> Iterator[str]:
    """Yield what a visit adds: lines of a Dockerfile, some of which are comments; none: nothing."""
    lines = list(_lines(origin, visit, folder))
    if not lines:
        return
    yield f"# womm setup, {visit.when}"
    root = origin.needs_root and any(line.startswith("RUN ") for line in lines)
    if root:
        yield "USER root"
    yield from lines
    if root:
        yield f"USER {origin.user}"


def _lines(origin: Origin, visit: Visit, folder: Path | None) -> Iterator[str]:
    left = dict(visit.variables or {})
    for command in visit.given:
        if scan.in_text(command):
            yield _left_out("a command of --run")
        elif steps.sort(command, str(folder or "/"), folder) is Sort.HOST:
            yield _comment_of(Sort.HOST, command)
        else:
            yield dockerfile.run(command)
    for one in visit.typed:
        yield from _typed(one, origin, folder, bash=visit.bash)
        if one.status == 0:
            for name in _exported(one.text, left):
                yield _variable(name, left.pop(name))
    for name, value in left.items():
        yield _variable(name, value)


def _typed(one: "Typed", origin: Origin, folder: Path | None, *, bash: bool) -> Iterator[str]:
    text = one.text.strip()
    kind = steps.sort(text, one.cwd, folder)
    if not text or kind is Sort.LOOK:
        return
    if scan.in_text(text):
        yield _left_out("a command")
    elif kind is Sort.EXPORT:
        return
    elif one.status:
        yield dockerfile.comment(f"failed with status {one.status}: {text}")
    elif kind is not Sort.STEP:
        yield _comment_of(kind, text)
    elif not _is_text(text):
        yield dockerfile.comment(f"its bytes are not UTF-8: {text}")
    else:
        yield dockerfile.run(_in_place(steps.unattended(text), one.cwd, origin, folder), bash=bash)


def _comment_of(kind: Sort, text: str) -> str:
    return dockerfile.comment(f"{kind.value}: {text}")


def _in_place(text: str, cwd: str, origin: Origin, folder: Path | None) -> str:
    """Return the command with `cd` before it, where a build begins elsewhere."""
    inside = folder is not None and Path(cwd).is_relative_to(folder)
    if inside or cwd == (origin.workdir or "/"):
        return text
    return f"cd {shlex.quote(cwd)} && {text}"


def _exported(text: str, names: Iterable[str]) -> list[str]:
    """Return which variables a command may have exported. Whatever a sourced file sets counts."""
    if re.search(r"(?:^|[\s;&|])(?:source|\.)\s", text):
        return list(names)
    return [name for name in names if re.search(rf"(?<![\w$-]){re.escape(name)}(?:\+?=|\s|$)", text)]


def _variable(name: str, value: str) -> str:
    if scan.in_variables({name: value}):
        return _left_out(f"the variable {words.name(name)}")
    line = dockerfile.env(name, value) if _is_text(value) else None
    return line or dockerfile.comment(f"a Dockerfile cannot hold this value of {name}: {value!r}")


def _left_out(what: str) -> str:
    return dockerfile.comment(f"{what} is left out here: it looks like a secret")


def _is_text(text: str) -> bool:
    """Return whether a text is UTF-8: names and commands may have other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _existing(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        if path.is_symlink():  # a clone's link may lead anywhere
            raise ImageError(f"{path} is a link that leads nowhere", f"ls -l {path}") from None
        return None


def _spare(path: Path) -> Path:
    """Return a name for the old recipe that is not taken: Dockerfile.1, Dockerfile.2, ..."""
    number = 1
    while os.path.lexists(path.with_name(f"{path.name}.{number}")):
        number += 1
    return path.with_name(f"{path.name}.{number}")


def _replace(path: Path, text: str) -> None:
    """Write beside the file, then rename. If it is a link, write where it leads."""
    target = Path(os.path.realpath(path))
    beside = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        beside.write_bytes(text.encode("utf-8", "surrogateescape"))
        if target.exists():
            beside.chmod(target.stat().st_mode & 0o777)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
