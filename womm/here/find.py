"""Finds all that pods may see of this machine: the roots, /etc, the environment, and the agents' perl."""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from womm import programs
from womm.errors import UsageError
from womm.here import consent, environment, etc, filesystems, homes, machine
from womm.here.filesystems import FileSystems
from womm.here.homes import Homes
from womm.here.programs import Programs, Root
from womm.here.roots import SYSTEM, Roots, base_of_venv, interpreter_of, lies_in
from womm.here.search_path import SearchPath, search_path

NOT_ALLOWED: Final = "pods do not see these folders, since you did not allow it"
_PERLS: Final = ("/usr/bin/perl", "/bin/perl", "/usr/local/bin/perl")
"""The system's own are first: what agents run must not depend on a version manager."""
_MOST_ENTRIES: Final = 500
"""Entries of the project's folder that are looked at for scripts and virtual environments."""
_LARGEST_CONF: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Look:
    """All that was found, before the user has allowed what is private. named: folders that the user named."""

    roots: tuple[Root, ...]
    links: tuple[tuple[str, str], ...]
    path: SearchPath
    broad: tuple[str, ...]
    table: FileSystems
    named: tuple[str, ...]

    def private(self) -> tuple[Root, ...]:
        return tuple(root for root in self.roots if root.private)


def find_programs(
    env: Mapping[str, str],
    project: Path | None,
    allowed: Sequence[str] | None,
    folder: Path | None = None,
    named: Sequence[str] = (),
) -> Programs:
    """Find what pods see of this machine.

    project: the folder that pods have anyway; None: none. allowed: the private folders that the user lets
    pods see, and any folders that pods must not see, with a ! before; None: nobody has been asked. folder:
    where jobs run, else the project. named: the folders that the user names as roots. Raises UsageError for a
    private root when nobody has been asked, and where this machine's programs cannot run in pods.
    """
    machine.refuse_others()
    found = look(env, project, named, folder)
    if allowed is None and found.private():
        raise consent.missing(found.private())
    return chosen(env, found, project, allowed or ())


def look(
    env: Mapping[str, str],
    project: Path | None,
    named: Sequence[str] = (),
    folder: Path | None = None,
    table: FileSystems | None = None,
) -> Look:
    """Look for roots, whether they are allowed or not. Raises UsageError for a bad one among the named."""
    table = table or filesystems.mounted()
    of_machine = homes.of_machine(env)
    roots = Roots(of_machine, table, str(project or ""))
    as_roots = consent.answered(named)[0]
    for path in as_roots:
        if why := roots.name(path):
            raise UsageError(f"--here-roots {path}: it {why}", f"ls -ld {path}")
    searched = search_path(env, folder or project or Path("/"), roots, table)
    for environ in filter(None, (env.get("VIRTUAL_ENV"), *(_venvs(project, table) if project else ()))):
        roots.venv(environ)
    for place, why in (*_libraries(env, table), *_companions(env, of_machine, roots)):
        if os.path.isabs(place) and table.leads(place) and os.path.isdir(place):
            roots.see(os.path.normpath(place), why)
    for script in _scripts(project, table) if project else ():
        if interpreter := interpreter_of(script):
            roots.see(interpreter, f"{script} runs it", asked=True)
    found, links = roots.found()
    real = tuple(map(os.path.realpath, as_roots))
    more = [one for one in roots.refused.unreadable if one not in searched.unreadable]
    searched.unreadable += dict.fromkeys(more)
    return Look(found, links, searched, tuple(dict.fromkeys(roots.refused.broad)), table, real)


def chosen(env: Mapping[str, str], found: Look, project: Path | None, allowed: Sequence[str]) -> Programs:
    """Return what pods see of what was found, when these private folders are allowed. Raises UsageError."""
    yes, no = consent.answered(allowed)
    yes, no = [*yes, *found.named], consent.both_paths(no)
    seen = [root for root in found.roots if _may_be_seen(root, yes, no)]
    roots = tuple(root for root in seen if not _covered(os.path.dirname(root.path), seen))
    links = tuple((link, target) for link, target in found.links if _covered(target, roots))
    own = [Root(os.path.realpath(project), "project", "")] if project else []
    known = etc.shown()
    shown = (*roots, *own, *(Root(f"/etc/{path}", "etc", "") for path in known))

    def is_shown(path: str) -> bool:
        places = (*shown, *(Root(link, "link", "") for link, _ in links))
        if not found.table.leads(path):
            return False
        return _covered(os.path.realpath(path), shown) and _covered(os.path.normpath(path), places)

    path = [folder for folder in found.path.folders if is_shown(folder)]
    variables = environment.environment(env, path, _added(env, roots), is_shown)
    perl = _perl(env, roots)
    return Programs(roots, links, known, variables.kept, perl, _notes(found, roots, variables))


def _may_be_seen(root: Root, yes: Sequence[str], no: Sequence[str]) -> bool:
    if any(lies_in(root.path, one) for one in no) and root.kind != SYSTEM:
        return False
    return not root.private or any(lies_in(root.path, one) for one in yes)


def _notes(found: Look, roots: Sequence[Root], variables: environment.Environment) -> tuple[str, ...]:
    hidden = [root.path for root in found.roots if not _covered(root.path, roots)]
    lines = found.path.notes()
    if found.broad:
        folders = ", ".join(found.broad)
        lines.append(f"pods do not see these folders, which hold too much, or are the pods' own: {folders}")
    if hidden:
        lines.append(f"{NOT_ALLOWED}: {', '.join(hidden)}")
    lines += [f"{name} stays here: {why}" for name, why in variables.left_out.items()]
    return tuple(lines)


def _perl(env: Mapping[str, str], roots: Sequence[Root]) -> str:
    """Return the perl for the agents. Raises UsageError."""
    for path in (*_PERLS, programs.which("perl", env) or ""):
        if path and os.access(path, os.X_OK) and _covered(os.path.realpath(path), roots):
            return path
    raise UsageError(
        "--image here: no perl that every user may run; the agents in pods need one",
        "apt-get install perl-base",
    )


def _added(env: Mapping[str, str], roots: Sequence[Root]) -> dict[str, str]:
    """Return variables for what programs look for in the home folder: it is another one in a pod."""
    home = env.get("HOME", "")
    known = {root.path for root in roots}
    added = {}
    rustup = os.path.realpath(env.get("RUSTUP_HOME") or f"{home}/.rustup")
    if rustup in known:
        added["RUSTUP_HOME"] = rustup
    if any(path.startswith(f"{os.path.realpath(home)}/.local/lib/python") for path in known):
        added["PYTHONUSERBASE"] = env.get("PYTHONUSERBASE") or f"{os.path.realpath(home)}/.local"
    return added


def _libraries(env: Mapping[str, str], table: FileSystems) -> Iterator[tuple[str, str]]:
    """Yield folders that variables and the loader's configuration name, and why they are needed."""
    for name in environment.PREFIXES:
        if value := env.get(name):
            yield value, name
    for name in environment.PATHS:
        for place in env.get(name, "").split(os.pathsep):
            # CLASSPATH names archives, too.
            is_file = os.path.isabs(place) and table.leads(place) and os.path.isfile(place)
            yield (os.path.dirname(place) if is_file else place), name
    for place in loader_folders("/etc/ld.so.conf"):
        yield place, "the loader's configuration (/etc/ld.so.conf)"


def _companions(env: Mapping[str, str], of_machine: Homes, roots: Roots) -> Iterator[tuple[str, str]]:
    """Yield folders that programs look for by themselves."""
    home = of_machine.own
    if os.path.exists(f"{env.get('CARGO_HOME') or f'{home}/.cargo'}/bin/rustup"):
        yield env.get("RUSTUP_HOME") or f"{home}/.rustup", "rustup's toolchains"
    base = env.get("PYTHONUSERBASE") or f"{home}/.local"
    for place in sorted(glob.glob(f"{glob.escape(base)}/lib/python3*/site-packages")):
        yield os.path.dirname(place), "pip install --user"


def loader_folders(conf: str, depth: int = 0) -> list[str]:
    """Return the folders that the loader's configuration names (ldconfig(8)), in order."""
    found: list[str] = []
    try:
        with open(conf, errors="surrogateescape") as file:
            lines = file.read(_LARGEST_CONF).splitlines()
    except OSError:
        return found
    for line in lines:
        words = line.partition("#")[0].split()
        if words[:1] == ["include"] and depth < 2:
            for pattern in words[1:]:
                for path in sorted(glob.glob(os.path.join(os.path.dirname(conf), pattern))):
                    found += loader_folders(path, depth + 1)
        elif words and os.path.isabs(words[0]):
            found.append(words[0].partition("=")[0])
    return found


def _entries(project: Path, table: FileSystems) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(project) as entries:
            return [entry for entry in islice(entries, _MOST_ENTRIES) if table.leads(entry.path)]
    except OSError:
        return []


def _venvs(project: Path, table: FileSystems) -> list[str]:
    return [entry.path for entry in _entries(project, table) if base_of_venv(entry.path)]


def _scripts(project: Path, table: FileSystems) -> list[str]:
    paths = [entry.path for entry in _entries(project, table)]
    return [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]


def _covered(path: str, roots: Sequence[Root]) -> bool:
    return any(lies_in(path, root.path) for root in roots)
